import { Answers } from "./answers.js"
import { post, Signatures } from "./auth.js"
import { Channel, type PublishOptions } from "./channel.js"
import { Connection, type Prepared, type SocketConstructor, type Timing } from "./connection.js"
import { Emitter } from "./emitter.js"
import { SockudoError } from "./errors.js"
import { type Format, type Frame, json, parsed } from "./frames.js"
import { address, encoded, type DeltaChoice, type Options, type Parts, type SubscribeOptions } from "./options.js"
import { watchPage } from "./page.js"
import { Positions } from "./positions.js"
import { placeOf, type Position, unrecoverable } from "./recovery.js"
import { Tokens } from "./tokens.js"
import { User } from "./user.js"

export const VERSION = "0.1.0"

// The server takes no more places in one resume, and by default no message above 64 KB.
const MAX_PLACES = 1000
const MAX_RESUME = 60_000
// It gives up places whose channels were not subscribed to after 10 s, and then answers.
const RESUME_WITHIN = 30_000
const HISTORY_TRIES = 3
const PUBLISH_TRIES = 6
const MAX_DELTA_FAILURES = 2
const RETRY_FIRST = 1000
const RETRY_MOST = 30_000
const USER_CHANNEL = "#server-to-user-"

const TIMING: Timing = {
  activityTimeout: 120_000,
  pongTimeout: 30_000,
  connectTimeout: 10_000,
  unavailableTimeout: 10_000,
  minReconnectDelay: 500,
  maxReconnectDelay: 20_000,
}

const LOADERS: { [Name in keyof Parts]: () => Promise<Parts[Name]> } = {
  binary: () => import("./parts/binary.js"),
  deltas: () => import("./parts/deltas.js"),
  encryption: () => import("./parts/encryption.js"),
  node: () => import("./parts/node.js"),
  share: () => import("./parts/share.js"),
}

/** Neither React Native nor pages without TLS have `randomUUID`. */
const newKey = (): string =>
  globalThis.crypto?.randomUUID?.() ?? Array.from({ length: 4 }, () => Math.random().toString(36).slice(2).padEnd(8, "0")).join("")
const LOST = new SockudoError(1006, "The connection was lost before the server answered")
const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds))
const isPassing = ({ code }: SockudoError): boolean => code === 0 || code === 429 || (code >= 500 && code < 600)
const asError = (error: any): SockudoError =>
  error instanceof SockudoError ? error : new SockudoError(error?.status ?? 403, String(error?.message ?? error))

/** Where a classic script came from; a module is told by its address. */
const origin: string | undefined = (() => {
  const { document, location } = globalThis as { document?: Document; location?: Location }
  const script = (document?.currentScript as HTMLScriptElement | null)?.src
  return script && /^https?:/.test(script) ? new URL(script).origin : location && /^http/.test(location.protocol) ? location.origin : undefined
})()

/** A client of one app: `new Sockudo(key, options)` connects at once, and stays connected until `disconnect()`. */
export class Sockudo extends Emitter {
  static readonly VERSION = VERSION
  static readonly instances: Sockudo[] = []

  readonly connection: Connection
  readonly user = new User()
  /** All that is subscribed to, by name. */
  readonly channels = {
    all: (): Channel[] => [...this.#channels.values()],
    find: (name: string): Channel | undefined => this.#channels.get(name),
  }
  /** @internal */
  readonly signatures: Signatures

  #channels = new Map<string, Channel>()
  #patterns: Channel[] = []
  #parts: Partial<Parts>
  #answers = new Answers()
  #tokens: Tokens
  #positions: Positions | null = null
  /** Channels that are to be subscribed to on this connection. */
  #entering = new Set<Channel>()
  #resumed: Channel[] | null = null
  #resumeTimer: ReturnType<typeof setTimeout> | undefined
  #deltaFailures = 0
  #tokenRefused = false
  #historyTurn: Promise<unknown> = Promise.resolve()
  #unwatch: (() => void) | null = null
  /** What this tab knows of the others that it shares a connection with. */
  readonly #room = {}

  constructor(
    readonly key: string,
    readonly config: Options = {},
  ) {
    super()
    if (typeof key !== "string" || !key) throw new Error("The first argument is the key of an app")
    address(key, config, origin)
    this.#parts = { ...config.parts }
    this.signatures = new Signatures(config)
    this.#tokens = new Tokens(
      config.token,
      async (token) => {
        if (this.send_event("sockudo:auth", { token })) await this.#answers.ask("auth")
      },
      (error) => this.#problem(asError(error)),
    )
    const { positions } = config
    const store = positions === "session" ? globalThis.sessionStorage : positions
    if (store) this.#positions = new Positions(store, key, () => this.#places())

    const timing = { ...TIMING }
    for (const name of Object.keys(TIMING) as (keyof Timing)[]) timing[name] = config[name] ?? timing[name]
    this.connection = new Connection(
      () => this.#prepare(),
      timing,
      (frame) => this.#receive(frame),
      (error) => this.#mayRetry(error),
    )
    this.connection
      .bind("connected", () => this.#connected())
      .bind("state_change", ({ previous }) => previous === "connected" && this.#lost())
    Sockudo.instances.push(this)
    if (!config.manual) this.connect()
  }

  // ---- the connection ----

  connect(): void {
    this.#unwatch ??= watchPage({
      wake: () => this.connection.wake(),
      offline: () => this.connection.offline(),
      suspend: () => this.connection.suspend(),
      save: () => this.#positions?.save(),
    })
    this.connection.connect()
  }

