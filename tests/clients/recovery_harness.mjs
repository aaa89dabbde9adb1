// pusher-js with the recovery plug-in under remote control; requests and reports as in harness.mjs.
import { createRequire } from "node:module"
import readline from "node:readline"
import PusherServer from "pusher"
import Pusher8 from "pusher-js"
import Pusher7 from "pusher-js-7"
import sockudoRecovery from "../../plugins/pusher-js/sockudo-recovery.js"

const required = createRequire(import.meta.url)("../../plugins/pusher-js/sockudo-recovery.js")
if (required !== sockudoRecovery) throw new Error("require and import give different plug-ins")

const versions = { 7: Pusher7, 8: Pusher8 }
const clients = new Map()

const write = (object) => process.stdout.write(JSON.stringify(object) + "\n")

function known(client) {
  const found = clients.get(client)
  if (!found) throw new Error(`no client ${client}`)
  return found
}

// An auth endpoint that takes its time, and that a test can close.
function authorizer(found) {
  return ({ socketId, channelName }, callback) => {
    if (found.denied.has(channelName)) {
      callback(new Error("denied"), null)
      return
    }
    const member = channelName.startsWith("presence-") ? found.member : undefined
    const answer = () => callback(null, found.backend.authorizeChannel(socketId, channelName, member))
    if (found.authTakes === null) answer()
    else setTimeout(answer, found.authTakes)
  }
}

function authenticator(found) {
  return ({ socketId }, callback) => callback(null, found.backend.authenticateUser(socketId, found.user))
}

// A stock client connects again a second after a cut; here it does so at once, or when the test says so.
function reconnectOnDemand(found, report) {
  const connection = found.pusher.connection
  const retryIn = connection.retryIn
  found.retry = () => retryIn.call(connection, 0)
  connection.retryIn = () => {
    if (found.away) report("cut", {})
    else found.retry()
  }
}

const operations = {
  open(request) {
    const { client, app, host, port, masterKey, version = 8, plugin = true, late = false, options } = request
    const { id: appId, key, secret } = app
    const found = {
      backend: new PusherServer({ appId, key, secret, host, port: String(port), useTLS: false, encryptionMasterKeyBase64: masterKey }),
      member: request.member,
      user: request.user,
      authTakes: request.authTakes ?? null,
      denied: new Set(),
    }
    clients.set(client, found)
    const pusher = (found.pusher = new versions[version](key, {
      cluster: "local",
      wsHost: host,
      wsPort: port,
      forceTLS: false,
      enabledTransports: ["ws"],
      enableStats: false,
      channelAuthorization: { customHandler: authorizer(found) },
      userAuthentication: { customHandler: authenticator(found) },
    }))
    const report = (type, fields) => write({ client, type, ...fields })
    reconnectOnDemand(found, report)
    pusher.connection.bind("state_change", ({ current }) => report("state", { state: current, socketId: pusher.connection.socket_id }))
    pusher.connection.bind("error", (error) => report("error", { error: error.data ?? error.error?.data ?? String(error) }))
    pusher.user.bind_global((event, data) => report("user", { event, data }))
    for (const event of ["recovered", "gap"]) pusher.bind(event, (data) => report("told", { event, data }))
    if (plugin && !late) operations.enable({ client, options })
  },

  enable({ client, options }) {
    const { pusher } = known(client)
    if (sockudoRecovery(pusher, options) !== pusher) throw new Error("the plug-in does not return the client")
  },

  subscribe({ client, channel }) {
    const subscription = known(client).pusher.subscribe(channel)
    subscription.bind_global((event, data) => write({ client, type: "event", channel, event, data }))
  },

  // A listener with a mistake in it.
  stumble({ client, channel, event }) {
    process.once("uncaughtException", (error) => write({ client, type: "uncaught", message: error.message }))
    known(client).pusher.channel(channel).bind(event, () => {
      throw new Error(`stumbled over ${event}`)
    })
  },

  unsubscribe({ client, channel }) {
    known(client).pusher.unsubscribe(channel)
  },

  async publish({ client, channel, event, data }) {
    const response = await known(client).backend.trigger(channel, event, data)
    if (response.status !== 200) throw new Error(`publish: ${response.status}`)
  },

  clientEvent({ client, channel, event, data }) {
    return known(client).pusher.channel(channel).trigger(event, data)
  },

  members({ client, channel }) {
    return Object.keys(known(client).pusher.channel(channel).members.members).sort()
  },

  signin({ client }) {
    known(client).pusher.signin()
  },

  deny({ client, channel, denied }) {
    known(client).denied[denied ? "add" : "delete"](channel)
  },

  authTakes({ client, milliseconds }) {
    known(client).authTakes = milliseconds
  },

  away({ client }) {
    known(client).away = true
  },

  back({ client, away = false }) {
    known(client).away = away
    known(client).retry()
  },

  // Answers after every timer of a client that is due by then.
  elapse({ milliseconds }) {
    return new Promise((resolve) => setTimeout(resolve, milliseconds))
  },

  disconnect({ client }) {
    known(client).pusher.disconnect()
  },

  connect({ client }) {
    known(client).pusher.connect()
  },

  close({ client }) {
    clients.get(client)?.pusher.disconnect()
  },
}

async function serve(line) {
  const request = JSON.parse(line)
  try {
    write({ id: request.id, result: (await operations[request.op](request)) ?? null })
  } catch (error) {
    write({ id: request.id, error: error instanceof Error ? error.stack : String(error) })
  }
}

const lines = readline.createInterface({ input: process.stdin })
lines.on("line", serve)
lines.on("close", () => process.exit(0))
write({ ready: true })
