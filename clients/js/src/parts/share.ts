/**
 * One connection for all tabs of an origin.
 *
 * A tab leads: it holds a Web Lock, and the connection. The others speak to it over BroadcastChannels, one for each tab, as
 * to a server, so that a tab that shares runs the same client as one that does not. When the leader closes, crashes or
 * freezes, the browser gives its lock to the next in line; each tab then comes back as after any break, and goes on from
 * the place that it has itself.
 *
 * A SharedWorker would spare the changes of the leader, but Chrome for Android had none for years and a browser may end it
 * at any time, so that all of this would be needed behind it. Web Locks and BroadcastChannel are in all browsers since
 * March 2022, and one way is tried by every test.
 */
import type { Prepared, Socket, SocketConstructor } from "../connection.js"
import { checked, type Format, type Frame, parsed } from "../frames.js"
import { GONE, Hub, type Prefix } from "../shared/hub.js"
import { type FromTab, REPORT_EVERY, type ToTab } from "../shared/member.js"

/** How long a leader that does not answer is waited for, at first; twice as long each time that it was taken away. */
const PATIENCE = 3000
const MOST_PATIENCE = 60_000
/** How often a tab looks whether its leader is still there; where a page is hidden browsers make it longer. */
const LOOK_EVERY = 5000

/** What a client keeps from one connection to the next. */
export interface Room {
  /** This tab cannot share, and has a connection of its own. */
  alone?: boolean
  patience?: number
}

/** Between tabs frames are objects: how they look on the wire is the leader's business. */
const objects: Format = { encode: (frame) => frame as any, decode: checked }

/** In place of a connection of one's own; the same where browsers do not let tabs share. */
export function share(upstream: Prepared, room: Room, prefix: Prefix = "sockudo"): Prepared {
  if (room.alone || !(globalThis as Partial<typeof globalThis>).navigator?.locks || typeof BroadcastChannel === "undefined") return upstream
  const url = new URL(upstream.url)
  const echo = url.searchParams.get("echo_messages") !== "false"
  // Tabs hear each other's client events; which of them are a tab's own is known here.
  if (prefix === "sockudo") url.searchParams.set("echo_messages", "true")
  const shared = { ...upstream, url: url.href }
  const socket = class extends SharedSocket {
    constructor() {
      super(groupOf(url), shared, room, prefix, echo)
    }
  }
  return { url: upstream.url, format: objects, Socket: socket as SocketConstructor }
}

/** Tabs with the same name share: the same app at the same server, with the same rights. */
function groupOf(url: URL): string {
  const query = new URLSearchParams(url.search)
  const token = query.get("token")
  query.delete("token")
  query.sort()
  return `sockudo ${url.host}${url.pathname}?${query} ${token ? rightsOf(token) : ""}`
}

function rightsOf(token: string): string {
  try {
    const { iat: _iat, exp: _exp, nbf: _nbf, jti: _jti, ...rights } = parsed(atob(token.split(".")[1]!.replace(/-/g, "+").replace(/_/g, "/")))
    return JSON.stringify(rights)
  } catch {
    return token
  }
}

/** A tab's end of the shared connection: as a WebSocket, whose messages are frames. */
export class SharedSocket implements Socket {
  binaryType = "arraybuffer"
  onopen: (() => void) | null = null
  onmessage: Socket["onmessage"] = null
  onclose: Socket["onclose"] = null
  onerror: Socket["onerror"] = null
  readonly #id = crypto.randomUUID()
  readonly #left = new AbortController()
  readonly #hall: BroadcastChannel
  readonly #link: BroadcastChannel
  /** The leader's connection that this tab is known to. */
  #hub: string | null = null
  #own: Hub | null = null
  #got = 0
  #heard = true
  #aside = false
  #steals: ReturnType<typeof setTimeout> | undefined
  #looks: ReturnType<typeof setInterval> | undefined

  constructor(
    private readonly group: string,
    private readonly upstream: Prepared,
    private readonly room: Room,
    private readonly prefix: Prefix,
    private readonly echo: boolean,
  ) {
    this.#hall = new BroadcastChannel(group)
    this.#link = new BroadcastChannel(`${group} ${this.#id}`)
    this.#watchPage()
    void this.#join()
  }

