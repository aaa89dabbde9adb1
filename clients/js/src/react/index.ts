import {
  createContext,
  createElement,
  type FunctionComponentElement,
  type ProviderProps,
  type ReactNode,
  useCallback,
  useContext,
  useEffect,
  useRef,
  useSyncExternalStore,
} from "react"
import type { GlobalListener, Listener, Sockudo, SubscribeOptions } from "../index.js"
import { type Held, heldIn, hold, IDLE } from "./channels.js"
import { EMPTY, Past } from "./past.js"
import type { ChannelState, ConnectionState, HistoryState, PresenceState, UseChannelOptions, UseHistoryOptions } from "./types.js"

export type * from "./types.js"

const Context = createContext<Sockudo | null>(null)

/** Gives the hooks below it their client. */
export function SockudoProvider(props: { client: Sockudo; children?: ReactNode }): FunctionComponentElement<ProviderProps<Sockudo | null>> {
  return createElement(Context.Provider, { value: props.client }, props.children)
}

export function useSockudo(): Sockudo {
  const client = useContext(Context)
  if (!client) throw new Error("<SockudoProvider client={…}> has to be above every component that uses Sockudo")
  return client
}

const connections = new WeakMap<Sockudo, ConnectionState>()
const INITIAL: ConnectionState = { state: "initialized", socketId: undefined, error: null }

/** The connection, and why the last one ended. */
export function useConnectionState(): ConnectionState {
  const client = useSockudo()
  const { connection } = client
  const subscribe = useCallback(
    (changed: () => void) => {
      connection.bind("state_change", changed)
      return () => void connection.unbind("state_change", changed)
    },
    [connection],
  )
  const snapshot = (): ConnectionState => {
    const { state, socket_id: socketId, last_error: error } = connection
    const known = connections.get(client)
    if (known?.state === state && known.socketId === socketId && known.error === error) return known
    const current = { state, socketId, error }
    connections.set(client, current)
    return current
  }
  return useSyncExternalStore(subscribe, snapshot, () => INITIAL)
}

/** A channel, subscribed to as long as a component has it. Without a name there is none. */
export function useChannel(name: string | null, { on, suspense = false, ...options }: UseChannelOptions = {}): ChannelState {
  return useHeld(name, options, suspense, on)
}

/** A presence channel and who is on it. */
export function usePresence(name: string | null, { on, suspense = false, ...options }: UseChannelOptions = {}): PresenceState {
  return useHeld(name, options, suspense, on)
}

/** The past of a channel and all that comes, oldest first, nothing missing and nothing twice, over any break. */
export function useHistory(
  name: string | null,
  { limit = 100, most = 1000, suspense = false, ...options }: UseHistoryOptions = {},
): HistoryState & { loadMore(): Promise<void> } {
  const client = useSockudo()
  useHeld(name, options, suspense, undefined)
  const key = `${limit} ${most}`
  if (suspense) {
    const past = pastOf(heldIn(client, name), limit, most)
    if (past && !past.settled) throw past.ready
  }
  const subscribe = useCallback(
    (changed: () => void) => pastOf(heldIn(client, name), limit, most)?.watch(changed) ?? (() => {}),
    [client, name, limit, most],
  )
  const past = (): Past | undefined => heldIn(client, name)?.kept.get(key) as Past | undefined
  const state = useSyncExternalStore(subscribe, () => past()?.snapshot ?? EMPTY, () => EMPTY)
  const loadMore = useCallback(async () => pastOf(heldIn(client, name), limit, most)?.loadMore(), [client, name, limit, most])
  return { ...state, loadMore }
}

function pastOf(held: Held | undefined, limit: number, most: number): Past | undefined {
  const key = `${limit} ${most}`
  const known = held?.kept.get(key) as Past | undefined
  if (known || !held) return known
  const made = new Past(held, limit, most)
  held.kept.set(key, made)
  return made
}

function useHeld(name: string | null, options: SubscribeOptions, suspense: boolean, on: Record<string, Listener> | undefined): PresenceState {
  const client = useSockudo()
  if (suspense && name !== null) {
    const { settled, ready, snapshot } = hold(client, name, options)
    if (!settled) throw ready
    if (snapshot.error) throw snapshot.error
  }
  const key = JSON.stringify(options)
  const subscribe = useCallback(
    (changed: () => void) => (name === null ? () => {} : hold(client, name, JSON.parse(key)).take(JSON.parse(key), changed)),
    [client, name, key],
  )
  const state = useSyncExternalStore(subscribe, () => heldIn(client, name)?.snapshot ?? IDLE, () => IDLE)

  const newest = useRef(on)
  useEffect(() => {
    newest.current = on
  })
  const listener = useRef<GlobalListener>((event, data, frame) => newest.current?.[event]?.(data, frame))
  useEffect(() => heldIn(client, name)?.listen(listener.current), [client, name])
  return state
}
