import { Emitter } from "./emitter.js"
import { SockudoError } from "./errors.js"
import { type Frame, json, type Format, parsed } from "./frames.js"

export type State = "initialized" | "connecting" | "connected" | "unavailable" | "failed" | "disconnected"

export interface StateChange {
  previous: State
  current: State
  /** What ended the last connection, if anything did. */
  error?: SockudoError
}

/** What is needed of a WebSocket. */
export interface Socket {
  binaryType: string
  onmessage: ((event: { data: any }) => void) | null
  onclose: ((event: { code: number; reason: string }) => void) | null
  onerror: ((event: any) => void) | null
  send(payload: string | Uint8Array<ArrayBuffer>): void
  close(code?: number): void
}
export type SocketConstructor = new (url: string) => Socket

export interface Prepared {
  url: string
  format: Format
  Socket: SocketConstructor
}

export interface Timing {
  /** Milliseconds of silence after which the server is pinged; never more than the server asks for. */
  activityTimeout: number
  /** What an answer to that ping may take. */
  pongTimeout: number
  /** What connecting may take before it is tried anew. */
  connectTimeout: number
  /** After which the state is `unavailable`; it is tried all the same. */
  unavailableTimeout: number
  /** Bounds of the time between two tries. */
  minReconnectDelay: number
  maxReconnectDelay: number
}

const BROKEN_OFF = 1006
/** Says to the server that this client goes on with another connection: presence members stay for a while. */
export const MOVED = 4900
/** A page that wakes, or whose network has changed, does not wait long to see whether its line still works. */
const WAKE_PONG = 4000
const TICK = 5000
const NEVER = Infinity

/** Milliseconds that clocks, which may jump, have no part in. */
const now = (): number => performance.now()

/** Milliseconds until the next try: at random between the half and the whole of what doubles each time. */
function backOff(failures: number, least: number, most: number): number {
  const longest = Math.min(most, least * 2 ** Math.min(failures, 16))
  return longest / 2 + (Math.random() * longest) / 2
}

/** Milliseconds to wait behind a close with this code; NEVER where coming back is pointless. */
function delayAfter(code: number, established: boolean, failures: number, { minReconnectDelay, maxReconnectDelay }: Timing): number {
  if ((code >= 4000 && code < 4100) || (code >= 4300 && code < 5000)) return NEVER
  // A server that says "at once" before it has accepted the connection would be asked in a tight circle.
  if (code >= 4200 && code < 4300 && established) return 0
  const delay = backOff(failures, minReconnectDelay, maxReconnectDelay)
  return code >= 4100 && code < 4200 ? Math.max(delay, 1000 + Math.random() * 1000) : delay
}

/**
 * One connection that is kept: it connects, notices when the line is dead, and comes back as the close codes ask for.
 * Emits `state_change`, the name of each state, `connecting_in`, `message` for every frame and `error`.
 */
export class Connection extends Emitter {
  state: State = "initialized"
  socket_id: string | undefined
  /** Why the last connection ended or was refused; it stays until there is another reason. */
  last_error: SockudoError | null = null

  #socket: Socket | null = null
  #format: Format = json
  #established = false
  #failures = 0
  /** Whether a page that is put aside has given up its connection. */
  #suspended = false
  /** Which try this is: what an earlier one still brings is not heard. */
  #attempt = 0
  /** Connections in a row that ended with something unreadable. */
  #unreadable = 0
  /** The newest error frame about the connection as a whole: a close with its code follows. */
  #refusal: SockudoError | null = null
  #heardAt = 0
  #silence = 0
  #tickedAt = 0
  #pong: ReturnType<typeof setTimeout> | undefined
  #retry: ReturnType<typeof setTimeout> | undefined
  #limit: ReturnType<typeof setTimeout> | undefined
  #unavailable: ReturnType<typeof setTimeout> | undefined
  #ticker: ReturnType<typeof setInterval> | undefined

  constructor(
    private readonly prepare: () => Promise<Prepared>,
    private readonly timing: Timing,
    /** Gets every frame; what it throws is the frame's fault. */
    private readonly read: (frame: Frame) => void,
    /** Whether a refusal of the connection may be answered with another try, as with a new token. */
    private readonly mayRetry: (error: SockudoError) => boolean,
  ) {
    super()
  }

