import type { Answers } from "../answers.js"
import type { SockudoError } from "../errors.js"
import type { Frame } from "../frames.js"
import { type Position, placeOf, unrecoverable } from "../recovery.js"
import type { Line } from "./line.js"
import type { Member } from "./member.js"

// As in the client itself: what the server takes in one resume, and how long its answer may take.
const MAX_PLACES = 1000
const MAX_LENGTH = 60_000
const ANSWER_WITHIN = 30_000

type Entry = { channel: string; [name: string]: unknown }

/** A place from which a tab has to be given what it missed. */
export interface Wait {
  member: Member
  place: Position
  /** Whether the tab itself has asked, and is to be answered. */
  asks: boolean
  /** Called once all has been given. */
  then: ((recovered: boolean) => void) | undefined
}

/**
 * What tabs have missed, asked of the server for all of them: one resume at a time, each channel from the oldest place
 * that a tab has. What comes is held until the answer, and given to each tab from its own place on.
 */
export class CatchUp {
  readonly #due = new Set<Line>()
  #asked: Line[] | null = null
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(
    private readonly answers: Answers,
    private readonly send: (places: Record<string, Position>) => void,
    /** Gives the tabs what was held of a channel. */
    private readonly release: (line: Line) => void,
    private readonly post: (member: Member, frame: Frame) => void,
    private readonly prefix: string,
  ) {}

  add(line: Line, wait: Wait): void {
    line.wait(wait)
    this.#due.add(line)
    this.#next()
  }

  /** A tab has left a channel: it waits for nothing more there. */
  leave(line: Line, member: Member): void {
    line.waits = line.waits.filter((wait) => wait.member !== member)
    line.asked = line.asked.filter((wait) => wait.member !== member)
    if (!line.waits.length) this.#due.delete(line)
    this.#finish(line)
    member.resume?.waiting.delete(line.name)
    this.#answer(member)
  }

  /** A channel of a tab's resume has its outcome. */
  settle(member: Member, entry: Entry, recovered: boolean): void {
    if (!recovered) this.#interrupted(member, entry)
    if (!member.resume?.waiting.delete(entry.channel)) return
    ;(recovered ? member.resume.recovered : member.resume.failed).push(entry)
    this.#answer(member)
  }

  /** The server has answered the resume that was sent. */
  answered({ recovered = [], failed = [] }: { recovered?: Entry[]; failed?: Entry[] }): void {
    this.answers.answered("resume")
    const good = new Map(recovered.map((entry) => [entry.channel, entry]))
    const bad = new Map(failed.map((entry) => [entry.channel, entry]))
    this.#end((line) => {
      const { name } = line
      const entry = good.get(name)
      const place = placeOf(entry?.position ?? {})
      return entry && place
        ? [(wait) => ({ ...entry, replayed: line.missed(wait.place, place) }), true]
        : [() => bad.get(name) ?? { channel: name, ...unrecoverable("no_answer") }, false]
    })
  }

  stop(): void {
    clearTimeout(this.#timer)
  }

  #next(): void {
    if (this.#asked) return
    const places: Record<string, Position> = Object.create(null)
    const lines: Line[] = []
    let length = 0
    for (const line of this.#due) {
      const place = line.oldest()
      length += JSON.stringify([line.name, place]).length + 1
      if (lines.length && (length > MAX_LENGTH || lines.length === MAX_PLACES)) break
      places[line.name] = place
      lines.push(line)
      if (!line.ask()) this.#due.delete(line)
    }
    if (!lines.length) return
    this.#asked = lines
    this.#timer = setTimeout(() => this.answered({}), ANSWER_WITHIN)
    this.answers.add("resume", undefined, (error) => error && this.#refused(error))
    this.send(places)
  }

  /** The server resumes nothing: each tab that asked is told so once, in the server's words. */
  #refused({ code, message }: SockudoError): void {
    const told = new Set<Member>()
    this.#end(({ name, asked }) => {
      for (const { member, asks } of asked) {
        if (!asks || told.has(member)) continue
        told.add(member)
        member.resume = null
        this.post(member, { event: `${this.prefix}:error`, data: { code, message } })
      }
      return [() => ({ channel: name, ...unrecoverable("refused_by_server", message) }), false]
    })
  }

  #end(outcome: (line: Line) => [(wait: Wait) => Entry, boolean]): void {
    clearTimeout(this.#timer)
    const lines = this.#asked ?? []
    this.#asked = null
    for (const line of lines) {
      const [entry, recovered] = outcome(line)
      for (const wait of line.asked) {
        const { member, asks, then } = wait
        const found = entry(wait)
        if (asks && !recovered) line.seats.get(member)!.from = null
        line.outcomes.push(() => {
          if (asks && member.resume) this.settle(member, found, recovered)
          else if (!asks && !recovered) this.#interrupted(member, found)
          then?.(recovered)
        })
      }
      line.asked = []
      this.#finish(line)
    }
    this.#next()
  }

  /** Outcomes come behind what was missed: only then it has arrived. */
  #finish(line: Line): void {
    if (line.waits.length || line.asked.length) return
    this.release(line)
    for (const outcome of line.outcomes.splice(0)) outcome()
  }

  #interrupted(member: Member, entry: Entry): void {
    this.post(member, { event: `${this.prefix}:resume_failed`, channel: entry.channel, data: JSON.stringify(entry) })
  }

  #answer(member: Member): void {
    const { resume } = member
    if (!resume || resume.waiting.size) return
    member.resume = null
    const { recovered, failed } = resume
    this.post(member, { event: `${this.prefix}:resume_success`, data: JSON.stringify({ recovered, failed }) })
  }
}
