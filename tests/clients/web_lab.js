// Clients under remote control, in a page or in Node: what a test says in one line.
globalThis.clients = {}

const plain = (value) => JSON.parse(JSON.stringify(value ?? null))

globalThis.lab = {
  /** A client that notes everything that it tells. */
  open({ name, key, options: { tokenEndpoint, ...options } }) {
    let tokens = 0
    if (tokenEndpoint) {
      options.token = async () => {
        const token = await (await fetch(tokenEndpoint, { method: "POST" })).json()
        clients[name].tokens = ++tokens
        return token
      }
    }
    const client = (clients[name] = new Sockudo(key, options))
    client.states = []
    client.problems = []
    client.heard = []
    client.connection.bind("state_change", ({ current, error }) => client.states.push([current, plain(error?.data), error?.entry ?? null]))
    client.connection.bind("error", (error) => client.problems.push(plain(error.data)))
    client.user.bind_global((event, data) => client.heard.push(["user", event, plain(data), null]))
    client.user.watchlist.bind_global((event, data) => client.heard.push(["watchlist", event, plain(data), null]))
    for (const event of ["recovered", "gap"]) client.bind(event, (data) => client.heard.push(["", event, plain(data), null]))
  },

  /** Asks for a channel, and notes what comes on it. */
  subscribe({ name, channel, options }) {
    const client = clients[name]
    const isNew = !client.channel(channel)
    const found = client.subscribe(channel, options)
    if (isNew) found.bind_global((event, data, metadata) => client.heard.push([channel, event, plain(data), plain(metadata)]))
  },

  same: (one, other) => JSON.stringify(one) === JSON.stringify(other),

  async until(condition, what) {
    const end = Date.now() + 30000
    for (let value; ; await new Promise((resolve) => setTimeout(resolve, 5))) {
      if ((value = condition())) return value
      if (Date.now() > end) throw new Error(`waited 30 s for ${what ?? condition}`)
    }
  },
}
