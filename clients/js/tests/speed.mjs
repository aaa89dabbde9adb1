// How fast frames are read and handed out, on one core: node tests/speed.mjs, after npm run build.
import Sockudo from "../dist/sockudo.mjs"

const COUNT = 100_000
const BINDINGS = 100

class Server {
  constructor() {
    Server.last = this
    const data = JSON.stringify({ socket_id: "1.1", activity_timeout: 120 })
    queueMicrotask(() => this.onmessage({ data: JSON.stringify({ event: "sockudo:connection_established", data }) }))
  }
  send() {}
  close() {}
}

const frames = Array.from({ length: COUNT }, (_, index) =>
  JSON.stringify({
    event: "quote",
    channel: "fx",
    data: JSON.stringify({ pair: "EURUSD", bid: 1.0812 + index, ask: 1.0814, venue: "ldn", at: 1795676022881 }),
    message_id: `3cd91b5f-5981-4d72-8d4d-${String(index).padStart(12, "0")}`,
    stream_id: "e8d8b745-cd7b-491b-ac26-739d32b2e66d",
    serial: index + 1,
  }),
)

async function seconds(bindings) {
  const client = new Sockudo("key", { url: "http://server.test", WebSocket: Server })
  await client.connected()
  const channel = client.subscribe("fx")
  let calls = 0
  for (let index = 0; index < bindings; index++) channel.bind("quote", () => calls++)
  const began = performance.now()
  for (const data of frames) Server.last.onmessage({ data })
  const took = (performance.now() - began) / 1000
  if (calls !== COUNT * bindings) throw new Error(`${calls} calls`)
  client.disconnect()
  return took
}

function parsing() {
  let sum = 0
  const began = performance.now()
  for (const text of frames) sum += JSON.parse(JSON.parse(text).data).ask
  return sum > 0 ? (performance.now() - began) / 1000 : 0
}

/** The best of several runs: the others say more of what else the machine does. */
async function best(run) {
  const times = []
  for (let turn = 0; turn < 7; turn++) times.push(await run())
  return Math.min(...times)
}

const [parsed, one, many] = [await best(parsing), await best(() => seconds(1)), await best(() => seconds(BINDINGS))]
console.log(`messages a second into 1 binding: ${Math.round(COUNT / one)}, into ${BINDINGS}: ${Math.round(COUNT / many)}`)
console.log(`against JSON.parse of the same frames and their data: ${(one / parsed).toFixed(2)}`)
