import type { PositionStore } from "./options.js"
import type { Position } from "./recovery.js"

const SAVE_AFTER = 200
/** What fits into any storage, and into few resumes. */
const MAX_CHANNELS = 2000

/** Positions that outlive the page. */
export class Positions {
  readonly #key: string
  readonly #known = new Map<string, Position>()
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(
    private readonly store: PositionStore,
    appKey: string,
    /** Where the channels of now are. */
    private readonly current: () => Iterable<readonly [string, Position | null]>,
  ) {
    this.#key = `sockudo:${appKey}`
    try {
      for (const [name, { stream_id, serial }] of Object.entries<Position>(JSON.parse(store.getItem(this.#key) ?? "{}"))) {
        if (typeof stream_id === "string" && Number.isInteger(serial)) this.#known.set(name, { stream_id, serial })
      }
    } catch {
      // What cannot be read is no position.
    }
  }

  get(channel: string): Position | null {
    return this.#known.get(channel) ?? null
  }

  forget(channel: string): void {
    this.#known.delete(channel)
    this.changed()
  }

  /** Something moved: it is written soon, and at once when the page ends. */
  changed(): void {
    this.#timer ??= setTimeout(() => this.save(), SAVE_AFTER)
  }

  save(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    for (const [name, place] of this.current()) {
      this.#known.delete(name)
      if (place) this.#known.set(name, place)
    }
    for (const name of this.#known.keys()) {
      if (this.#known.size <= MAX_CHANNELS) break
      this.#known.delete(name)
    }
    try {
      this.store.setItem(this.#key, JSON.stringify(Object.fromEntries(this.#known)))
    } catch {
      // A full or forbidden storage costs the positions alone.
    }
  }
}
