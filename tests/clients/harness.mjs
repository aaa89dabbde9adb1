// Stock JavaScript clients under remote control: one JSON request a line on stdin, one JSON answer or report a line on
// stdout. An answer carries the request's `id`; a report carries the name of the `client` it is about.
import http from "node:http"
import readline from "node:readline"
import Echo from "laravel-echo"
import PusherServer from "pusher"
import Pusher from "pusher-js"

const clients = new Map()
const backends = new Map()
let authPort = 0

const write = (object) => process.stdout.write(JSON.stringify(object) + "\n")
const report = (client, type, fields) => write({ client, type, ...fields })

function backendOf({ app, host, port, masterKey }) {
  const name = [app.id, app.key, app.secret, host, port, masterKey].join("|")
  if (!backends.has(name)) {
    const { id: appId, key, secret } = app
    const options = { appId, key, secret, host, port: String(port), useTLS: false }
    if (masterKey) options.encryptionMasterKeyBase64 = masterKey
    backends.set(name, new PusherServer(options))
  }
  return backends.get(name)
}

function known(client) {
  const found = clients.get(client)
  if (!found) throw new Error(`no client ${client}`)
  return found
}

// What an application's auth endpoints do: signed by the stock server SDK, for the identity that the client was opened with.
function authorizeChannel(client, socketId, channel) {
  const { backend, member } = known(client)
  return backend.authorizeChannel(socketId, channel, channel.startsWith("presence-") ? member : undefined)
}

function authenticateUser(client, socketId) {
  const { backend, user } = known(client)
  return backend.authenticateUser(socketId, user)
}

const authServer = http.createServer((request, response) => {
  let text = ""
  request.setEncoding("utf8")
  request.on("data", (chunk) => (text += chunk))
  request.on("end", () => {
    const form = new URLSearchParams(text)
    const client = form.get("client")
    if (known(client).denied) {
      response.writeHead(403).end("Forbidden")
      return
    }
    const answer = request.url.endsWith("/user-auth")
      ? authenticateUser(client, form.get("socket_id"))
      : authorizeChannel(client, form.get("socket_id"), form.get("channel_name"))
    response.writeHead(200, { "Content-Type": "application/json" }).end(JSON.stringify(answer))
  })
})

function authOptions(client, authBy) {
  if (authBy === "handler") {
    const handler = (make) => (params, callback) => {
      try {
        callback(null, make(params))
      } catch (error) {
        callback(error, null)
      }
    }
    return {
      channelAuthorization: { customHandler: handler((p) => authorizeChannel(client, p.socketId, p.channelName)) },
      userAuthentication: { customHandler: handler((p) => authenticateUser(client, p.socketId)) },
    }
  }
  const base = `http://127.0.0.1:${authPort}/broadcasting`
  const params = { client }
  return {
    channelAuthorization: { transport: "ajax", endpoint: `${base}/auth`, params },
    userAuthentication: { transport: "ajax", endpoint: `${base}/user-auth`, params },
  }
}

function watchConnection(client, pusher) {
  pusher.connection.bind("state_change", ({ previous, current }) => {
    report(client, "state", { previous, state: current, socketId: pusher.connection.socket_id })
    if (current === "connected") {
      pusher.connection.connection.bind("pong", () => report(client, "pong", {}))
    }
  })
  pusher.connection.bind("error", (error) => report(client, "error", { error: error.data ?? error.error?.data ?? String(error) }))
  pusher.connection.bind("message", (frame) => {
    if (frame.event === "pusher:signin_success") report(client, "signin", { userData: JSON.parse(frame.data.user_data) })
    if (known(client).raw) report(client, "frame", { frame })
  })
  pusher.user.bind_global((event, data) => report(client, "user", { event, data }))
  for (const event of ["online", "offline"]) {
    pusher.user.watchlist.bind(event, (data) => report(client, "watchlist", { event, userIds: data.user_ids }))
  }
}

function connectionOptions({ client, host, port, authBy, options }) {
  return {
    cluster: "local",
    wsHost: host,
    wsPort: port,
    forceTLS: false,
    enabledTransports: ["ws"],
    enableStats: false,
    ...authOptions(client, authBy),
    ...options,
  }
}

const membersOf = (channel) => ({
  count: channel.members.count,
  me: channel.members.me,
  members: channel.members.members,
})

