import type { Channel, GlobalListener, Sockudo, SubscribeOptions } from "../index.js"
import type { PresenceState } from "./types.js"

export const IDLE: PresenceState = { channel: null, state: "idle", error: null, members: [], me: null, count: 0 }

/** A subscription that no component has outlives this: strict mode and a change of pages take it over. */
const LINGER = 200
/** The same from the answer on where no component has been mounted: what suspends may be thrown away. */
const UNSEEN = 10_000
/** Events kept for the first component of a channel. */
const MAX_KEPT = 1000

const ALL_OPTIONS = { rewind: undefined, filter: undefined, delta: undefined, position: undefined }

/** One channel and the components that have it. Snapshots are replaced, never changed, as React asks. */
export class Held {
  readonly channel: Channel
  /** Whether it was ever answered: what comes later, such as a new connection, suspends nothing. */
  settled = false
  readonly ready: Promise<void>
  /** What else belongs to the channel as long as it is held. */
  readonly kept = new Map<string, { end(): void }>()

  readonly #key: string
  readonly #isOwn: boolean
  #options: string
  #users = 0
  #changed = new Set<() => void>()
  #listeners = new Set<GlobalListener>()
  /** What came before the first component was mounted: each of its listeners gets it, once. */
  #early: Parameters<GlobalListener>[] | null = []
  #caughtUp = new WeakSet<GlobalListener>()
  #snapshot: PresenceState | null = null
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(
    private readonly client: Sockudo,
    private readonly all: Map<string, Held>,
    name: string,
    options: SubscribeOptions,
  ) {
    this.#key = name
    this.#isOwn = !client.channel(name)
    this.#options = JSON.stringify(options)
    this.channel = client.channel(name) ?? client.subscribe(name, options)
    this.channel.bind_global(this.#heard)
    client.connection.bind("state_change", this.#moved)
    this.ready = this.channel.subscribed().then(this.#settle, this.#settle)
    all.set(name, this)
  }

  get snapshot(): PresenceState {
    const { state, last_error, members } = this.channel
    return (this.#snapshot ??= {
      channel: this.channel,
      state,
      error: state === "refused" ? last_error : null,
      members: Object.keys(members.members).map((id) => members.get(id)!),
      me: members.me,
      count: members.count,
    })
  }

  /** A component has it, until the returned function is called. */
  take(options: SubscribeOptions, changed: () => void): () => void {
    clearTimeout(this.#timer)
    this.#users += 1
    this.#changed.add(changed)
    // Components of the same commit are mounted in the same turn.
    setTimeout(() => (this.#early = null))
    const wanted = JSON.stringify(options)
    if (wanted !== this.#options) {
      this.#options = wanted
      this.channel.subscribe({ ...ALL_OPTIONS, ...options } as SubscribeOptions)
      this.#moved()
    }
    return () => {
      this.#changed.delete(changed)
      this.#users -= 1
      if (this.#users === 0) this.#leave(LINGER)
    }
  }

  /** Everything that comes on the channel, from the subscribe on. */
  listen(listener: GlobalListener): () => void {
    this.#listeners.add(listener)
    if (!this.#caughtUp.has(listener)) for (const event of this.#early ?? []) listener(...event)
    this.#caughtUp.add(listener)
    return () => this.#listeners.delete(listener)
  }

  #leave(after: number): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      if (this.#users) return
      this.all.delete(this.#key)
      for (const each of this.kept.values()) each.end()
      this.channel.unbind_global(this.#heard)
      this.client.connection.unbind("state_change", this.#moved)
      if (this.#isOwn && this.client.channel(this.#key) === this.channel) this.channel.unsubscribe()
    }, after)
  }

  #heard: GlobalListener = (...event) => {
    if (event[0].startsWith("pusher:")) this.#moved()
    if (this.#early && this.#early.length < MAX_KEPT) this.#early.push(event)
    for (const listener of this.#listeners) listener(...event)
  }

  #settle = (): void => {
    this.settled = true
    if (!this.#users && this.#timer === undefined) this.#leave(UNSEEN)
    this.#moved()
  }

  #moved = (): void => {
    this.#snapshot = null
    for (const changed of this.#changed) changed()
  }
}

const clients = new WeakMap<Sockudo, Map<string, Held>>()

export const heldIn = (client: Sockudo, name: string | null): Held | undefined =>
  name === null ? undefined : clients.get(client)?.get(name)

export function hold(client: Sockudo, name: string, options: SubscribeOptions): Held {
  let all = clients.get(client)
  if (!all) clients.set(client, (all = new Map()))
  return all.get(name) ?? new Held(client, all, name, options)
}
