/** What the hooks take and give. */
import type { Channel, Listener, Member, PastMessage, SockudoError, State, SubscribeOptions, Subscription } from "../index.js"

/** What a component sees of a channel. */
export interface ChannelState {
  /** Null until the component is mounted, and without a name. */
  readonly channel: Channel | null
  readonly state: Subscription
  /** Why the subscription was refused. */
  readonly error: SockudoError | null
}

export interface PresenceState extends ChannelState {
  readonly members: readonly Member[]
  readonly me: Member | null
  readonly count: number
}

/** A message of the past, or one that has just come: then without `published_at_ms`. */
export type ChannelMessage = Omit<PastMessage, "published_at_ms" | "serial" | "stream_id"> &
  Partial<Pick<PastMessage, "published_at_ms" | "serial" | "stream_id">>

export interface HistoryState {
  /** The oldest first: what was asked for of the past, and all that came since. */
  readonly messages: readonly ChannelMessage[]
  readonly isLoading: boolean
  /** Whether there are older ones, which `loadMore` puts in front. */
  readonly hasMore: boolean
  /** Why the past could not be read; what comes is there all the same. */
  readonly error: Error | null
}

export interface UseChannelOptions extends SubscribeOptions {
  /** What to do with events, by their names; the newest functions are called. */
  on?: Record<string, Listener>
  /** Wait in the nearest `<Suspense>` until the server has answered; a refusal is thrown. */
  suspense?: boolean
}

export interface UseHistoryOptions extends SubscribeOptions {
  /** Messages of the past, and of each `loadMore`. */
  limit?: number
  /** Messages that are kept while others come, 1000 by default: the oldest are let go. */
  most?: number
  suspense?: boolean
}

export interface ConnectionState {
  readonly state: State
  readonly socketId: string | undefined
  readonly error: SockudoError | null
}