  send(frame: any): void {
    if (this.#hub !== null) this.#tell({ frame: frame as Frame })
  }

  close(): void {
    this.#leave()
    setTimeout(() => this.#closed(1000, ""))
  }

  #tell(what: Omit<FromTab, "to">): void {
    this.#link.postMessage({ to: this.#hub!, ...what } satisfies FromTab)
  }

  // ---- the leader ----

  async #join(): Promise<void> {
    const { signal } = this.#left
    try {
      // By this lock the leader learns that the tab is gone.
      await new Promise<void>((resolve, reject) => {
        const held = () => (resolve(), new Promise<void>((release) => signal.addEventListener("abort", () => release())))
        navigator.locks.request(`${this.group} ${this.#id}`, { signal }, held).catch(reject)
      })
    } catch (error) {
      // Such as an origin that may not have locks.
      if (!signal.aborted) this.#isAlone((error as Error).message)
      return
    }
    if (signal.aborted) return
    this.#hall.onmessage = ({ data }) => data.hub && this.#called(data.hub)
    this.#link.onmessage = ({ data }) => this.#receive(data)
    this.#knock()
    const { patience = PATIENCE } = this.room
    this.#steals = setTimeout(() => this.#steal(patience), patience)
    await this.#lead({ signal })
  }

  #knock(): void {
    this.#hall.postMessage({ join: this.#id, echo: this.echo })
  }

  async #lead(options: LockOptions): Promise<void> {
    try {
      await navigator.locks.request(`${this.group} leader`, options, () => {
        if (this.#left.signal.aborted || this.#own) return
        // Who waits for the lock behind a leader has it when the leader is gone; what this tab has prepared may be old by now.
        if (this.#hub !== null) return this.#end(GONE, "The tab that held the connection is gone")
        this.#own = new Hub(this.group, this.upstream, this.prefix)
        return this.#own.ended
      })
    } catch {
      // The tab has left, or the lock was taken away: the connection goes with it.
      this.#own?.end(GONE, "Another tab has taken the connection over")
    }
  }

  /** The leader does not answer: its tab hangs. */
  #steal(patience: number): void {
    this.room.patience = Math.min(patience * 2, MOST_PATIENCE)
    void this.#lead({ steal: true })
  }

  #called(hub: string): void {
    if (this.#hub === null) this.#knock()
    else if (this.#hub !== hub) this.#end(GONE, "Another tab has the connection now")
  }

  #receive({ from, frame, welcome, close, alone }: ToTab): void {
    if (welcome && this.#hub === null) {
      this.#hub = from
      clearTimeout(this.#steals)
      this.#looks = setInterval(() => this.#look(), LOOK_EVERY)
      this.onopen?.()
    }
    if (from !== this.#hub) return
    this.#heard = true
    if (frame) this.#take(frame)
    else if (close) this.#end(...close)
    else if (alone) this.#isAlone(alone)
  }

  #isAlone(why: string): void {
    this.room.alone = true
    this.#end(GONE, `${why}: this tab has a connection of its own`)
  }

  #take(frame: Frame): void {
    // With the greeting the leader has shown that it works.
    if (this.room.patience) delete this.room.patience
    if (++this.#got % REPORT_EVERY === 0) this.#tell({ got: this.#got })
    this.onmessage?.({ data: frame })
  }

  #look(): void {
    if (!this.#heard) return this.#end(GONE, "The tab that holds the connection does not answer")
    this.#heard = false
    this.#tell({ got: this.#got })
  }

  // ---- the end ----

  /** A page that is frozen or put aside may not lead, and is sent nothing; it notices when it is back. */
  #watchPage(): void {
    const scope = globalThis as unknown as EventTarget & { document?: Document }
    const { signal } = this.#left
    const aside = () => {
      if (signal.aborted) return
      this.#aside = true
      this.#leave()
      const back = () => {
        if (!this.#aside) return
        this.#aside = false
        this.#closed(GONE, "The page was put aside")
      }
      scope.document?.addEventListener("resume", back, { once: true })
      scope.addEventListener("pageshow", back, { once: true })
    }
    scope.document?.addEventListener("freeze", aside, { signal })
    scope.addEventListener?.("pagehide", aside, { signal })
  }

  #end(code: number, reason: string): void {
    if (this.#left.signal.aborted) return
    this.#leave()
    this.#closed(code, reason)
  }

  #closed(code: number, reason: string): void {
    this.onclose?.({ code, reason })
    this.onclose = null
  }

  #leave(): void {
    if (this.#left.signal.aborted) return
    this.#left.abort()
    clearTimeout(this.#steals)
    clearInterval(this.#looks)
    this.#hall.close()
    this.#link.close()
    this.#own?.end(GONE, "The tab that held the connection is gone")
  }
}
