import type { Frame } from "./frames.js"

/** A place in the stream of a channel: everything up to and including the message with this serial. */
export interface Position {
  stream_id: string
  serial: number
}

/** Nothing is missing: what was missed has been delivered. */
export interface Recovered {
  channel: string
  count: number
  source: "hot" | "cold"
}

/** Something may be missing: fetch anew what is shown of the channel. */
export interface Gap {
  channel: string
  code: string
  reason: string
  message?: string
}

export type Outcome = { name: "recovered"; data: Omit<Recovered, "channel"> } | { name: "gap"; data: Omit<Gap, "channel"> }

export const unrecoverable = (reason: string, message?: string): Omit<Gap, "channel"> => ({
  code: "recovery_unavailable",
  reason,
  ...(message === undefined ? {} : { message }),
})

export const placeOf = ({ stream_id, serial }: Partial<Position>): Position | null =>
  stream_id === undefined || serial === undefined ? null : { stream_id, serial }

export const reaches = (place: Position | null, other: Position): boolean =>
  place !== null && place.stream_id === other.stream_id && place.serial >= other.serial

/**
 * How far one channel has got: where a resume goes on from, which messages are let through, and what the application is
 * told of the break (spec: history § 10, websocket § 12).
 */
export class Track {
  /** Where the next resume goes on from; null when that is not known. */
  place: Position | null
  /** What the application is to be told once the channel is subscribed. */
  due: Outcome | null = null
  /** Whether a resume was asked for on this connection and has no answer yet. */
  asked = false
  /** Whether the application was ever subscribed: only then can it have missed something. */
  #known: boolean
  /** The newest message that the application got. */
  #delivered: Position | null
  /** On this connection: the place of the acknowledgement, and whether messages came behind it. */
  #head: Position | null = null
  #moved = false
  #rewinding = false
  /** Live messages that came before the answer of a resume that was asked for behind the subscribe. */
  #held: Frame[] | null = null
  /** For cache channels: the last event is still to come once more, without a place. */
  #awaitsCached = false
  #newest = ""

  constructor(
    readonly isCache: boolean,
    place: Position | null = null,
  ) {
    this.place = this.#delivered = place
    this.#known = place !== null
  }

  /** A new connection; `holding` when the subscribe is sent before the resume. */
  reconnected(holding: boolean): void {
    this.#head = null
    this.#moved = this.#rewinding = false
    this.#held = null
    this.asked = this.place !== null
    if (this.asked) {
      this.due = null
      if (holding) this.#held = []
    } else if (this.#known) this.lost(unrecoverable("no_position"))
  }

  acknowledged(place: Position | null, rewinding: boolean): void {
    if (place === null) {
      if (this.#known && this.asked) this.lost(unrecoverable("server_does_not_recover"))
      this.place = null
    } else if (this.asked) {
      // Not all that was missed has come yet: if the line is cut now, the old place is the right one.
      this.#head = place
    } else if (rewinding && !this.#known) {
      // The same: a cut in the middle of the rewind begins anew, or goes on from what has come of it.
      this.#head = place
      this.#rewinding = true
    } else {
      this.place = place
    }
    this.#known = true
    this.#moved = false
    this.#awaitsCached = this.isCache
  }

  rewound(): void {
    if (!this.#rewinding) return
    this.#rewinding = false
    if (this.#head && !reaches(this.place, this.#head)) this.place = this.#head
  }

  /** Whether the application is to get this message now. */
  accepts(frame: Frame): boolean {
    const place = placeOf(frame)
    if (place === null) return !this.#awaitsCached || !this.#repeatsCached(frame)
    if (this.#held && this.#head && !reaches(this.#head, place)) {
      this.#held.push(frame)
      return false
    }
    if (reaches(this.#delivered, place)) return false
    this.#delivered = place
    if (!reaches(this.place, place)) this.place = place
    if (this.#head && !this.#rewinding) this.#head = place
    this.#moved = true
    if (this.isCache) this.#newest = contentOf(frame)
    return true
  }

  /** The resume has an answer: what was held behind it, in order. */
  release(): Frame[] {
    const held = this.#held ?? []
    this.#held = null
    return held.sort((one, other) => (one.serial ?? 0) - (other.serial ?? 0))
  }

  recovered(count: number, source: "hot" | "cold", position: Position | null): void {
    if (!this.asked) return
    this.asked = false
    if (position && this.place?.stream_id === position.stream_id && !reaches(this.place, position)) this.place = position
    this.due = { name: "recovered", data: { count, source } }
  }

  lost(why: Omit<Gap, "channel">): void {
    this.asked = false
    this.place = this.#head
    // Serials may begin anew below what was delivered, unless only the past has gone.
    if (!this.#moved && why.code !== "position_expired") this.#delivered = null
    this.due = { name: "gap", data: why }
  }

  #repeatsCached(frame: Frame): boolean {
    if (frame.event.startsWith("sockudo_internal:")) return false
    this.#awaitsCached = false
    if (frame.event.startsWith("sockudo:")) return false
    const content = contentOf(frame)
    const repeated = content === this.#newest
    this.#newest = content
    return repeated
  }
}

const contentOf = (frame: Frame): string => JSON.stringify([frame.event, frame.data])
