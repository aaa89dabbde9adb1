"""What pages rely on, from the documentation of pusher-js: one table, run over pusher-js and the client for browsers.

Both are made with the same options. Where they differ on purpose stands in docs/browser.md.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from clients.node import Node
from clients.web import Site, in_node
from support.server import NUMERIC_APP, ServerProcess, start_server

_names = itertools.count(1)

# A row has `open(options)`, which gives a client, `publish(channel, event, data)`, `until(condition)`,
# `subscribed(channel)` and `name`, a name of a channel that no other row has.
TABLE: dict[str, tuple[str, Any]] = {
    "listeners are called in the order of binding": (
        """const channel = await subscribed(open().subscribe(name))
        const order = []
        channel.bind("said", () => order.push(1)).bind("said", () => order.push(2)).bind("said", () => order.push(3))
        await publish(name, "said", {})
        await until(() => order.length === 3)
        return order""",
        [1, 2, 3],
    ),
    "unbind takes away what all of its arguments fit": (
        """const channel = await subscribed(open().subscribe(name))
        const heard = [], context = { word: "context" }
        const one = () => heard.push("one"), two = () => heard.push("two")
        channel.bind("said", one).bind("said", two).bind("other", one)
        channel.bind("said", function () { heard.push(this.word) }, context)
        const ask = async (event) => {
          ends = 0
          await publish(name, event, {}), await publish(name, "end", {})
          await until(() => ends)
        }
        let ends = 0
        channel.bind_global((event) => event === "end" && ends++)
        await ask("said"); heard.push("|")
        channel.unbind("said", one)
        await ask("said"); heard.push("|")
        channel.unbind(null, null, context)
        await ask("said"); heard.push("|")
        channel.unbind("said")
        await ask("said"); await ask("other"); heard.push("|")
        channel.unbind()
        await ask("other")
        return heard.join(" ")""",
        "one two context | two context | two | one |",
    ),
    "the client hears every channel": (
        """const client = open(), heard = []
        client.bind("said", (data) => heard.push(data.from))
        await subscribed(client.subscribe(name)), await subscribed(client.subscribe(name + "-2"))
        await publish(name, "said", { from: 1 })
        await publish(name + "-2", "said", { from: 2 })
        await until(() => heard.length === 2)
        return heard""",
        [1, 2],
    ),
    "global listeners get the name and the data": (
        """const client = open(), channel = await subscribed(client.subscribe(name)), heard = []
        const quiet = () => heard.push("never")
        channel.bind_global(quiet)
        channel.unbind_global(quiet)
        channel.bind_global((event, data) => heard.push(["channel", event, data]))
        client.bind_global((event, data) => heard.push(["client", event, data]))
        await publish(name, "said", { text: "hello" })
        await until(() => heard.length === 2)
        return heard.sort()""",
        [["channel", "said", {"text": "hello"}], ["client", "said", {"text": "hello"}]],
    ),
    "unbind_all leaves nothing": (
        """const channel = await subscribed(open().subscribe(name)), heard = []
        channel.bind("said", () => heard.push("named")).bind_global(() => heard.push("global"))
        channel.unbind_all()
        channel.bind("end", () => heard.push("end"))
        await publish(name, "said", {}), await publish(name, "end", {})
        await until(() => heard.includes("end"))
        return heard""",
        ["end"],
    ),
    "data is JSON where it can be": (
        """const channel = await subscribed(open().subscribe(name)), heard = []
        channel.bind("said", (data) => heard.push(data))
        for (const data of [{ a: [1] }, "no JSON", 7, null]) await publish(name, "said", data)
        await until(() => heard.length === 4)
        return heard""",
        [{"a": [1]}, "no JSON", 7, None],
    ),
    "a channel is the same as long as it is subscribed to": (
        """const client = open(), channel = client.subscribe(name)
        const same = client.subscribe(name) === channel && client.channel(name) === channel
        const listed = client.allChannels().map(({ name }) => name)
        await subscribed(channel)
        client.unsubscribe(name)
        await until(() => !client.channel(name))
        return [same, listed.length, client.allChannels().length]""",
        [True, 1, 0],
    ),
    "what is bound stays bound to a channel that is left": (
        """const client = open(), channel = await subscribed(client.subscribe(name)), heard = []
        channel.bind("said", (data) => heard.push(data))
        client.unsubscribe(name)
        await until(() => !client.channel(name))
        const other = await subscribed(client.subscribe(name))
        other.bind("said", (data) => heard.push(["other", data]))
        await publish(name, "said", 1)
        await until(() => heard.length === 1)
        return heard""",
        [["other", 1]],
    ),
    "states and their events": (
        """const client = open(), states = [client.connection.state], heard = []
        client.connection.bind("state_change", ({ previous, current }) => states.push(`${previous}>${current}`))
        client.connection.bind("connected", () => heard.push("connected"))
        client.connection.bind("disconnected", () => heard.push("disconnected"))
        await until(() => client.connection.state === "connected")
        const id = client.connection.socket_id
        client.disconnect()
        return [states, heard, /^\\d+\\.\\d+$/.test(id), client.connection.state]""",
        [
            ["connecting", "connecting>connected", "connected>disconnected"],
            ["connected", "disconnected"],
            True,
            "disconnected",
        ],
    ),
    "connect after disconnect subscribes again": (
        """const client = open(), channel = await subscribed(client.subscribe(name)), heard = []
        channel.bind("said", (data) => heard.push(data))
        client.disconnect()
        let again = 0
        channel.bind("pusher:subscription_succeeded", () => again++)
        client.connect()
        await until(() => again === 1)
        await publish(name, "said", 1)
        await until(() => heard.length === 1)
        return heard""",
        [1],
    ),
    "presence: members, me, get, each, count": (
        """const channel = open().subscribe("presence-" + name)
        const members = await new Promise((resolve) => channel.bind("pusher:subscription_succeeded", resolve))
        const each = []
        members.each(({ id, info }) => each.push([id, info]))
        return [members === channel.members, members.count, members.me, members.myID, members.get("nobody"), each]""",
        [
            True,
            1,
            {"id": "ana", "info": {"name": "Ána"}},
            "ana",
            None,
            [["ana", {"name": "Ána"}]],
        ],
    ),
    "presence: who comes and goes": (
        """const channel = await subscribed(open().subscribe("presence-" + name)), heard = []
        const { members } = channel
        channel.bind("pusher:member_added", ({ id, info }) => heard.push(["added", id, info.name, members.count]))
        channel.bind("pusher:member_removed", ({ id }) => heard.push(["removed", id, members.count]))
        const other = open({ channelAuthorization: { endpoint: target.as } })
        await subscribed(other.subscribe("presence-" + name))
        await until(() => heard.length === 1)
        other.disconnect()
        await until(() => heard.length === 2)
        return heard""",
        [["added", "ben", "Ben", 2], ["removed", "ben", 1]],
    ),
    "client events: their names, and what trigger gives": (
        """const client = open(), channel = client.subscribe("private-" + name)
        let refusal = null
        try { channel.trigger("said", {}) } catch (error) { refusal = error instanceof Error }
        await subscribed(channel)
        return [refusal, channel.trigger("client-said", { a: 1 })]""",
        [True, True],
    ),
    "client events of members say who sent them": (
        """const [ana, other] = [open(), open({ channelAuthorization: { endpoint: target.as } })]
        const heard = []
        const channel = await subscribed(ana.subscribe("presence-" + name))
        channel.bind("client-said", (data, { user_id }) => heard.push([data, user_id]))
        const theirs = await subscribed(other.subscribe("presence-" + name))
        theirs.trigger("client-said", { a: 1 })
        await until(() => heard.length === 1)
        return heard""",
        [[{"a": 1}, "ben"]],
    ),
    "a refused subscription": (
        """const channel = open().subscribe("private-forbidden-" + name)
        const { type, status } = await new Promise((resolve) => channel.bind("pusher:subscription_error", resolve))
        return [type, status]""",
        ["AuthError", 403],
    ),
    "a key that no app has": (
        """const client = open({}, "no-app")
        const { error } = await new Promise((resolve) => client.connection.bind("error", resolve))
        await until(() => client.connection.state === "disconnected")
        return [error.data.code, typeof error.data.message]""",
        [4001, "string"],
    ),
    "the last event of a cache channel": (
        """await publish("cache-" + name, "rate", 2)
        const channel = open().subscribe("cache-" + name)
        return await new Promise((resolve) => channel.bind("rate", resolve))""",
        2,
    ),
    "a cache channel without an event": (
        """const channel = open().subscribe("cache-" + name)
        await new Promise((resolve) => channel.bind("pusher:cache_miss", resolve))
        return true""",
        True,
    ),
    "signing in": (
        """const client = open(), heard = []
        client.bind("pusher:signin_success", () => heard.push("success"))
        client.signin()
        await until(() => client.user.user_data && heard.length)
        return [client.user.user_data.id, heard]""",
        ["ana", ["success"]],
    ),
    "events for a user": (
        """const client = open(), heard = []
        client.signin()
        await until(() => client.user.user_data)
        client.user.bind("invited", (data) => heard.push(data))
        await backend.sendToUser("ana", "invited", { to: name })
        await until(() => heard.length)
        return heard[0].to === name""",
        True,
    ),
    "listeners may be bound before there is a connection": (
        """const client = open(), heard = []
        client.subscribe(name).bind("pusher:subscription_succeeded", () => heard.push(client.connection.state))
        await until(() => heard.length)
        return heard""",
        ["connected"],
    ),
}

PRELUDE = """async ([kind, target, name]) => {
  const { app, host, port } = target
  const Class = kind === "pusher-js" ? require("pusher-js") : Sockudo
  const Backend = require("pusher")
  const backend = new Backend({ appId: app.id, key: app.key, secret: app.secret, host, port, useTLS: false })
  const publish = (channel, event, data) => backend.trigger(channel, event, data)
  const opened = []
  const open = (options = {}, key = app.key) => {
    const client = new Class(key, {
      cluster: "", wsHost: host, wsPort: port, forceTLS: false, enabledTransports: ["ws"],
      channelAuthorization: { endpoint: target.auth }, userAuthentication: { endpoint: target.user },
      ...options,
    })
    opened.push(client)
    return client
  }
  const until = (condition) => lab.until(condition)
  const subscribed = (channel) => new Promise((resolve) => {
    if (channel.subscribed === true || channel.state === "subscribed") resolve(channel)
    else channel.bind("pusher:subscription_succeeded", () => resolve(channel))
  })
  try { ROW } finally { for (const client of opened) client.disconnect() }
}"""


class TwoUsers(Site):
    """Signs for ``ana``, and at a path of its own for ``ben``."""

    def _sign(self, path: str, form: Any) -> tuple[int, Any]:
        self.user = {"id": "ben", "user_info": {"name": "Ben"}} if path == "/ben" else ANA
        return super()._sign(path, form)


ANA = {"id": "ana", "user_info": {"name": "Ána"}}


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with start_server() as running:
        yield running


@pytest.fixture(scope="module")
def target(server: ServerProcess) -> Iterator[dict[str, Any]]:
    with TwoUsers(NUMERIC_APP) as site:
        yield {
            "app": {"id": NUMERIC_APP.id, "key": NUMERIC_APP.key, "secret": NUMERIC_APP.secret},
            "host": server.host,
            "port": server.port,
            "auth": f"{site.origin}/auth",
            "as": f"{site.origin}/ben",
            "user": f"{site.origin}/user-auth",
        }


@pytest.mark.parametrize("kind", ["pusher-js", "sockudo"])
@pytest.mark.parametrize("row", TABLE)
def test_behaviour(row: str, kind: str, web_node: Node, target: dict[str, Any]) -> None:
    code, expected = TABLE[row]
    run = in_node(web_node)
    assert run(PRELUDE.replace("ROW", code), [kind, target, f"row-{next(_names)}"]) == expected