  disconnect(): void {
    this.#unwatch?.()
    this.#unwatch = null
    this.#tokens.stop()
    this.#positions?.save()
    this.connection.disconnect()
  }

  /** The socket id, once there is a connection; throws when the server does not want this client. */
  connected(): Promise<string> {
    const { connection } = this
    return new Promise((resolve, reject) => {
      const look = () => {
        if (connection.state === "connected") resolve(connection.socket_id!)
        else if (connection.state === "disconnected" || connection.state === "failed") {
          reject(connection.last_error ?? new SockudoError(0, "The client was disconnected"))
        } else return
        connection.unbind("state_change", look)
      }
      connection.bind("state_change", look)
      look()
    })
  }

  /** Sends a frame. False when there is no connection to send it on. */
  send_event(event: string, data: unknown, channel?: string): boolean {
    return this.connection.send({ event, ...(channel !== undefined && { channel }), ...(data !== undefined && { data }) })
  }

  async #prepare(): Promise<Prepared> {
    const { format: wanted = "json", echo, delta, share } = this.config
    const [format, Socket, token, shared] = await Promise.all([
      wanted === "json" ? json : this.#part("binary").then((binary) => binary[wanted]),
      this.config.WebSocket ?? (globalThis.WebSocket as SocketConstructor | undefined) ?? this.#part("node").then((node) => node.NodeSocket),
      this.#tokens.get(),
      share && this.#part("share"),
      // The tab with the connection puts together what others have asked for.
      (delta || share) && this.#part("deltas"),
    ])
    const query: [string, string][] = [
      ["protocol", "2"],
      ["client", "sockudo-js"],
      ["version", VERSION],
    ]
    if (wanted !== "json") query.push(["format", wanted])
    if (echo !== undefined) query.push(["echo_messages", String(echo)])
    if (token) query.push(["token", token])
    const prepared = { url: `${address(this.key, this.config, origin)}?${encoded(query)}`, Socket, format: this.#whole(format) }
    return shared ? shared.share(prepared, this.#room) : prepared
  }

  /** Puts messages that come as differences together. What cannot be is asked for again, on the next connection. */
  #whole(format: Format): Format {
    let deltas: InstanceType<Parts["deltas"]["Deltas"]> | undefined
    return {
      encode: format.encode,
      decode: (payload) => {
        const frame = format.decode(payload)
        const part = this.#parts.deltas
        if (!part || (frame.__delta_seq === undefined && !frame.event.startsWith("sockudo:delta"))) return frame
        try {
          return (deltas ??= new part.Deltas()).read(frame, payload)
        } catch (error) {
          this.#deltaFailures += 1
          throw error
        }
      },
    }
  }

  async #part<Name extends keyof Parts>(name: Name): Promise<Parts[Name]> {
    return (this.#parts[name] ??= await LOADERS[name]()) as Parts[Name]
  }

