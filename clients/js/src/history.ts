import { parsed } from "./frames.js"

export interface HistoryOptions {
  /** Messages of one page; the server has a bound of its own. */
  limit?: number
  direction?: "newest_first" | "oldest_first"
  /** Only up to the attach serial: joined to what came live, nothing is missing or double. */
  until_attach?: boolean
  start_serial?: number
  end_serial?: number
  start_time_ms?: number
  end_time_ms?: number
  cursor?: string
}

/** A message of the past. */
export interface PastMessage {
  event: string
  data: any
  serial: number
  stream_id: string
  message_id?: string
  published_at_ms: number
  tags?: Record<string, string>
  extras?: Record<string, unknown>
  user_id?: string
}

export interface HistoryPage {
  messages: PastMessage[]
  has_more: boolean
  next_cursor: string | null
  continuity: { complete: boolean; truncated_by_retention: boolean; [name: string]: unknown }
}

/** The past of a channel, page by page as it is read: `for await (const message of channel.history())`. */
export class History implements AsyncIterable<PastMessage> {
  constructor(
    readonly channel: string,
    private readonly options: HistoryOptions,
    private readonly ask: (request: Record<string, unknown>) => Promise<any>,
  ) {}

  async page(cursor = this.options.cursor): Promise<HistoryPage> {
    const page = await this.ask({ channel: this.channel, ...this.options, ...(cursor && { cursor }) })
    const messages = page.items.map(({ message, serial, stream_id, published_at_ms }: any): PastMessage => {
      const { channel: _, event, data, ...rest } = message
      return { event, data: parsed(data), ...rest, serial, stream_id, published_at_ms }
    })
    return { messages, has_more: page.has_more, next_cursor: page.next_cursor ?? null, continuity: page.continuity }
  }

  async *pages(): AsyncGenerator<HistoryPage, void, void> {
    let cursor = this.options.cursor
    for (;;) {
      const page = await this.page(cursor)
      yield page
      if (!page.has_more || !page.next_cursor) return
      cursor = page.next_cursor
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<PastMessage, void, void> {
    for await (const page of this.pages()) yield* page.messages
  }
}
