import { Answers } from "../answers.js"
import { MOVED, type Prepared, type Socket } from "../connection.js"
import { SockudoError } from "../errors.js"
import { type Format, type Frame, parsed } from "../frames.js"
import { placeOf, type Position, unrecoverable } from "../recovery.js"
import { CatchUp } from "./catchup.js"
import { Line, type Seat, saying } from "./line.js"
import { type FromTab, Member } from "./member.js"
import { Watching } from "./watching.js"

/** The connection is gone, but the server is not: tabs come back at once. No code of the server's. */
export const GONE = 4290
const NOT_SUBSCRIBED = 4301
/** What a line that works takes to answer a ping, when a tab joins. */
const PROVE_WITHIN = 4000
/** How long a resume waits for a subscribe, as at the server. */
const SUBSCRIBE_WITHIN = 10_000
/** What tabs take to learn that the connection has ended. */
const LEAVE_WITHIN = 1000
const MOST_ECHOES = 100
const MEMBER_EVENTS = /^(?:client-|sockudo|pusher)/

/** How the protocol in use names its own events. */
export type Prefix = "sockudo" | "pusher"

/**
 * The one connection, in the tab that leads: tabs speak to it as to a server, and it to the server as one client.
 *
 * Each subscribe goes to the server, signed for by the tab that asks; answers come in the order of asking, and go to who
 * asked. What a tab missed is asked for behind the acknowledgement and given to that tab alone.
 */
export class Hub {
  readonly id = crypto.randomUUID()
  /** Settled when the connection has ended, and every tab knows. */
  readonly ended: Promise<void>
  readonly #members = new Map<string, Member>()
  readonly #lines = new Map<string, Line>()
  #patterns: Line[] = []
  readonly #answers = new Answers()
  readonly #catchUp: CatchUp
  readonly #watching = new Watching()
  readonly #hall: BroadcastChannel
  readonly #gone = new AbortController()
  readonly #format: Format
  #socket: Socket | null = null
  #hasEnded = false
  #settle!: () => void
  #greeting: Frame | null = null
  #heardAt = 0
  #hasDeltas = false
  /** Whoever asks for a past waits for the one before: answers name the channel alone. */
  #histories: [Member, Frame][] = []
  #asksHistory = false

