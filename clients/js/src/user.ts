import { Emitter } from "./emitter.js"

/** Whom this client is signed in as, and the events for that user. */
export class User extends Emitter {
  signin_requested = false
  user_data: any = null
  /** Settled by the sign-in that is under way. */
  signinDonePromise: Promise<any> | null = null
  /** `online` and `offline`, with `{user_ids}`. */
  readonly watchlist = new Emitter()
}