  connect(): void {
    if (this.#suspended) return this.wake()
    if (this.state === "connecting" || this.state === "connected" || this.state === "unavailable") return
    this.#failures = 0
    this.#try()
  }

  disconnect(): void {
    this.#end("disconnected")
  }

  /** False when there is no connection to send it on. */
  send(frame: Frame): boolean {
    if (this.state !== "connected" || !this.#socket) return false
    this.#socket.send(this.#format.encode(frame))
    return true
  }

  /** The network or the page is back: now is the moment to try, or to see whether the line still works. */
  wake(): void {
    if (this.#suspended) {
      this.#suspended = false
      this.#failures = 0
      this.#try()
    } else if (this.state === "connected") this.#ping(WAKE_PONG)
    else if (this.#retry !== undefined) {
      this.#failures = 0
      this.#try()
    }
  }

  /** The network is gone, as far as the system knows. */
  offline(): void {
    if (this.state === "connected") this.#ping(WAKE_PONG)
    else if (this.state === "connecting") this.#become("unavailable")
  }

  /** The page is put aside, and may come back: a browser keeps only pages without a connection. */
  suspend(): void {
    if (this.state === "initialized" || this.state === "disconnected" || this.state === "failed") return
    this.#end("connecting")
    this.#suspended = true
  }

  // ---- one try ----

  #try(): void {
    clearTimeout(this.#retry)
    this.#retry = undefined
    this.#become(this.state === "unavailable" ? "unavailable" : "connecting")
    this.#unavailable ??= setTimeout(() => this.#become("unavailable"), this.timing.unavailableTimeout)
    const attempt = ++this.#attempt
    this.#established = false
    this.#refusal = null
    this.#limit = setTimeout(() => this.#broken("The server did not greet in time"), this.timing.connectTimeout)
    this.prepare().then(
      (prepared) => {
        if (this.#attempt === attempt) this.#open(prepared)
      },
      (error: unknown) => {
        if (this.#attempt === attempt) this.#broken((error as Error).message)
      },
    )
  }

  #open({ url, format, Socket }: Prepared): void {
    let socket: Socket
    try {
      socket = new Socket(url)
    } catch (error) {
      this.last_error = new SockudoError(0, `No connection can be opened to ${url.split("?")[0]}: ${(error as Error).message}`)
      this.#end("failed")
      return
    }
    this.#socket = socket
    this.#format = format
    socket.binaryType = "arraybuffer"
    socket.onmessage = ({ data }) => {
      if (socket === this.#socket) this.#receive(data)
    }
    socket.onclose = ({ code, reason }) => {
      if (socket === this.#socket) this.#closed(code, reason)
    }
    socket.onerror = () => {}
  }

  #receive(payload: unknown): void {
    this.#heardAt = now()
    if (this.#pong !== undefined) this.#answered()
    try {
      const frame = this.#format.decode(payload)
      if (frame.event === "sockudo:error" && frame.channel === undefined) {
        const { code, message } = parsed(frame.data)
        this.#refusal = new SockudoError(Number(code), String(message))
      }
      if (!this.#established && frame.event === "sockudo:connection_established") this.#greeted(parsed(frame.data))
      this.read(frame)
      this.emit("message", frame)
    } catch (error) {
      // What cannot be read may have been a message: on the next connection it comes again.
      this.#unreadable += 1
      this.#failures = this.#unreadable + 2
      this.emit("error", { type: "MessageParseError", error, data: payload })
      this.#broken(`The server sent something that is no frame: ${(error as Error).message}`)
    }
  }

  #greeted(data: any): void {
    if (typeof data?.socket_id !== "string") {
      this.#broken("The server's greeting has no socket_id")
      return
    }
    this.#established = true
    clearTimeout(this.#limit)
    clearTimeout(this.#unavailable)
    this.#unavailable = undefined
    this.socket_id = data.socket_id
    this.#silence = Math.min(this.timing.activityTimeout, (data.activity_timeout || NEVER) * 1000)
    this.#tickedAt = Date.now()
    this.#ticker = setInterval(() => this.#tick(), Math.min(TICK, this.#silence / 4))
    this.#failures = 0
    this.#become("connected")
  }

  // ---- its end ----

  #closed(code: number, reason: string): void {
    const established = this.#established
    // The error frame before a close says the same, and is whole: a close reason is cut off.
    const said = this.#refusal
    const error = said?.code === code && said.message.startsWith(reason) ? said : new SockudoError(code, reason || "The connection was lost")
    this.last_error = error
    let delay = delayAfter(code, established, this.#failures, this.timing)
    if (delay === NEVER && this.mayRetry(error)) delay = backOff(this.#failures, this.timing.minReconnectDelay, this.timing.maxReconnectDelay)
    this.emit("error", { type: "PusherError", data: error.data, error })
    if (delay === NEVER) {
      this.#end("disconnected")
      return
    }
    this.#drop()
    if (delay) this.#failures += 1
    this.#become(this.state === "unavailable" ? "unavailable" : "connecting")
    this.#unavailable ??= setTimeout(() => this.#become("unavailable"), this.timing.unavailableTimeout)
    this.#retry = setTimeout(() => this.#try(), delay)
    if (delay) this.emit("connecting_in", Math.round(delay / 1000))
  }

  #broken(why: string): void {
    const socket = this.#socket
    this.#closed(BROKEN_OFF, why)
    socket?.close(MOVED)
  }

  #drop(): void {
    clearTimeout(this.#limit)
    clearInterval(this.#ticker)
    this.#answered()
    this.#attempt += 1
    this.#socket = null
    this.socket_id = undefined
  }

  #end(state: State): void {
    const socket = this.#socket
    this.#drop()
    this.#suspended = false
    clearTimeout(this.#retry)
    clearTimeout(this.#unavailable)
    this.#retry = this.#unavailable = undefined
    socket?.close(state === "disconnected" ? 1000 : MOVED)
    this.#become(state)
  }

  #become(current: State): void {
    const previous = this.state
    if (previous === current) return
    this.state = current
    const error = current === "connected" ? null : this.last_error
    this.emit("state_change", { previous, current, ...(error && { error }) } satisfies StateChange)
    this.emit(current, current === "connected" ? { socket_id: this.socket_id } : undefined)
  }

  // ---- whether the line works ----

  #tick(): void {
    const time = Date.now()
    const slept = time - this.#tickedAt > 3 * TICK
    this.#tickedAt = time
    this.#unreadable = 0
    if (slept) this.#ping(WAKE_PONG)
    else if (now() - this.#heardAt > this.#silence) this.#ping(this.timing.pongTimeout)
  }

  #ping(patience: number): void {
    if (this.#pong !== undefined) return
    this.#pong = setTimeout(() => this.#broken("The server did not answer a ping in time"), patience)
    this.send({ event: "sockudo:ping" })
  }

  #answered(): void {
    clearTimeout(this.#pong)
    this.#pong = undefined
  }
}