  constructor(
    private readonly group: string,
    { url, format, Socket }: Prepared,
    private readonly prefix: Prefix,
  ) {
    this.ended = new Promise((resolve) => (this.#settle = resolve))
    this.#format = format
    this.#catchUp = new CatchUp(
      this.#answers,
      (channel_positions) => this.#send({ event: `${prefix}:resume`, data: { channel_positions } }),
      (line) => this.#release(line),
      (member, frame) => this.#post(member, frame),
      prefix,
    )
    this.#hall = new BroadcastChannel(group)
    this.#hall.onmessage = ({ data }) => data.join && this.#admit(data.join, data.echo)
    this.#hall.postMessage({ hub: this.id })
    try {
      this.#open(new Socket(url))
    } catch (error) {
      this.end(1006, `No connection can be opened: ${(error as Error).message}`)
    }
  }

  /** Closes the connection; every tab gets this code. */
  end(code: number, reason: string): void {
    const socket = this.#socket
    if (this.#hasEnded) return
    this.#hasEnded = true
    this.#socket = null
    // The last tab leaves for good; where others come back presence members stay.
    socket?.close(this.#members.size > 1 ? MOVED : 1000)
    this.#catchUp.stop()
    this.#hall.close()
    for (const member of this.#members.values()) member.tell({ close: [code, reason] })
    // Before the lock is free: a tab that gets it first would not learn why it has it.
    if (code === GONE || !this.#members.size) this.#over()
    else setTimeout(() => this.#over(), LEAVE_WITHIN)
  }

  #over(): void {
    this.#gone.abort()
    for (const { link } of this.#members.values()) link.close()
    this.#members.clear()
    this.#settle()
  }

  // ---- the server ----

  #open(socket: Socket): void {
    this.#socket = socket
    socket.binaryType = "arraybuffer"
    socket.onmessage = ({ data }) => {
      if (socket !== this.#socket) return
      try {
        this.#receive(this.#format.decode(data))
      } catch (error) {
        // Another connection begins with what each tab has: nothing is skipped.
        this.end(1006, `The server sent something that is no frame: ${(error as Error).message}`)
      }
    }
    socket.onclose = ({ code, reason }) => socket === this.#socket && this.end(code, reason)
    socket.onerror = () => {}
  }

  #send(frame: Frame): void {
    this.#socket?.send(this.#format.encode(frame))
  }

  #receive(frame: Frame): void {
    this.#heardAt = performance.now()
    const { event, channel } = frame
    if (event.startsWith("sockudo") || event.startsWith("pusher")) this.#system(event.slice(event.indexOf(":") + 1), frame)
    else if (channel !== undefined) this.#deliver(frame)
    else this.#toAll(frame)
  }

  #deliver(frame: Frame): void {
    const name = frame.channel!
    const line = this.#lines.get(name)
    const repeats = line?.repeats(frame) ?? false
    for (const member of line?.takers(frame) ?? []) this.#post(member, frame)
    if (!repeats) for (const member of this.#others(line, name)) this.#post(member, frame)
  }

  /** Tabs that hear a channel by a pattern, or because they are the user whose it is. */
  #others(line: Line | undefined, name: string): Set<Member> {
    const found = new Set<Member>()
    for (const pattern of this.#patterns) if (pattern.pattern!.test(name)) for (const member of pattern.hearers()) found.add(member)
    if (name.startsWith("#server-to-user-")) for (const member of this.#members.values()) if (member.user !== null) found.add(member)
    for (const member of line?.hearers() ?? []) found.delete(member)
    return found
  }

  #system(event: string, frame: Frame): void {
    const { channel } = frame
    const line = channel === undefined ? undefined : this.#lines.get(channel)
    switch (event) {
      case "connection_established":
        this.#greeting = frame
        for (const member of this.#members.values()) this.#greet(member)
        return
      case "subscription_succeeded":
        return this.#answers.answered("subscribe", channel, frame)
      case "subscription_error":
        for (const [member, { acked }] of line?.seats ?? []) if (!acked) this.#post(member, frame)
        return
      case "error":
        return this.#refused(frame, line)
      case "pong":
        return this.#answers.answered("ping", undefined, frame)
      case "channel_history":
        return this.#answers.answered("history", channel, frame)
      case "signin_success":
        return this.#answers.answered("signin", undefined, frame)
      case "auth_success":
        return this.#answers.answered("auth", undefined, frame)
      case "watchlist_events":
        for (const [member, data] of this.#watching.told(frame.data, this.#members.values())) this.#post(member, { ...frame, data })
        return
      case "resume_success":
        return this.#catchUp.answered(parsed(frame.data))
      case "resume_failed":
        // That of a resume is part of its answer; another one is news to all.
        if (line && !line.asked.length) for (const member of line.hearers()) this.#post(member, frame)
        return
      case "rewind_complete":
        if (line?.rewinding) {
          const { member } = line.rewinding
          line.rewinding = null
          this.#post(member, frame)
        }
        return
      case "cache_miss":
        for (const member of line?.takers(frame) ?? []) this.#post(member, frame)
        return
    }
    if (line) for (const member of line.hearers()) this.#post(member, frame)
    else if (channel === undefined) this.#toAll(frame)
  }

  #refused(frame: Frame, line: Line | undefined): void {
    const { code, message } = frame.data ?? {}
    if (this.#answers.refused(new SockudoError(Number(code), String(message), frame.channel))) return
    if (line) for (const member of line.hearers()) this.#post(member, frame)
    else this.#toAll(frame)
  }

  // ---- tabs ----

  #admit(id: string, echo: boolean): void {
    if (this.#members.has(id)) return
    const name = `${this.group} ${id}`
    const member = new Member(this.id, id, echo, new BroadcastChannel(name))
    this.#members.set(id, member)
    member.link.onmessage = ({ data }: { data: FromTab }) => {
      if (data.to === this.id && !this.#hasEnded && this.#members.has(id)) this.#take(member, data)
    }
    // The tab holds this lock for as long as it lives, however it ends.
    navigator.locks.request(name, { signal: this.#gone.signal }, () => this.#drop(member)).catch(() => {})
    member.tell({ welcome: true })
    if (this.#greeting) this.#prove()
  }

  /** A tab may have come because the line is dead: the greeting waits for a sign of life. */
  #prove(): void {
    const asked = performance.now()
    this.#ping(() => {
      for (const member of this.#members.values()) this.#greet(member)
    })
    setTimeout(() => {
      if (this.#heardAt < asked) this.end(1006, "The server did not answer a ping in time")
    }, PROVE_WITHIN)
  }

  #greet(member: Member): void {
    if (!member.isGreeted) this.#post(member, this.#greeting!)
    member.isGreeted = true
  }

  #drop(member: Member): void {
    if (!this.#members.delete(member.id)) return
    member.link.close()
    this.#histories = this.#histories.filter(([each]) => each !== member)
    for (const line of [...member.lines]) this.#leave(member, line)
    if (this.#hasEnded && !this.#members.size) this.#over()
  }

  #post(member: Member, frame: Frame): void {
    if (this.#hasEnded || !this.#members.has(member.id) || member.post(frame)) return
    member.tell({ close: [GONE, "The tab has stopped taking messages"] })
    this.#drop(member)
  }

  #toAll(frame: Frame): void {
    for (const member of this.#members.values()) this.#post(member, frame)
  }

  #refuse(member: Member, code: number, message: string, channel?: string): void {
    this.#post(member, { event: `${this.prefix}:error`, ...(channel !== undefined && { channel }), data: { code, message } })
  }

  #take(member: Member, { frame, got }: FromTab): void {
    if (got !== undefined) {
      member.got = got
      member.tell({})
    }
    if (!frame) return
    const { event, data } = frame
    if (!MEMBER_EVENTS.test(event)) return
    switch (event.slice(event.indexOf(":") + 1)) {
      case "subscribe":
        return this.#subscribe(member, frame)
      case "unsubscribe": {
        const line = this.#lines.get(data?.channel)
        if (line?.seats.has(member)) this.#leave(member, line)
        return
      }
      case "resume":
        return this.#resume(member, frame)
      case "signin":
        return this.#signIn(member, frame)
      case "channel_history":
        return this.#askHistory(member, frame)
      case "auth":
      case "ping":
        return this.#ask(member, event.endsWith("auth") ? "auth" : "ping", frame)
      case "enable_delta_compression":
        if (!this.#hasDeltas) this.#send(frame)
        this.#hasDeltas = true
        return
    }
    this.#clientEvent(member, frame)
  }

  /** Passes a question on; its answer, or refusal, is for the tab that asks. */
  #ask(member: Member, kind: "auth" | "ping" | "event" | "signin" | "history", frame: Frame, then?: (error: SockudoError | null) => void): void {
    this.#answers.add(kind, kind === "history" ? frame.data.channel : undefined, (error, answer?: Frame) => {
      then?.(error)
      if (error) this.#refuse(member, error.code, error.message, error.channel)
      else if (answer) this.#post(member, answer)
    })
    this.#send(frame)
  }

  #ping(then: () => void): void {
    this.#answers.add("ping", undefined, then)
    this.#send({ event: `${this.prefix}:ping`, data: {} })
  }

  // ---- channels ----

  #subscribe(member: Member, frame: Frame): void {
    const { channel: name, filter, rewind, channel_data } = frame.data ?? {}
    if (typeof name !== "string") return this.#refuse(member, 4000, "Invalid message format: Missing channel in subscription data")
    const user = parsed(channel_data)?.user_id ?? null
    const line = this.#lines.get(name) ?? new Line(name)
    const conflict = this.#conflict(member, line, filter === undefined ? "" : JSON.stringify(filter), user === null ? null : String(user))
    if (conflict) return member.tell({ alone: conflict })
    if (!this.#lines.has(name)) {
      this.#lines.set(name, line)
      if (line.pattern) this.#patterns.push(line)
    }
    member.lines.add(line)
    const seat = line.sit(member)
    const place = member.places.get(name)
    member.places.delete(name)
    // What came with the resume is not to come once more.
    const data = place && rewind !== undefined ? { ...frame.data, rewind: undefined } : frame.data
    this.#enter(line, member, seat, { ...frame, data }, (ack) => {
      this.#post(member, ack)
      if (place) this.#goOn(line, member, seat, place, rewind !== undefined && frame)
    })
  }

  /** Why the tab cannot share: the connection has one filter for a channel, and is one member of it. */
  #conflict(member: Member, line: Line, filter: string, user: string | null): string | null {
    const isShared = ({ seats }: Line): boolean => seats.size > (seats.has(member) ? 1 : 0)
    const differs = (other: Line): boolean => other.filter !== filter && isShared(other)
    if (user !== null && line.user !== null && line.user !== user && isShared(line)) return `Another tab is another member of ${line.name}`
    const near = line.pattern ? this.#lines.values() : [line, ...this.#patterns.filter(({ pattern }) => pattern!.test(line.name))]
    for (const other of near) {
      const meets = other === line || !line.pattern || other.pattern !== null || line.pattern.test(other.name)
      if (meets && differs(other)) return `Another tab has another filter for ${other.name}`
    }
    line.filter = filter
    if (user !== null) line.user = user
    return null
  }

