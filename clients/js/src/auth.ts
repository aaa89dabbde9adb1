import { SockudoError } from "./errors.js"
import { encoded } from "./options.js"

/** What a backend signs for a channel. */
export interface ChannelAuthorization {
  auth: string
  channel_data?: string
  shared_secret?: string
}

/** What a backend signs for a user. */
export interface UserAuthentication {
  auth: string
  user_data: string
}

export type AuthCallback<Answer> = (error: Error | null, answer: Answer | null) => void
type Text = Record<string, string>

export interface Endpoint<Request, Answer> {
  endpoint?: string
  transport?: string
  params?: Record<string, unknown>
  headers?: Text
  paramsProvider?: () => Record<string, unknown>
  headersProvider?: () => Text
  /** In place of the endpoint. */
  customHandler?: (request: Request, callback: AuthCallback<Answer>) => void
}

export interface ChannelRequest {
  socketId: string
  channelName: string
}

export interface AuthOptions {
  channelAuthorization?: Endpoint<ChannelRequest, ChannelAuthorization>
  userAuthentication?: Endpoint<{ socketId: string }, UserAuthentication>
  /** `batch`: all channels asked for within a moment are authorized with one request (docs/browser.md). */
  authorize?: { batch?: boolean }
  /** Names of pusher-js before version 7.1. */
  authEndpoint?: string
  auth?: { params?: Record<string, unknown>; headers?: Text }
  authorizer?: (
    channel: { name: string },
    options: unknown,
  ) => { authorize(socketId: string, callback: AuthCallback<ChannelAuthorization>): void }
}

/** More names make the next request. */
const BATCH = 100

/** POSTs a form; the JSON of the answer. Throws `SockudoError` with the HTTP status, 0 without an answer. */
export async function post(url: string, body: string, type: string, headers: Text = {}, credentials?: RequestCredentials): Promise<any> {
  let response: Response
  try {
    response = await fetch(url, {
      method: "POST",
      headers: { "Content-Type": type, Accept: "application/json", ...headers },
      body,
      ...(credentials && { credentials }),
    })
  } catch (error) {
    throw new SockudoError(0, `No answer from ${url}: ${(error as Error).message}`)
  }
  if (!response.ok) throw new SockudoError(response.status, `${url} answered with HTTP ${response.status}`)
  try {
    return await response.json()
  } catch {
    throw new SockudoError(response.status, `${url} answered with something that is not JSON`)
  }
}

function ask(options: Endpoint<any, any>, fields: [string, string][]): Promise<any> {
  const form = [...fields]
  for (const [name, value] of Object.entries({ ...options.params, ...options.paramsProvider?.() })) form.push([name, String(value)])
  const headers = { ...options.headers, ...options.headersProvider?.() }
  return post(options.endpoint!, encoded(form), "application/x-www-form-urlencoded", headers)
}

const handled = <Answer>(work: (callback: AuthCallback<Answer>) => void): Promise<Answer> =>
  new Promise((resolve, reject) => {
    work((error, answer) => {
      if (answer === null || error) reject(error ?? new SockudoError(0, "The handler gave no answer"))
      else resolve(answer)
    })
  })

function withText<Answer>(answer: Answer, name: keyof Answer): Answer {
  if (typeof answer?.[name] !== "string") throw new SockudoError(200, `The backend's answer has no ${String(name)}`)
  return answer
}

/** Asks the application's backend to sign. */
export class Signatures {
  readonly #channel: Endpoint<ChannelRequest, ChannelAuthorization>
  readonly #user: Endpoint<{ socketId: string }, UserAuthentication>
  #waiting: { name: string; resolve(answer: Promise<ChannelAuthorization>): void }[] = []

  constructor(private readonly options: AuthOptions) {
    this.#channel = { endpoint: options.authEndpoint ?? "/pusher/auth", ...options.auth, ...options.channelAuthorization }
    this.#user = { endpoint: "/pusher/user-auth", ...options.userAuthentication }
  }

  async channel(socketId: string, name: string): Promise<ChannelAuthorization> {
    const { authorizer, authorize } = this.options
    const { customHandler } = this.#channel
    let answer: Promise<ChannelAuthorization>
    if (customHandler) answer = handled((callback) => customHandler({ socketId, channelName: name }, callback))
    else if (authorizer) answer = handled((callback) => authorizer({ name }, this.options).authorize(socketId, callback))
    else if (authorize?.batch) answer = this.#together(socketId, name)
    else answer = ask(this.#channel, [["socket_id", socketId], ["channel_name", name]])
    return withText(await answer, "auth")
  }

  async user(socketId: string): Promise<UserAuthentication> {
    const { customHandler } = this.#user
    const answer = customHandler
      ? handled<UserAuthentication>((callback) => customHandler({ socketId }, callback))
      : ask(this.#user, [["socket_id", socketId]])
    return withText(withText(await answer, "auth"), "user_data")
  }

  #together(socketId: string, name: string): Promise<ChannelAuthorization> {
    if (!this.#waiting.length) setTimeout(() => this.#askTogether(socketId))
    return new Promise((resolve) => this.#waiting.push({ name, resolve }))
  }

  #askTogether(socketId: string): void {
    const waiting = this.#waiting.splice(0)
    while (waiting.length) {
      const batch = waiting.splice(0, BATCH)
      const answers = ask(this.#channel, [["socket_id", socketId], ...batch.map(({ name }) => ["channel_names[]", name] as [string, string])])
      for (const { name, resolve } of batch) {
        resolve(
          answers.then((byName) => {
            const answer = byName?.[name]
            if (typeof answer?.auth === "string") return answer
            throw new SockudoError(answer?.status ?? 403, answer?.error ?? `The backend did not authorize ${name}`)
          }),
        )
      }
    }
  }
}
