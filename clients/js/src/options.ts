import type { AuthOptions } from "./auth.js"
import type { Prepared, SocketConstructor, Timing } from "./connection.js"
import type { Format, Frame } from "./frames.js"
import type { Position } from "./recovery.js"

/** What positions are kept in: `sessionStorage`, `localStorage` or an object with these methods. */
export interface PositionStore {
  getItem(key: string): string | null
  setItem(key: string, value: string): void
}

export type TokenProvider = string | (() => string | Promise<string>)
export type DeltaChoice = boolean | "fossil" | "xdelta3"

/** The connection; names that pusher-js has mean what they mean there. */
export interface Options extends AuthOptions, Partial<Timing> {
  /** The server, as in `https://realtime.example.com`; by default where the script came from, else the page. */
  url?: string
  wsHost?: string
  httpHost?: string
  wsPort?: number
  wssPort?: number
  wsPath?: string
  forceTLS?: boolean
  /** Ignored, like `enabledTransports`, `disabledTransports`, `enableStats` and `disableStats`: there is one transport. */
  cluster?: string
  enabledTransports?: string[]
  disabledTransports?: string[]
  enableStats?: boolean
  disableStats?: boolean
  /** Connect only when `connect()` is called. */
  manual?: boolean

  /** How frames look on the wire; the binary ones are loaded when they are asked for. */
  format?: "json" | "msgpack" | "protobuf"
  /** Whether this client hears its own client events; by default as the server is configured. */
  echo?: boolean
  /** Ask for messages as differences, on all channels. */
  delta?: DeltaChoice
  /** A capability token, or what gives one: asked for at each connect, and before the token ends. */
  token?: TokenProvider
  /** `false`: nothing is asked for after a reconnect. */
  recovery?: boolean
  /** One connection for all tabs of the origin that ask for the same app with the same options. */
  share?: boolean
  /** Positions outlive the page: in `sessionStorage`, or in what is given. */
  positions?: "session" | PositionStore
  /** Backends that pass questions on to the server's HTTP API (docs/browser.md). */
  publishing?: Backend
  presenceHistory?: Backend

  /** A WebSocket class, where the platform has none. */
  WebSocket?: SocketConstructor
  /** Parts that are loaded on demand, for places where `import()` cannot be used, such as service workers. */
  parts?: Partial<Parts>
}

export interface Backend {
  endpoint: string
  headers?: Record<string, string>
}

/** What is loaded on demand: the modules `sockudo-client/binary`, `/deltas`, `/encryption`, `/node` and `/share`. */
export interface Parts {
  binary: { msgpack: Format; protobuf: Format }
  deltas: { Deltas: new () => { read(frame: Frame, payload: unknown): Frame } }
  encryption: { open(data: { nonce: string; ciphertext: string }, secret: string): string | null }
  node: { NodeSocket: SocketConstructor }
  share: { share(upstream: Prepared, room: object): Prepared }
}

/** Part of a subscribe on protocol V2. */
export interface SubscribeOptions {
  /** Begin with earlier messages: the last ones, or those of the last seconds. */
  rewind?: number | { count: number } | { seconds: number }
  /** Only some messages (docs/filters-and-deltas.md). */
  filter?: Filter
  delta?: DeltaChoice
  /** Where to go on from, in place of what this client knows. */
  position?: Position
}

export type Filter = { events?: string[]; tags?: TagFilter; expression?: string } | TagFilter
export type TagFilter =
  | { op: "and" | "or" | "not"; nodes: TagFilter[] }
  | { key: string; cmp: "eq" | "neq" | "sw" | "ew" | "ct" | "gt" | "gte" | "lt" | "lte"; val: string | number | boolean }
  | { key: string; cmp: "in" | "nin"; vals: (string | number | boolean)[] }
  | { key: string; cmp: "ex" | "nex" }

/** Names and values as a form or a query has them. */
export const encoded = (fields: readonly (readonly [string, string])[]): string =>
  fields.map((field) => field.map(encodeURIComponent).join("=")).join("&")

/** Where the server is. */
export function address(key: string, options: Options, origin: string | undefined): string {
  const { url = options.wsHost ? undefined : origin, wsPath = "" } = options
  const path = `${wsPath}/app/${encodeURIComponent(key)}`
  if (url) {
    // Without URL, which React Native has in parts alone.
    const [, scheme, host, base] = /^(https?|wss?):\/\/([^/?#\s]+)([^?#\s]*)/i.exec(url) ?? []
    if (!scheme) throw new Error(`The option url is no address such as https://realtime.example.com: ${url}`)
    return `${/s$/i.test(scheme) ? "wss" : "ws"}://${host}${base!.replace(/\/$/, "")}${path}`
  }
  if (!options.wsHost) throw new Error("The option url or wsHost says where the server is")
  const page = (globalThis as { location?: Location }).location
  const isSecure = page?.protocol === "https:" || options.forceTLS !== false
  const port = isSecure ? (options.wssPort ?? 443) : (options.wsPort ?? 80)
  return `${isSecure ? "wss" : "ws"}://${options.wsHost}:${port}${path}`
}
