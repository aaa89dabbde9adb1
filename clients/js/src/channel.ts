import { Emitter } from "./emitter.js"
import { SockudoError } from "./errors.js"
import { type Frame, parsed } from "./frames.js"
import { History, type HistoryOptions } from "./history.js"
import type { SubscribeOptions } from "./options.js"
import { Members } from "./members.js"
import { isCache, isProtected, patternOf } from "./names.js"
import { type Position, Track } from "./recovery.js"
import type { Sockudo } from "./sockudo.js"

export type Subscription = "idle" | "pending" | "subscribed" | "refused"

/** What a publish is answered with. */
export interface PublishOptions {
  /** Names the publish: sent again under the same key, it is delivered once. */
  idempotencyKey?: string
}

const REKEY_QUEUE = 1000

/** One channel, whatever its kind. `pusher.subscribe(name)` makes it. */
export class Channel extends Emitter {
  state: Subscription = "idle"
  /** Connections that are subscribed, where the app has counts switched on. */
  subscription_count: number | undefined
  /** Why the last subscribe was refused. */
  last_error: SockudoError | null = null
  /** The head of the stream when the subscription began: the past has serials up to it. */
  attach_serial: number | undefined
  /** Who is on a presence channel; empty on others. */
  readonly members = new Members()
  readonly isProtected: boolean
  /** @internal */
  readonly track: Track
  /** @internal */
  readonly pattern: RegExp | null
  /** @internal */
  tries = 0
  #key: string | undefined
  #waitsForKey: Frame[] | null = null

  constructor(
    readonly name: string,
    readonly pusher: Sockudo,
    public options: SubscribeOptions,
    place: Position | null,
  ) {
    super()
    this.isProtected = isProtected(name)
    this.track = new Track(isCache(name), options.position ?? place)
    this.pattern = patternOf(name)
  }

  get isPresence(): boolean {
    return this.name.startsWith("presence-")
  }

  get isEncrypted(): boolean {
    return this.name.startsWith("private-encrypted-")
  }

  /** @internal Names of pusher-js. */
  get subscriptionPending(): boolean {
    return this.state === "pending"
  }

  /** The place of the newest message: where another client could go on from. */
  get position(): Position | null {
    return this.track.place
  }

  /** Once the server has acknowledged the subscription; throws `SockudoError` when it is refused. */
  subscribed(): Promise<this> {
    if (this.state === "subscribed") return Promise.resolve(this)
    if (this.state === "refused") return Promise.reject(this.last_error)
    return new Promise((resolve, reject) => {
      const settle = () => {
        this.unbind("pusher:subscription_succeeded", settle).unbind("pusher:subscription_error", settle)
        if (this.state === "subscribed") resolve(this)
        else reject(this.last_error)
      }
      this.bind("pusher:subscription_succeeded", settle).bind("pusher:subscription_error", settle)
    })
  }

  /** Subscribes again, with other options if any are given: a filter that changes. */
  subscribe(options?: SubscribeOptions): this {
    if (options) this.options = { ...this.options, ...options }
    this.pusher.subscribe(this.name)
    return this
  }

  unsubscribe(): void {
    this.pusher.unsubscribe(this.name)
  }

  /** Sends a client event to the others. False when it cannot be sent now. */
  trigger(event: string, data: unknown): boolean {
    if (!event.startsWith("client-")) throw new SockudoError(0, `A client event begins with "client-": ${event}`)
    return this.state === "subscribed" && this.pusher.send_event(event, data, this.name)
  }

  /**
   * The same, and waits until the server has taken it; throws the refusal. With the option `publishing` any event may be
   * published: the app's backend is asked, and asked again under the same key until it has answered.
   */
  publish(event: string, data: unknown, options: PublishOptions = {}): Promise<unknown> {
    return this.pusher.publish(this, event, data, options)
  }

  /** The messages that the server keeps, newest first unless asked otherwise. */
  history(options: HistoryOptions = {}): History {
    return new History(this.name, options, (request) => this.pusher.askHistory(this, request))
  }

