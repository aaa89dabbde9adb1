import type { Frame } from "../frames.js"
import type { Position } from "../recovery.js"
import type { Line } from "./line.js"

/** What a tab and the one with the connection say to each other; `from` and `to` are that connection's id. */
export interface ToTab {
  from: string
  frame?: Frame
  /** The tab is known; a greeting of the server follows. */
  welcome?: true
  close?: [code: number, reason: string]
  /** Why this tab needs a connection of its own. */
  alone?: string
}

export interface FromTab {
  to: string
  frame?: Frame
  /** How many frames have arrived, from time to time. */
  got?: number
}

/** An answer shows that the tab with the connection lives, and shows it that this one does. */
export const REPORT_EVERY = 1000
/** More frames than this do not wait for a tab that takes none. */
const MOST_WAITING = 20_000

/** A tab, as the one with the connection sees it. */
export class Member {
  readonly lines = new Set<Line>()
  /** From where channels go on that it has not subscribed to yet. */
  readonly places = new Map<string, Position>()
  /** The resume that is to be answered: channels without an outcome, and the outcomes. */
  resume: { waiting: Set<string>; recovered: unknown[]; failed: unknown[] } | null = null
  /** As whom it is signed in, and whether it knows who of its watchlist is online. */
  user: string | null = null
  watching = false
  isGreeted = false
  got = 0
  #sent = 0

  constructor(
    readonly hub: string,
    readonly id: string,
    /** Whether it hears its own client events. */
    readonly echo: boolean,
    readonly link: BroadcastChannel,
  ) {}

  /** False when the tab has stopped taking what it is sent. */
  post(frame: Frame): boolean {
    this.tell({ frame })
    return ++this.#sent - this.got < MOST_WAITING
  }

  tell(what: Omit<ToTab, "from">): void {
    this.link.postMessage({ from: this.hub, ...what } satisfies ToTab)
  }
}
