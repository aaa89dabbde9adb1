/** Rows of the server's catalogue (docs/errors.md) that end a connection, with the beginning of their text where a code has several. */
const ENTRIES: readonly (readonly [code: number, entry: string, begins?: string])[] = [
  [4001, "unknown_app"],
  [4003, "app_disabled"],
  [4004, "over_quota"],
  [4009, "origin_not_local", "Origin not allowed: start"],
  [4009, "origin_not_allowed", "Origin not allowed"],
  [4009, "terminated", "You got disconnected"],
  [4009, "auth_deadline", "Connection not authorized"],
  [4009, "token_expired", "capability token expired"],
  [4009, "token_revoked", "capability token revoked"],
  [4009, "capability_denied", "Authentication error: Connection is not allowed"],
  [4009, "channel_auth_invalid", "Authentication error: Channel requires"],
  [4009, "token_needs_v2", "Authentication error: capability tokens need"],
  [4009, "token_refused", "Authentication error: capability token"],
  [4009, "channel_auth_missing", "Authentication error: Authentication signature"],
  [4100, "token_unverified", "Whether the token"],
  [4100, "slow_consumer", "Client buffer full"],
  [4100, "over_capacity"],
  [4200, "force_reconnect", "Force reconnect"],
  [4200, "server_shutdown"],
  [4201, "pong_timeout"],
  [4300, "channel_name"],
  [4301, "client_rate_close", "Connection closed"],
  [4301, "recovery_disabled", "Connection recovery is not enabled"],
  [4301, "client_rate", "Client event rejected"],
  [4301, "client_event"],
]

/** Why something was refused or has ended. */
export class SockudoError extends Error {
  /** `code` is the server's; an HTTP status of a backend; 1006 when the line broke; 0 when the client itself refuses. */
  constructor(
    readonly code: number,
    message: string,
    readonly channel?: string,
  ) {
    super(message)
  }

  override get name(): string {
    return "SockudoError"
  }

  /** Its row in the server's catalogue of errors: what `sockudo explain` takes. Empty where it has none. */
  get entry(): string {
    return ENTRIES.find(([code, , begins = ""]) => code === this.code && this.message.startsWith(begins))?.[1] ?? ""
  }

  get docs(): string {
    return this.entry && `errors.md#${this.entry}`
  }

  /** As pusher-js has it: `{code, message}`. */
  get data(): { code: number; message: string } {
    return { code: this.code, message: this.message }
  }
}
