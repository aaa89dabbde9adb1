/*!
 * Recovery for pusher-js on a Sockudo server: after a reconnect every channel goes on where it was.
 * MIT License. No dependencies; pusher-js 7 and 8, in browsers and in Node.
 */
;(function (root, factory) {
  if (typeof module === "object" && module.exports) module.exports = factory()
  else if (typeof define === "function" && define.amd) define([], factory)
  else root.sockudoRecovery = factory()
})(typeof self !== "undefined" ? self : this, function () {
  "use strict"

  // The server takes no more places in one resume, and by default no message above 64 KB.
  const MAX_PLACES = 1000
  const MAX_LENGTH = 60000
  const MESSAGE_TOO_BIG = 1009
  // The server gives up places whose channels were not subscribed to after 10 s, and then answers.
  const ANSWER_WITHIN = 30000

  const CLIENT_CODE = "recovery_unavailable"
  const CACHE_CHANNEL = /^(?:private-encrypted-|private-|presence-)?cache-/

  const enabled = new WeakSet()

  /**
   * Switches recovery on for a pusher-js client and returns the client. A second call changes nothing.
   *
   * After a reconnect, once a channel is subscribed again, the channel and the client emit one of two events:
   * `recovered` ({channel, count, source}): everything that was missed has been delivered, in order;
   * `gap` ({channel, code, reason, …}): something may be missing, fetch what the channel shows anew.
   *
   * `options.prefix` is put before both names, for applications whose own events are called so. `options.answerWithin`
   * is how many milliseconds the server has for its answer to a resume.
   */
  function sockudoRecovery(pusher, options) {
    if (!enabled.has(pusher)) {
      enabled.add(pusher)
      new Recovery(pusher, options || {})
    }
    return pusher
  }

  // A place is {stream_id, serial}, as the server put it on a message.
  function readPlace(text) {
    // pusher-js passes on only the fields that it knows, so the text is read once more where it can hold a place.
    if (typeof text !== "string" || text.indexOf('"serial"') < 0) return null
    try {
      const { stream_id, serial } = JSON.parse(text)
      return typeof stream_id === "string" && Number.isInteger(serial) ? { stream_id, serial } : null
    } catch (error) {
      return null
    }
  }

  const reaches = (place, other) =>
    place !== null && place.stream_id === other.stream_id && place.serial >= other.serial

  // A mistake of one listener is reported like any other, and costs the other channels nothing: in Node.js it would stop
  // the reading of what came in the same packet.
  function apart(work) {
    try {
      work()
    } catch (error) {
      setTimeout(() => {
        throw error
      })
    }
  }

  const contentOf = (frame) => JSON.stringify([frame.event, frame.data])

  class Subscription {
    constructor(channel) {
      this.channel = channel
      // Whether the application has ever been told that it is subscribed: only then can it have missed something.
      this.known = channel.subscribed
      // Where the next resume goes on from; null when that is not known.
      this.place = null
      // The newest message that the application got.
      this.delivered = null
      // On this connection: whether a resume was "asked" for or has "succeeded", the place of the acknowledgement, and
      // whether messages came behind it.
      this.resume = ""
      this.head = null
      this.moved = false
      // The event that is due once the channel is subscribed: {name, data}.
      this.due = null
      // For cache channels: whether the cached event is still to come, and the content of the newest message.
      this.awaitsCached = false
      this.newest = ""
    }

    get isCache() {
      return CACHE_CHANNEL.test(this.channel.name)
    }

    reconnected() {
      this.resume = ""
      this.head = null
      this.moved = false
      if (this.place === null) {
        if (this.known && this.due === null) this.lost({ code: CLIENT_CODE, reason: "no_position" })
        return
      }
      this.resume = "asked"
      this.due = null
    }

    acknowledged(place) {
      if (place === null) {
        if (this.known) this.lost({ code: CLIENT_CODE, reason: "server_does_not_recover" })
        this.place = null
      } else if (this.resume === "") {
        this.place = place
      } else {
        // Not all that was missed has come yet: if the connection is cut now, the old place is the right one.
        this.head = place
      }
      this.known = true
      this.moved = false
      this.awaitsCached = this.isCache
    }

    // Whether the application is to get this message.
    accepts(frame, place) {
      if (place === null) return !this.repeatsCached(frame)
      if (reaches(this.delivered, place)) return false
      this.delivered = place
      if (!reaches(this.place, place)) this.place = place
      if (this.head !== null) this.head = place
      this.moved = true
      if (this.isCache) this.newest = contentOf(frame)
      return true
    }

    // Behind the acknowledgement a cache channel says its last event once more, without a place.
    repeatsCached(frame) {
      if (!this.awaitsCached || frame.event.startsWith("pusher_internal:")) return false
      this.awaitsCached = false
      if (frame.event.startsWith("pusher:")) return false
      const content = contentOf(frame)
      const repeated = this.resume !== "" && content === this.newest
      this.newest = content
      return repeated
    }

    recovered(entry) {
      if (this.resume !== "asked") return
      this.resume = "succeeded"
      const { position } = entry
      if (position && this.place.stream_id === position.stream_id && !reaches(this.place, position)) {
        this.place = { stream_id: position.stream_id, serial: position.serial }
      }
      this.due = { name: "recovered", data: { count: entry.replayed, source: entry.source } }
    }

    lost(why) {
      this.resume = ""
      this.place = this.head
      if (!this.moved) this.delivered = null
      this.due = { name: "gap", data: why }
    }
  }

  class Recovery {
    constructor(pusher, options) {
      this.pusher = pusher
      this.prefix = options.prefix || ""
      this.answerWithin = options.answerWithin || ANSWER_WITHIN
      this.maxLength = MAX_LENGTH
      this.subscriptions = new Map()
      this.transport = null
      // The place on the message that is being handled.
      this.place = null
      this.timer = null

      // Everything passes through here before any listener, those of pusher-js included.
      const connection = pusher.connection
      const emit = connection.emit
      connection.emit = (event, data, metadata) => {
        const pass = () => emit.call(connection, event, data, metadata)
        if (event === "message") this.receive(data, pass)
        else {
          if (event === "state_change") this.changed(data.current)
          else if (event === "error") this.failed(data)
          pass()
        }
        return connection
      }
      if (connection.state === "connected") this.listen()
      this.currentSubscriptions()
    }

    // ---- the connection ----

    changed(state) {
      this.stopWaiting()
      if (state !== "connected") return
      this.listen()
      this.askForMissed()
    }

    // A server that takes only smaller messages closes the connection; it would do so again and again.
    failed(error) {
      const closed = error && error.data
      if (closed && closed.code === MESSAGE_TOO_BIG && this.timer !== null) this.maxLength /= 2
    }

    listen() {
      const link = this.pusher.connection.connection
      const transport = link && link.transport
      if (!transport || typeof transport.bind_global !== "function") return
      this.transport = transport
      // Global callbacks come first: the place is known when pusher-js hands the message on.
      transport.bind_global((event, message) => {
        if (event === "message" && transport === this.transport) this.place = readPlace(message && message.data)
      })
    }

    askForMissed() {
      const places = Object.create(null)
      let count = 0
      let length = 0
      for (const subscription of this.currentSubscriptions()) {
        subscription.reconnected()
        if (subscription.resume !== "asked") continue
        const { name } = subscription.channel
        length += JSON.stringify([name, subscription.place]).length + 1
        if (count < MAX_PLACES && length <= this.maxLength) {
          places[name] = subscription.place
          count += 1
        } else {
          subscription.lost({ code: CLIENT_CODE, reason: "too_many_channels" })
        }
      }
      if (count === 0) return
      // pusher-js subscribes only after this, so no live message can overtake what was missed.
      this.pusher.send_event("pusher:resume", { channel_positions: places })
      this.timer = setTimeout(() => this.unanswered({ code: CLIENT_CODE, reason: "no_answer" }), this.answerWithin)
    }

    // ---- messages ----

    receive(frame, pass) {
      const place = this.place
      this.place = null
      const channel = frame.channel ? this.pusher.channel(frame.channel) : undefined
      if (!channel) {
        this.receiveGeneral(frame, pass)
        return
      }
      const subscription = this.subscriptionOf(channel)
      if (frame.event === "pusher_internal:subscription_succeeded") {
        subscription.acknowledged(place)
      } else if (frame.event === "pusher:resume_failed") {
        subscription.lost(reasonOf(frame.data))
      } else if (!subscription.accepts(frame, place)) {
        return
      }
      apart(pass)
      this.tell(subscription)
    }

    receiveGeneral(frame, pass) {
      apart(pass)
      const { event, data } = frame
      if (event === "pusher:resume_success") this.answered(data || {})
      else if (event === "pusher:error" && data && /resume|recover/i.test(data.message)) {
        this.unanswered({ code: CLIENT_CODE, reason: "refused_by_server", message: data.message })
      }
    }

    answered(answer) {
      for (const entry of answer.recovered || []) {
        const subscription = this.subscriptions.get(entry.channel)
        if (subscription) subscription.recovered(entry)
      }
      for (const entry of answer.failed || []) {
        const subscription = this.subscriptions.get(entry.channel)
        if (subscription && subscription.resume === "asked") subscription.lost(reasonOf(entry))
      }
      this.unanswered({ code: CLIENT_CODE, reason: "no_answer" })
    }

    // Everything that was asked for and has got no answer gets none any more.
    unanswered(why) {
      this.stopWaiting()
      for (const subscription of this.currentSubscriptions()) {
        if (subscription.resume === "asked") subscription.lost(why)
        this.tell(subscription)
      }
    }

    stopWaiting() {
      clearTimeout(this.timer)
      this.timer = null
    }

    // ---- what the application is told ----

    // Not before the channel is subscribed: what is fetched on a gap then misses nothing.
    tell(subscription) {
      const { channel, due } = subscription
      if (due === null || !channel.subscribed || this.pusher.channel(channel.name) !== channel) return
      subscription.due = null
      const data = Object.assign({ channel: channel.name }, due.data)
      this.raise(channel, due.name, data)
      this.raise(this.pusher.global_emitter, due.name, data)
    }

    raise(emitter, name, data) {
      apart(() => emitter.emit(this.prefix + name, data))
    }

    // ---- subscriptions ----

    subscriptionOf(channel) {
      let subscription = this.subscriptions.get(channel.name)
      // After an unsubscribe pusher-js makes another channel of the same name, which starts afresh.
      if (!subscription || subscription.channel !== channel) {
        subscription = new Subscription(channel)
        this.subscriptions.set(channel.name, subscription)
      }
      return subscription
    }

    currentSubscriptions() {
      for (const [name, { channel }] of this.subscriptions) {
        if (this.pusher.channel(name) !== channel) this.subscriptions.delete(name)
      }
      return this.pusher.allChannels().map((channel) => this.subscriptionOf(channel))
    }
  }

  const reasonOf = (failed) => Object.assign({ code: CLIENT_CODE, reason: "unknown" }, failed)

  return sockudoRecovery
})
