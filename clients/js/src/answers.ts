import { SockudoError } from "./errors.js"

type Kind = "subscribe" | "history" | "signin" | "auth" | "resume" | "event" | "ping"
type Settle = (error: SockudoError | null, value?: any) => void

interface Ask {
  kind: Kind
  channel: string | undefined
  settle: Settle
}

/** Asks whose success is silent: that a later question is answered shows it. */
const SILENT = new Set<Kind>(["event", "resume", "ping"])

/**
 * What was asked of the server, in the order of asking. It answers in the same order, with one frame at most: a refusal
 * names nothing, and belongs to the oldest question. An event, which is not answered, is followed by a ping.
 */
export class Answers {
  #asked: Ask[] = []

  add(kind: Kind, channel?: string, settle: Settle = () => {}): void {
    this.#asked.push({ kind, channel, settle })
  }

  ask<Value>(kind: Kind, channel?: string): Promise<Value> {
    return new Promise((resolve, reject) => this.add(kind, channel, (error, value) => (error ? reject(error) : resolve(value))))
  }

  /** Everything that was asked before has been carried out by now. */
  answered(kind: Kind, channel?: string, value?: unknown): void {
    const at = this.#asked.findIndex((ask) => ask.kind === kind && ask.channel === channel)
    for (const ask of this.#asked.splice(0, at + 1)) {
      if (ask.kind === kind && ask.channel === channel) ask.settle(null, value)
      else ask.settle(SILENT.has(ask.kind) ? null : new SockudoError(0, `The server did not answer to ${ask.kind}`, ask.channel))
    }
  }

  /** False when nothing was asked that this could be the answer to. */
  refused(error: SockudoError): boolean {
    const ofResume = /recover|resume/i.test(error.message)
    const at = this.#asked.findIndex(({ kind, channel }) =>
      error.channel === undefined ? kind !== "ping" && (kind === "resume") === ofResume : kind === "history" && channel === error.channel,
    )
    const [ask] = at < 0 ? [] : this.#asked.splice(at, 1)
    ask?.settle(error)
    return ask !== undefined
  }

  /** The connection has ended: nothing more is answered. */
  clear(error: SockudoError): void {
    for (const ask of this.#asked.splice(0)) ask.settle(error)
  }
}