  /** Who came and went, as the app's backend passes it on: the option `presenceHistory`. */
  presenceHistory(params: Record<string, unknown> = {}): Promise<any> {
    return this.pusher.askPresence(this.name, "history", params)
  }

  /** Who was there at a time or serial. */
  presenceSnapshot(params: Record<string, unknown> = {}): Promise<any> {
    return this.pusher.askPresence(this.name, "snapshot", params)
  }

  /** Replaces what the others see of this member. */
  update(info: unknown): Promise<void> {
    return this.pusher.updateMember(this, info)
  }

  /** @internal Signed by the app's backend; the data of the subscribe. */
  async authorize(socketId: string): Promise<Record<string, string>> {
    const name = this.name.replace(/^\[meta\]/, "")
    const { auth, channel_data, shared_secret } = await this.pusher.signatures.channel(socketId, name)
    if (this.isEncrypted) {
      if (!shared_secret) throw new SockudoError(0, `The backend's answer has no shared_secret for ${name}`)
      this.#key = shared_secret
    }
    if (this.isPresence && channel_data) this.members.myID = String(parsed(channel_data)?.user_id)
    return { auth, ...(channel_data && { channel_data }) }
  }

  /** @internal One message of the application or event of the channel. */
  handle(frame: Frame): void {
    if (this.#waitsForKey) {
      if (this.#waitsForKey.length < REKEY_QUEUE) this.#waitsForKey.push(frame)
      return
    }
    const { event, data } = frame
    if (event.startsWith("sockudo")) this.#system(event.slice(event.indexOf(":") + 1), parsed(data), frame)
    else if (this.isEncrypted && !event.startsWith("client-")) this.#decrypted(frame)
    else this.#message(event, parsed(data), frame)
  }

  #message(event: string, data: unknown, frame: Frame): void {
    this.emit(event, data, frame)
    this.pusher.emit(event, data, frame)
  }

  #system(event: string, data: any, frame: Frame): void {
    if (event === "subscription_succeeded") {
      this.attach_serial = data?.attach_serial
      this.state = "subscribed"
      this.last_error = null
      this.tries = 0
      if (this.isPresence) {
        this.members.replace(data?.presence)
        data = this.members
      }
    } else if (event === "subscription_count") this.subscription_count = data?.subscription_count
    else if (this.isPresence) {
      if (event === "member_added") data = this.members.add(data)
      else if (event === "member_removed") data = this.members.remove(data)
      else if (event === "presence_update") data = this.members.update(data)
      if (data === null) return
    }
    this.#message(`pusher:${event}`, data, frame)
  }

  /** @internal */
  refuse(error: SockudoError): void {
    this.state = "refused"
    this.last_error = error
    const { code: status, message } = error
    const data = { type: "AuthError", error: message, status, reason: error }
    this.#message("pusher:subscription_error", data, { event: "pusher:subscription_error", channel: this.name })
  }

  /** @internal The connection is gone, and the subscription with it. */
  lose(): void {
    if (this.state === "subscribed") this.state = "pending"
  }

  #decrypted(frame: Frame): void {
    const text = this.pusher.decrypt(frame.data, this.#key)
    if (text !== null) {
      this.#message(frame.event, parsed(text), frame)
      return
    }
    // The secret has changed: what comes meanwhile waits for the new one.
    this.#waitsForKey = []
    const goOn = () => {
      const waiting = this.#waitsForKey ?? []
      this.#waitsForKey = null
      const again = this.pusher.decrypt(frame.data, this.#key)
      if (again === null) this.pusher.connection.emit("error", new SockudoError(0, `A message of ${this.name} could not be decrypted`, this.name))
      else this.#message(frame.event, parsed(again), frame)
      for (const each of waiting) this.handle(each)
    }
    const { socket_id = "" } = this.pusher.connection
    this.authorize(socket_id).then(goOn, goOn)
  }
}
