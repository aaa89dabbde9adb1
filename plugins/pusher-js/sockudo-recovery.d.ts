declare function sockudoRecovery<Client>(pusher: Client, options?: sockudoRecovery.Options): Client

declare namespace sockudoRecovery {
  interface Options {
    /** Put before the names of both events; "" unless given. */
    prefix?: string
    /** Milliseconds that the server has for its answer to a resume; 30000 unless given. */
    answerWithin?: number
  }

  /** Everything that was missed on the channel has been delivered, in order. */
  interface Recovered {
    channel: string
    count: number
    source: "hot" | "cold"
  }

  /** Something may be missing on the channel: fetch anew what is shown of it. */
  interface Gap {
    channel: string
    code: string
    reason: string
    message?: string
  }
}

export = sockudoRecovery
export as namespace sockudoRecovery
