// A chat in a page, against `sockudo serve --dev`: what is said is shown once, whatever reloads, restarts or breaks.
const byId = (id) => document.getElementById(id)
const name = new URLSearchParams(location.search).get("name") ?? "guest"
let room

// What the server has not taken yet outlives a reload, and is sent under the same key until it is taken.
const outbox = JSON.parse(sessionStorage.outbox ?? "[]")
const keep = () => (sessionStorage.outbox = JSON.stringify(outbox))

/** A line is in one of the lists, and where it has once been shown as said it stays. */
function show(list, { name, text }, id) {
  const line = byId(id) ?? Object.assign(document.createElement("li"), { id, textContent: `${name}: ${text}` })
  if (line.parentNode?.id !== "messages") list.append(line)
}

async function send() {
  while (outbox.length) {
    const [said] = outbox
    try {
      await room.publish("said", said, { idempotencyKey: said.id })
    } catch (error) {
      // No answer, or none yet: the same once more. Anything else is a refusal, and stays so.
      if (error.code === 0 || error.code === 429 || error.code >= 500) continue
      byId(said.id)?.append(` (${error.message})`)
    }
    outbox.shift()
    keep()
  }
}

byId("form").onsubmit = (event) => {
  event.preventDefault()
  const { text } = event.target.elements
  const said = { id: crypto.randomUUID(), name, text: text.value }
  text.value = ""
  show(byId("waiting"), said, said.id)
  outbox.push(said)
  keep()
  if (room && outbox.length === 1) void send()
}
for (const said of outbox) show(byId("waiting"), said, said.id)

// While the server is away there is no client either: the page tries again.
const { url, key } = await (await fetch("config.json")).json()
const again = () => new Promise(() => setTimeout(() => location.reload(), 1000))
const { default: Sockudo } = await import(`${url}/client/sockudo.mjs`).catch(again)

const sockudo = new Sockudo(key, { url, publishing: { endpoint: "publish" } })
sockudo.connection.bind("state_change", ({ current }) => (byId("state").textContent = current))
room = sockudo.subscribe("chat", { rewind: 50 })
room.bind("said", (said, { message_id }) => show(byId("messages"), said, said.id ?? message_id))
room.bind("gap", () => location.reload())
void send()