  #mayRetry({ code, message }: SockudoError): boolean {
    const retries = this.#tokens.canRenew && !this.#tokenRefused && code === 4009 && /token/i.test(message) && !/revoked/.test(message)
    this.#tokenRefused = retries
    return retries
  }

  #connected(): void {
    this.#tokenRefused = false
    const delta = this.#deltaOf(this.config.delta)
    if (delta) this.send_event("sockudo:enable_delta_compression", delta === true ? undefined : { algorithms: [delta] })
    if (this.user.signin_requested) void this.#signIn().catch(() => {})
    for (const channel of this.#channels.values()) this.#enter(channel)
    this.#flush()
  }

  #lost(): void {
    this.#endResume()
    this.#entering.clear()
    this.#answers.clear(LOST)
    for (const channel of this.#channels.values()) channel.lose()
  }

  /** After deltas that could not be put together whole messages are better. */
  #deltaOf(delta: DeltaChoice | undefined): DeltaChoice | undefined {
    return delta && this.#deltaFailures >= MAX_DELTA_FAILURES ? false : delta
  }

  // ---- channels ----

  channel(name: string): Channel | undefined {
    return this.#channels.get(name)
  }

  allChannels(): Channel[] {
    return this.channels.all()
  }

  /** The channel, whose subscription is asked for; `await channel.subscribed()` waits for it. */
  subscribe(name: string, options?: SubscribeOptions): Channel {
    let channel = this.#channels.get(name)
    if (!channel) {
      channel = new Channel(name, this, options ?? {}, this.#positions?.get(name) ?? null)
      this.#channels.set(name, channel)
      if (channel.pattern) this.#patterns.push(channel)
    } else if (options) channel.options = { ...channel.options, ...options }
    else if (channel.state === "pending") return channel
    this.#enter(channel)
    queueMicrotask(() => this.#flush())
    return channel
  }

  unsubscribe(name: string): void {
    const channel = this.#channels.get(name)
    if (!channel) return
    this.#channels.delete(name)
    this.#patterns = this.#patterns.filter((each) => each !== channel)
    this.#entering.delete(channel)
    this.#positions?.forget(name)
    if (channel.state !== "idle") this.send_event("sockudo:unsubscribe", { channel: name })
    channel.state = "idle"
  }

  subscribeAll(): void {
    for (const channel of this.#channels.values()) this.#enter(channel)
    this.#flush()
  }

  #enter(channel: Channel): void {
    if (channel.state !== "subscribed") channel.state = "pending"
    this.#entering.add(channel)
  }

  /** Asks for all channels that are to be subscribed to, and before that for what was missed on them. */
  #flush(): void {
    if (this.connection.state !== "connected" || this.#resumed) return
    const places: Record<string, Position> = Object.create(null)
    const resumed: Channel[] = []
    const batch: Channel[] = []
    let size = 0
    for (const channel of this.#entering) {
      const { track, state, name } = channel
      if (state !== "subscribed" && this.config.recovery !== false) {
        const place = track.place
        if (place) {
          size += JSON.stringify([name, place]).length + 1
          // These follow the answer.
          if (resumed.length === MAX_PLACES || size > MAX_RESUME) continue
          places[name] = place
          resumed.push(channel)
        }
        track.reconnected(this.#subscribesFirst(channel))
      }
      this.#entering.delete(channel)
      batch.push(channel)
    }
    // What is resumed before it is subscribed to comes without its filter, and else in order.
    const first = resumed.filter((channel) => this.#subscribesFirst(channel))
    for (const channel of first) void this.#ask(channel)
    if (resumed.length) this.#resume(resumed, places)
    for (const channel of batch) if (!first.includes(channel)) void this.#ask(channel)
  }

  #subscribesFirst(channel: Channel): boolean {
    return !channel.isProtected && channel.options.filter !== undefined
  }

  async #ask(channel: Channel): Promise<void> {
    const { name, options } = channel
    const { socket_id } = this.connection
    const isCurrent = () => this.connection.socket_id === socket_id && this.#channels.get(name) === channel
    const { rewind, filter } = options
    const delta = this.#deltaOf(options.delta)
    let signed = {}
    if (delta && !this.#parts.deltas) await this.#part("deltas")
    if (channel.isProtected) {
      try {
        if (channel.isEncrypted) await this.#part("encryption")
        signed = await channel.authorize(socket_id!)
      } catch (error) {
        if (isCurrent()) this.#unauthorized(channel, asError(error))
        return
      }
    }
    if (!isCurrent()) return
    this.#answers.add("subscribe", name, (error, frame) => {
      if (!isCurrent()) return
      if (error) channel.refuse(error)
      else this.#acknowledged(channel, frame)
    })
    this.send_event("sockudo:subscribe", {
      channel: name,
      ...signed,
      ...(rewind !== undefined && { rewind }),
      ...(filter !== undefined && { filter }),
      ...(delta !== undefined && { delta }),
    })
  }

  #acknowledged(channel: Channel, frame: Frame): void {
    channel.track.acknowledged(placeOf(frame), channel.options.rewind !== undefined)
    channel.handle(frame)
    this.#tell(channel)
    this.#positions?.changed()
  }

  /** A backend that does not answer is asked again; one that says no is believed. */
  #unauthorized(channel: Channel, error: SockudoError): void {
    channel.refuse(error)
    if (!isPassing(error)) return
    const { socket_id } = this.connection
    const delay = Math.min(RETRY_FIRST * 2 ** channel.tries++, RETRY_MOST) * (0.5 + Math.random() / 2)
    setTimeout(() => {
      if (this.connection.socket_id === socket_id && channel.state === "refused") this.subscribe(channel.name)
    }, delay)
  }

  // ---- recovery ----

  #resume(channels: Channel[], channel_positions: Record<string, Position>): void {
    this.#resumed = channels
    this.#resumeTimer = setTimeout(() => this.#resumeEnds("no_answer"), RESUME_WITHIN)
    this.#answers.add("resume", undefined, (error) => {
      if (error && error !== LOST) this.#resumeEnds("refused_by_server", error.message)
    })
    this.send_event("sockudo:resume", { channel_positions })
  }

  #resumeAnswered({ recovered, failed }: { recovered?: any[]; failed?: any[] }): void {
    for (const { channel, replayed, source, position } of recovered ?? []) {
      this.#channels.get(channel)?.track.recovered(replayed, source, placeOf(position ?? {}))
    }
    for (const { channel: name, ...why } of failed ?? []) {
      const channel = this.#channels.get(name)
      if (channel?.track.asked) channel.track.lost(why)
    }
    this.#resumeEnds("no_answer")
  }

  /** What was asked for and has no answer gets none any more; channels that wait for their turn have it. */
  #resumeEnds(reason: string, message?: string): void {
    const channels = this.#resumed ?? []
    this.#endResume()
    for (const channel of channels) {
      if (this.#channels.get(channel.name) !== channel) continue
      if (channel.track.asked) channel.track.lost(unrecoverable(reason, message))
      for (const frame of channel.track.release()) this.#deliver(frame)
      this.#tell(channel)
    }
    this.#flush()
  }

  #endResume(): void {
    clearTimeout(this.#resumeTimer)
    this.#resumed = null
  }

  /** Not before the channel is subscribed: what is fetched on a gap then misses nothing. */
  #tell(channel: Channel): void {
    const { due } = channel.track
    if (!due || channel.state !== "subscribed") return
    channel.track.due = null
    const data = { channel: channel.name, ...due.data }
    channel.emit(due.name, data)
    this.emit(due.name, data)
  }

  *#places(): Iterable<readonly [string, Position | null]> {
    for (const [name, { track }] of this.#channels) yield [name, track.place]
  }

  // ---- what comes ----

  #receive(frame: Frame): void {
    const { event } = frame
    if (!event.startsWith("sockudo")) this.#deliver(frame)
    else this.#system(event.slice(event.indexOf(":") + 1), frame)
  }

  #deliver(frame: Frame): void {
    const name = frame.channel ?? ""
    const channel = this.#channels.get(name)
    if (channel) {
      if (!channel.track.accepts(frame)) return
      this.#positions?.changed()
      channel.handle(frame)
    }
    for (const each of this.#patterns) if (each.pattern!.test(name)) each.handle(frame)
    if (name.startsWith(USER_CHANNEL)) {
      this.user.emit(frame.event, parsed(frame.data), frame)
    }
  }

  #system(event: string, frame: Frame): void {
    const channel = this.#channels.get(frame.channel ?? "")
    switch (event) {
      case "subscription_succeeded":
        this.#answers.answered("subscribe", frame.channel, frame)
        return
      case "subscription_error":
        // The error that follows says the same.
        return
      case "error":
        this.#refused(frame)
        return
      case "pong":
        this.#answers.answered("ping")
        return
      case "channel_history":
        this.#answers.answered("history", frame.channel, frame.data)
        return
      case "signin_success":
        this.#answers.answered("signin", undefined, frame.data)
        this.emit("pusher:signin_success", parsed(frame.data), frame)
        return
      case "auth_success":
        this.#answers.answered("auth", undefined, frame.data)
        return
      case "token_expired":
        if (frame.data?.code !== 40160) void this.#tokens.refresh()
        return
      case "watchlist_events":
        for (const { name, user_ids } of frame.data?.events ?? []) this.user.watchlist.emit(name, { name, user_ids })
        return
      case "resume_success":
        if (this.#resumed) this.#resumeAnswered(parsed(frame.data) ?? {})
        return
      case "resume_failed":
        if (!channel) return
        channel.track.lost({ ...unrecoverable("unknown"), ...parsed(frame.data) })
        this.#tell(channel)
        return
    }
    if (!channel) return
    if (event === "rewind_complete") channel.track.rewound()
    else if (event === "cache_miss" && !channel.track.accepts(frame)) return
    channel.handle(frame)
  }

  #refused(frame: Frame): void {
    const { code, message } = frame.data ?? {}
    const error = new SockudoError(Number(code), String(message), frame.channel)
    if (this.#answers.refused(error)) return
    const channel = this.#channels.get(frame.channel ?? "")
    if (channel && error.code === 4009) channel.refuse(error)
    else this.#problem(error)
  }

  #problem(error: SockudoError): void {
    this.connection.emit("error", { type: "PusherError", data: error.data, error })
  }

  // ---- what channels ask for ----

  /** @internal */
  decrypt(data: unknown, key: string | undefined): string | null {
    try {
      return this.#parts.encryption!.open(parsed(data), key!)
    } catch {
      return null
    }
  }

  /** @internal */
  async publish(channel: Channel, event: string, data: unknown, { idempotencyKey = newKey() }: PublishOptions): Promise<unknown> {
    const { publishing } = this.config
    if (!publishing) {
      await channel.subscribed()
      if (!channel.trigger(event, data)) throw LOST
      return this.#taken()
    }
    const { socket_id } = this.connection
    const body = JSON.stringify({ channel: channel.name, name: event, data, idempotency_key: idempotencyKey, socket_id })
    for (let tries = 0; ; tries++) {
      try {
        return await post(publishing.endpoint, body, "application/json", publishing.headers)
      } catch (error) {
        if (!isPassing(asError(error)) || tries === PUBLISH_TRIES) throw error
        await pause(Math.min(RETRY_FIRST * 2 ** tries, RETRY_MOST) * (0.5 + Math.random() / 2))
      }
    }
  }

  /** @internal */
  async updateMember(channel: Channel, info: unknown): Promise<void> {
    await channel.subscribed()
    if (!this.send_event("sockudo:presence_update", { channel: channel.name, data: info })) throw LOST
    await this.#taken()
  }

  /** The server has carried out what was sent last: it answers in order. */
  #taken(): Promise<void> {
    const taken = this.#answers.ask<void>("event")
    this.#answers.add("ping")
    this.send_event("sockudo:ping", undefined)
    return taken
  }

  /** @internal One question at a time: the server takes two, and answers name the channel alone. */
  askHistory(channel: Channel, request: Record<string, unknown>): Promise<any> {
    const turn = this.#historyTurn.then(() => this.#askHistory(channel, request))
    this.#historyTurn = turn.catch(() => {})
    return turn
  }

  async #askHistory(channel: Channel, request: Record<string, unknown>): Promise<any> {
    for (let tries = 1; ; tries++) {
      await channel.subscribed()
      try {
        if (!this.send_event("sockudo:channel_history", request)) throw LOST
        return await this.#answers.ask("history", channel.name)
      } catch (error) {
        if (error !== LOST || tries === HISTORY_TRIES) throw error
      }
    }
  }

  /** @internal */
  askPresence(channel: string, action: string, params: Record<string, unknown>): Promise<any> {
    const { presenceHistory } = this.config
    if (!presenceHistory) return Promise.reject(new SockudoError(0, "The option presenceHistory names no backend to ask"))
    return post(presenceHistory.endpoint, JSON.stringify({ channel, action, params }), "application/json", presenceHistory.headers)
  }

  // ---- the user ----

  /** Signs in as the user that the app's backend vouches for, now and on every connection. */
  signin(): Promise<any> {
    this.user.signin_requested = true
    const done = this.connection.state === "connected" ? this.#signIn() : this.connection.next("connected").then(() => this.user.signinDonePromise)
    done.catch(() => {})
    if (this.connection.state !== "connected") this.user.signinDonePromise = done
    return done
  }

  #signIn(): Promise<any> {
    const { socket_id } = this.connection
    const done = (async () => {
      const { auth, user_data } = await this.signatures.user(socket_id!)
      if (this.connection.socket_id !== socket_id || !this.send_event("sockudo:signin", { auth, user_data })) throw LOST
      await this.#answers.ask("signin")
      return (this.user.user_data = parsed(user_data))
    })()
    done.catch((error) => error !== LOST && this.#problem(asError(error)))
    return (this.user.signinDonePromise = done)
  }
}
