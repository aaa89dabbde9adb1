// Components under remote control, in a DOM of Node: what a test says in one line. Loaded by web_harness.mjs.
import { register } from "node:module"
import { Window } from "happy-dom"

await import("./web_lab.js")

// The hooks lie where the server has them, and take the React of this folder.
const hooks = `export const resolve = (name, context, next) =>
  next(name, name === "react" ? { ...context, parentURL: ${JSON.stringify(import.meta.url)} } : context)`
register(`data:text/javascript,${encodeURIComponent(hooks)}`)

const window = new Window()
Object.assign(globalThis, { window, document: window.document })
globalThis.navigator ??= window.navigator
const { Component, createElement: h, StrictMode, Suspense } = await import("react")
const { createRoot } = await import("react-dom/client")
const { renderToString } = await import("react-dom/server")
const { SockudoProvider, useChannel, useConnectionState, useHistory, usePresence } = await import(process.argv[2] + "/sockudo-react.mjs")
globalThis.rooms = {}

class Boundary extends Component {
  state = {}
  static getDerivedStateFromError = (error) => ({ error })
  render = () => (this.state.error ? `refused: ${this.state.error.code}` : this.props.children)
}

/** What the components of a room show is JSON in an element each. */
const Shown = ({ id, value }) => h("pre", { id }, JSON.stringify(value))

const components = {
  Chat({ room, name, options }) {
    const { messages, hasMore, isLoading, error, loadMore } = useHistory(name, options)
    room.loadMore = loadMore
    return h(Shown, { id: "chat", value: { said: messages.map(({ data }) => data), hasMore, isLoading, error: error?.code ?? null } })
  },
  Members({ name }) {
    const { members, me, count, state } = usePresence(name)
    return h(Shown, { id: "members", value: { members: members.map(({ id }) => id).sort(), me: me?.id ?? null, count, state } })
  },
  Listener({ room, name, options }) {
    const { state, error } = useChannel(name, { ...options, on: { said: (data) => room.heard.push(data) } })
    return h(Shown, { id: "listener", value: { state, error: error?.code ?? null } })
  },
  State({ id = "state" }) {
    return h(Shown, { id, value: useConnectionState().state })
  },
}

globalThis.react = {
  /** Shows components for a client, `[[name, props], …]`, in the room of that name; again with others when it is there. */
  show({ name, client, tree }) {
    const room = (rooms[name] ??= make(name, client))
    room.root.render(elements(room, client, tree))
  },
  text: (client, tree) => renderToString(elements({ heard: [] }, client, tree)),
  leave: (name) => rooms[name].root.unmount(),
  shown: (name, id) => JSON.parse(rooms[name].container.querySelector(`#${id}`)?.textContent || "null"),
}

function make(name, client) {
  const container = document.body.appendChild(document.createElement("div"))
  const sent = []
  const { connection } = clients[client]
  const { send } = connection
  connection.send = (frame) => (sent.push(frame.event), send.call(connection, frame))
  return { container, root: createRoot(container), heard: [], sent }
}

function elements(room, client, tree) {
  const children = tree.map(([component, props], key) => h(components[component], { room, key, ...props }))
  const waiting = h(Suspense, { fallback: "waiting" }, ...children)
  return h(StrictMode, null, h(Boundary, null, h(SockudoProvider, { client: clients[client] }, waiting)))
}