  /** Subscribes, again where other tabs have; `then` gets the acknowledgement. */
  #enter(line: Line, member: Member, seat: Seat, frame: Frame, then: (ack: Frame) => void): void {
    const { name } = line
    const isCurrent = () => this.#lines.get(name) === line && line.seats.get(member) === seat
    this.#answers.add("subscribe", name, (error, ack: Frame) => {
      if (error) {
        this.#refuse(member, error.code, error.message, error.channel)
        if (isCurrent() && !seat.acked) this.#leave(member, line)
        return
      }
      const head = placeOf(ack)
      if (this.#lines.get(name) === line) this.#mend(line, head)
      if (!isCurrent()) return
      if (!seat.acked) seat.head = seat.place = head
      seat.attached = parsed(ack.data)?.attach_serial
      seat.acked = true
      if (frame.data.rewind !== undefined) line.rewinding = { member, head }
      if (line.isCache) line.cached.push(member)
      then(ack)
    })
    this.#send(frame)
  }

  /** A second subscribe may pass over what was published just then: the tabs that were there get it all the same. */
  #mend(line: Line, head: Position | null): void {
    const { newest } = line
    if (!head) return
    if (newest?.stream_id === head.stream_id && newest.serial >= head.serial) return
    const missing = newest?.stream_id === head.stream_id ? [...line.hearers()] : []
    for (const member of missing) this.#catchUp.add(line, { member, place: newest!, asks: false, then: undefined })
    line.newest = head
  }

  /** What the tab missed since a place. */
  #goOn(line: Line, member: Member, seat: Seat, place: Position, rewinds: Frame | false): void {
    const then = (recovered: boolean) => {
      if (!rewinds) return
      const data = { historical_count: 0, live_count: 0, complete: true, truncated_by_retention: false, truncated_by_limit: false }
      if (recovered) this.#post(member, { event: `${this.prefix}:rewind_complete`, channel: line.name, data })
      else this.#enter(line, member, seat, rewinds, () => {})
    }
    seat.from = place
    this.#catchUp.add(line, { member, place, asks: true, then })
  }

  #leave(member: Member, line: Line): void {
    line.seats.delete(member)
    member.lines.delete(line)
    this.#catchUp.leave(line, member)
    if (line.seats.size) return
    this.#lines.delete(line.name)
    this.#patterns = this.#patterns.filter((each) => each !== line)
    this.#send({ event: `${this.prefix}:unsubscribe`, data: { channel: line.name } })
  }

  #release(line: Line): void {
    for (const [frame, takers] of line.release()) {
      const others = line.repeats(frame) ? [] : this.#others(line, line.name)
      for (const member of [...takers, ...others]) this.#post(member, frame)
    }
  }

  #resume(member: Member, frame: Frame): void {
    const places = frame.data?.channel_positions
    if (typeof places !== "object" || places === null) return this.#refuse(member, 4000, "Invalid message format: Missing channel_positions in resume data")
    const names = Object.keys(places)
    member.resume = { waiting: new Set(names), recovered: [], failed: [] }
    for (const name of names) {
      const line = this.#lines.get(name)
      const seat = line?.seats.get(member)
      if (seat?.acked) this.#goOn(line!, member, seat, places[name], false)
      else member.places.set(name, places[name])
    }
    const { resume } = member
    setTimeout(() => {
      if (member.resume !== resume) return
      for (const name of [...member.places.keys()]) {
        member.places.delete(name)
        this.#catchUp.settle(member, { channel: name, ...unrecoverable("channel_not_subscribed") }, false)
      }
    }, SUBSCRIBE_WITHIN)
  }

  // ---- the rest of what tabs ask for ----

  #signIn(member: Member, frame: Frame): void {
    const id = parsed(frame.data?.user_data)?.id
    const user = String(id)
    for (const other of this.#members.values()) {
      if (other !== member && other.user !== null && other.user !== user) return member.tell({ alone: "Another tab is signed in as another user" })
    }
    this.#ask(member, "signin", frame, (error) => {
      if (!error) member.user = user
    })
  }

  #askHistory(member: Member, frame: Frame): void {
    this.#histories.push([member, frame])
    if (!this.#asksHistory) this.#nextHistory()
  }

  #nextHistory(): void {
    const [member, frame] = this.#histories.shift() ?? []
    this.#asksHistory = member !== undefined
    if (!member) return
    const { channel, until_attach, ...rest } = frame!.data ?? {}
    const seat = this.#lines.get(channel)?.seats.get(member)
    if (!seat?.acked) {
      this.#refuse(member, NOT_SUBSCRIBED, `Channel history needs a subscription to ${channel}`, channel)
      return this.#nextHistory()
    }
    // The connection's attach serial is that of the tab that came last.
    const end = until_attach && seat.attached !== undefined ? { end_serial: Math.min(rest.end_serial ?? Infinity, seat.attached) } : {}
    this.#ask(member, "history", { ...frame!, data: { channel, ...rest, ...end } }, () => this.#nextHistory())
  }

  #clientEvent(member: Member, frame: Frame): void {
    const { event, channel = frame.data?.channel } = frame
    const line = this.#lines.get(channel)
    const seat = line?.seats.get(member)
    if (!seat?.acked) return this.#refuse(member, NOT_SUBSCRIBED, `Client event error: This tab is not subscribed to ${channel}`)
    const isEvent = event.startsWith("client-")
    if (this.prefix === "sockudo") {
      const said = saying(frame)
      if (isEvent && !member.echo && seat.echoes.length < MOST_ECHOES) seat.echoes.push(said)
      return this.#ask(member, "event", frame, (error) => {
        if (error && seat.echoes.includes(said)) seat.echoes.splice(seat.echoes.indexOf(said), 1)
      })
    }
    // V1 does not send it back, so that the other tabs would not hear it.
    this.#ask(member, "event", frame, (error) => {
      if (error || !isEvent) return
      const heard = { ...frame, ...(line!.user !== null && { user_id: line!.user }) }
      for (const other of line!.hearers()) if (other !== member) this.#post(other, heard)
    })
    this.#ping(() => {})
  }
}