const operations = {
  // ---- pusher-js ----

  open(request) {
    const { client, app, member, user, denied, raw } = request
    clients.set(client, { backend: backendOf(request), member, user, denied, raw })
    const pusher = new Pusher(request.key ?? app.key, connectionOptions(request))
    known(client).pusher = pusher
    watchConnection(client, pusher)
  },

  subscribe({ client, channel }) {
    const subscription = known(client).pusher.subscribe(channel)
    subscription.bind_global((event, data) => report(client, "event", { channel, event, data }))
  },

  // Only a callback for one event is given the sender of a client event.
  listen({ client, channel, event }) {
    known(client).pusher.channel(channel).bind(event, (data, metadata) => {
      report(client, "heard", { channel, event, data, userId: metadata?.user_id })
    })
  },

  unsubscribe({ client, channel }) {
    known(client).pusher.unsubscribe(channel)
  },

  clientEvent({ client, channel, event, data }) {
    return known(client).pusher.channel(channel).trigger(event, data)
  },

  members({ client, channel }) {
    return membersOf(known(client).pusher.channel(channel))
  },

  signin({ client }) {
    known(client).pusher.signin()
  },

  status({ client }) {
    const { connection } = known(client).pusher
    return { state: connection.state, socketId: connection.socket_id, retrying: Boolean(connection.retryTimer) }
  },

  close({ client }) {
    const found = clients.get(client)
    ;(found?.echo ?? found?.pusher)?.disconnect()
  },

  // ---- laravel-echo ----

  openEcho(request) {
    const { client, app, member, user, denied, broadcaster } = request
    clients.set(client, { backend: backendOf(request), member, user, denied, channels: new Map() })
    const echo = new Echo({ broadcaster, Pusher, key: app.key, ...connectionOptions(request) })
    known(client).echo = echo
    known(client).pusher = echo.connector.pusher
    watchConnection(client, echo.connector.pusher)
  },

  echoJoin({ client, kind, channel, events = [], whispers = [] }) {
    const { echo, channels } = known(client)
    const open = { public: "channel", private: "private", encrypted: "encryptedPrivate", presence: "join" }[kind]
    const joined = echo[open](channel)
    channels.set(channel, joined)
    joined.subscribed(() => report(client, "subscribed", { channel }))
    joined.error((error) => report(client, "refused", { channel, status: error.status }))
    for (const event of events) joined.listen(event, (data) => report(client, "event", { channel, event, data }))
    for (const event of whispers) joined.listenForWhisper(event, (data) => report(client, "whisper", { channel, event, data }))
    joined.notification((data) => report(client, "notification", { channel, data }))
    if (kind === "presence") {
      joined.here((members) => report(client, "here", { channel, members }))
      joined.joining((member) => report(client, "joining", { channel, member }))
      joined.leaving((member) => report(client, "leaving", { channel, member }))
    }
  },

  echoWhisper({ client, channel, event, data }) {
    known(client).channels.get(channel).whisper(event, data)
  },

  echoLeave({ client, channel }) {
    known(client).echo.leave(channel)
  },

  echoSocketId({ client }) {
    return known(client).echo.socketId()
  },

  // ---- pusher, the server SDK ----

  async trigger(request) {
    const { channels, event, data, params } = request
    return readReply(backendOf(request).trigger(channels, event, data, params))
  },

  // Many publishes, each answered before the next is sent, without a line of remote control for every one of them.
  async triggerMany(request) {
    const { channel, event, count } = request
    for (let number = 0; number < count; number++) {
      await backendOf(request).trigger(channel, event, { number })
    }
  },

  async triggerBatch(request) {
    return readReply(backendOf(request).triggerBatch(request.batch))
  },

  async get(request) {
    return readReply(backendOf(request).get({ path: request.path, params: request.params }))
  },

  async post(request) {
    return readReply(backendOf(request).post({ path: request.path, body: request.body ?? {} }))
  },

  async sendToUser(request) {
    return readReply(backendOf(request).sendToUser(request.user, request.event, request.data))
  },

  async terminate(request) {
    return readReply(backendOf(request).terminateUserConnections(request.user))
  },

  webhook(request) {
    const webhook = backendOf(request).webhook({ headers: request.headers, rawBody: request.rawBody })
    const valid = webhook.isValid(request.extraTokens)
    return valid ? { valid, events: webhook.getEvents(), time: webhook.getTime().getTime() } : { valid }
  },
}

async function readReply(promise) {
  try {
    const response = await promise
    return { status: response.status, body: await response.json() }
  } catch (error) {
    if (error instanceof PusherServer.RequestError && error.status) {
      return { status: error.status, body: JSON.parse(error.body) }
    }
    throw error
  }
}

async function serve(line) {
  const request = JSON.parse(line)
  try {
    const result = await operations[request.op](request)
    write({ id: request.id, result: result ?? null })
  } catch (error) {
    write({ id: request.id, error: error instanceof Error ? error.stack : String(error) })
  }
}

authServer.listen(0, "127.0.0.1", () => {
  authPort = authServer.address().port
  const lines = readline.createInterface({ input: process.stdin })
  lines.on("line", serve)
  lines.on("close", () => process.exit(0))
  write({ ready: true })
})
