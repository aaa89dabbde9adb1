import type { GlobalListener } from "../index.js"
import type { Held } from "./channels.js"
import type { ChannelMessage, HistoryState } from "./types.js"

export const EMPTY: HistoryState = { messages: [], isLoading: true, hasMore: false, error: null }

const FOREIGN = new Set(["recovered", "gap"])

/** The past of a channel and what comes, joined without a hole: after a gap the past is read again. */
export class Past {
  snapshot = EMPTY
  readonly ready: Promise<void>
  settled = false

  #changed = new Set<() => void>()
  #live: ChannelMessage[] = []
  #turn = 0
  readonly #done: () => void

  constructor(
    private readonly held: Held,
    private readonly limit: number,
    /** So many messages are kept while they come; the oldest are let go. */
    private readonly most: number,
  ) {
    this.#done = held.listen(this.#heard)
    this.ready = held.ready.then(() => this.#load())
  }

  end(): void {
    this.#turn += 1
    this.#done()
  }

  watch(changed: () => void): () => void {
    this.#changed.add(changed)
    return () => this.#changed.delete(changed)
  }

  loadMore = async (): Promise<void> => {
    const { messages, hasMore, isLoading } = this.snapshot
    const oldest = messages[0]?.serial
    if (!hasMore || isLoading || oldest === undefined) return
    const turn = this.#turn
    this.#become({ isLoading: true })
    try {
      const page = await this.held.channel.history({ limit: this.limit, end_serial: oldest - 1 }).page()
      if (turn !== this.#turn) return
      this.#become({ messages: [...page.messages.reverse(), ...this.snapshot.messages], hasMore: page.has_more, isLoading: false, error: null })
    } catch (error) {
      if (turn === this.#turn) this.#become({ isLoading: false, error: error as Error })
    }
  }

  async #load(): Promise<void> {
    const turn = ++this.#turn
    const { channel } = this.held
    try {
      const page = await channel.history({ limit: this.limit, until_attach: true }).page()
      if (turn !== this.#turn) return
      const past = page.messages.reverse()
      const known = new Set(past.map(keyOf))
      const live = this.#live.filter((each) => !known.has(keyOf(each)))
      this.#live = []
      this.#become({ messages: [...past, ...live], hasMore: page.has_more, isLoading: false, error: null })
    } catch (error) {
      if (turn !== this.#turn) return
      const messages = this.#live
      this.#live = []
      this.#become({ messages, hasMore: false, isLoading: false, error: error as Error })
    }
    this.settled = true
  }

  #heard: GlobalListener = (event, data, frame) => {
    if (event === "gap") {
      // What came behind the new subscription is not in the past that is asked for now.
      const { attach_serial = 0, position } = this.held.channel
      this.#live = this.snapshot.messages.filter(({ serial = 0, stream_id }) => stream_id === position?.stream_id && serial > attach_serial)
      this.#become({ isLoading: true })
      void this.#load()
    }
    if (event.startsWith("pusher:") || FOREIGN.has(event)) return
    const { channel: _, ...rest } = frame ?? { event }
    const message = { ...rest, event, data }
    const { messages, isLoading } = this.snapshot
    if (isBehind(message, messages.at(-1))) return
    if (isLoading) this.#live = appended(this.#live, message, this.most)
    this.#become({ messages: appended(messages, message, this.most) })
  }

  #become(change: Partial<HistoryState>): void {
    this.snapshot = { ...this.snapshot, ...change }
    for (const changed of this.#changed) changed()
  }
}

const appended = (messages: readonly ChannelMessage[], message: ChannelMessage, most: number): ChannelMessage[] =>
  [...(messages.length >= most ? messages.slice(1) : messages), message]

/** Whether it is among the messages already, as what a rewind brings may be. */
const isBehind = ({ stream_id, serial }: ChannelMessage, newest: ChannelMessage | undefined): boolean =>
  serial !== undefined && newest?.serial !== undefined && stream_id === newest.stream_id && serial <= newest.serial

const keyOf = ({ stream_id, serial }: ChannelMessage): string => `${serial} ${stream_id}`
