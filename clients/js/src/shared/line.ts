import type { Frame } from "../frames.js"
import { isCache, patternOf } from "../names.js"
import { placeOf, type Position, reaches } from "../recovery.js"
import type { Wait } from "./catchup.js"
import type { Member } from "./member.js"

/** What one tab hears of a channel. */
export interface Seat {
  /** Whether the server has acknowledged the subscribe of this tab: nothing comes before. */
  acked: boolean
  /** Where the channel was when it did. */
  head: Position | null
  /** The newest message that the tab was given. */
  place: Position | null
  /** While a resume is under way: where it goes on from. */
  from: Position | null
  /** The attach serial of this tab: that of the connection is the one of the last subscribe. */
  attached: number | undefined
  /** Client events of this tab that are to come back, and that it does not want to hear. */
  echoes: string[]
}

/** What an event says, whoever has sent it. */
export const saying = ({ event, data }: Frame): string => JSON.stringify([event, data])

/** One channel, or pattern, of the connection that tabs share: who hears it, and from where on. */
export class Line {
  readonly seats = new Map<Member, Seat>()
  readonly pattern: RegExp | null
  readonly isCache: boolean
  /** As the server has it; all tabs here have the same. */
  filter = ""
  /** The presence member that the connection is. */
  user: string | null = null
  /** The newest message of the channel, whoever heard it. */
  newest: Position | null = null
  /** Tabs that wait for a resume, and those for which one was sent. */
  waits: Wait[] = []
  asked: Wait[] = []
  /** What is to be done once all that was missed is given. */
  readonly outcomes: (() => void)[] = []
  /** The tab whose rewind is coming: all up to its head is for it alone. */
  rewinding: { member: Member; head: Position | null } | null = null
  /** Tabs that are still to get the last event of a cache channel. */
  readonly cached: Member[] = []
  /** What came while a resume was under way: missed messages and new ones, in any order. */
  #held: Frame[] | null = null
  /** The newest message before that. */
  #since: Position | null = null

  constructor(readonly name: string) {
    this.pattern = patternOf(name)
    this.isCache = isCache(name)
  }

  sit(member: Member): Seat {
    const found = this.seats.get(member)
    if (found) return found
    const seat: Seat = { acked: false, head: null, place: null, from: null, attached: undefined, echoes: [] }
    this.seats.set(member, seat)
    return seat
  }

  /** The tab waits for what it missed; what comes meanwhile waits with it. */
  wait(wait: Wait): void {
    this.waits.push(wait)
    if (this.#held) return
    this.#held = []
    this.#since = this.newest
  }

  /** The oldest place of those that one resume can name: places of another stream are for the next. */
  oldest(): Position {
    const [{ place: first }] = this.waits as [Wait]
    return this.waits.reduce((oldest, { place }) => (place.stream_id === first.stream_id && place.serial < oldest.serial ? place : oldest), first)
  }

  /** A resume from there is sent; whether another one is needed. */
  ask(): boolean {
    const { stream_id } = this.oldest()
    this.asked = this.waits.filter(({ place }) => place.stream_id === stream_id)
    this.waits = this.waits.filter(({ place }) => place.stream_id !== stream_id)
    return this.waits.length > 0
  }

  /** The tabs that are to get a message of this channel now. */
  takers(frame: Frame): Iterable<Member> {
    const place = placeOf(frame)
    if (!place) {
      if (!this.cached.length || frame.event.startsWith("client-")) return this.hearers()
      return [this.cached.shift()!]
    }
    if (this.rewinding && reaches(this.rewinding.head, place)) return [this.rewinding.member]
    if (this.#held) {
      this.#held.push(frame)
      return []
    }
    return this.#takers(frame, place)
  }

  /** All tabs whose subscribe was acknowledged. */
  *hearers(): Iterable<Member> {
    for (const [member, { acked }] of this.seats) if (acked) yield member
  }

  *#takers(frame: Frame, place: Position): Iterable<Member> {
    for (const [member, seat] of this.seats) {
      if (!seat.acked) continue
      const missed = seat.from !== null && !reaches(seat.from, place) && reaches(seat.head, place)
      if (!missed && reaches(seat.place, place)) continue
      if (!reaches(seat.place, place)) seat.place = place
      const echo = seat.echoes.length ? seat.echoes.indexOf(saying(frame)) : -1
      if (echo < 0) yield member
      else seat.echoes.splice(echo, 1)
    }
    if (!reaches(this.newest, place)) this.newest = place
  }

  /** Whether the message was sent before, and comes again for one tab. */
  repeats(frame: Frame): boolean {
    const place = placeOf(frame)
    return place !== null && reaches(this.#held ? this.#since : this.newest, place)
  }

  /** How many of the held messages lie between two places. */
  missed(from: Position, to: Position): number {
    const serials = new Set<number>()
    for (const frame of this.#held ?? []) {
      const place = placeOf(frame)!
      if (!reaches(from, place) && reaches(to, place)) serials.add(place.serial)
    }
    return serials.size
  }

  /** What was held, in order, and the tabs that are to get it. */
  *release(): Iterable<[Frame, Iterable<Member>]> {
    const held = this.#held ?? []
    this.#held = null
    held.sort((one, other) => (one.stream_id === other.stream_id ? one.serial! - other.serial! : 0))
    let last: Position | null = null
    for (const frame of held) {
      const place = placeOf(frame)!
      if (reaches(last, place)) continue
      last = place
      yield [frame, this.#takers(frame, place)]
    }
    for (const seat of this.seats.values()) seat.from = null
  }
}
