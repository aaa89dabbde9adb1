import { parsed } from "./frames.js"
import type { TokenProvider } from "./options.js"

/** A token is renewed when so much of its life has passed. */
const RENEW_AT = 0.8
const RETRY_AFTER = 3000
const MAX_TIMEOUT = 2 ** 31 - 1

/** Milliseconds that a token lives from now, as its own times say: the clock of this machine may be wrong. */
export function lifeOf(token: string, issuedNow: boolean): number | null {
  try {
    const { iat, exp } = parsed(atob(token.split(".")[1]!.replace(/-/g, "+").replace(/_/g, "/")))
    const byClock = exp * 1000 - Date.now()
    if (typeof exp !== "number") return null
    // One that was issued just now lives for its whole life whatever the clock is.
    return issuedNow && typeof iat === "number" && !(byClock > 0 && byClock < (exp - iat) * 1000) ? (exp - iat) * 1000 : byClock
  } catch {
    return null
  }
}

/** The capability token of a connection: asked for at each connect, and again before it ends. */
export class Tokens {
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(
    private readonly provider: TokenProvider | undefined,
    /** Sends a token on the open connection. */
    private readonly renew: (token: string) => Promise<unknown>,
    private readonly failed: (error: unknown) => void,
  ) {}

  get canRenew(): boolean {
    return typeof this.provider === "function"
  }

  async get(): Promise<string | undefined> {
    const token = typeof this.provider === "function" ? await this.provider() : this.provider
    if (token) this.#watch(token)
    return token
  }

  /** The next token now. */
  async refresh(): Promise<void> {
    if (!this.canRenew) return
    try {
      await this.renew((await this.get())!)
    } catch (error) {
      this.failed(error)
      this.#after(RETRY_AFTER)
    }
  }

  stop(): void {
    clearTimeout(this.#timer)
  }

  #watch(token: string): void {
    const life = lifeOf(token, this.canRenew)
    if (life !== null && this.canRenew) this.#after(Math.max(life * RENEW_AT, RETRY_AFTER))
  }

  #after(delay: number): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => void this.refresh(), Math.min(delay, MAX_TIMEOUT))
  }
}
