"""Stock pusher-js whose tabs share a connection, and ask for many signatures at once: its plug-ins of the client for
browsers, in headless Chromium."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext

from clients.node import install_packages
from clients.tabs import PageWithSockets, expect_connections, leader
from clients.web import BUILT, Site
from support.server import DEFAULT_APP, ServerProcess, app_record, start_server
from support.waiting import wait_until

RECOVERY = BUILT.parents[3] / "plugins" / "pusher-js" / "sockudo-recovery.js"

OPEN = """([key, port, plugins]) => {
  if (plugins.share) sockudoPusher.share(Pusher)
  globalThis.heard = []
  globalThis.pusher = new Pusher(key, {
    cluster: "local", wsHost: location.hostname, wsPort: port, forceTLS: false, enabledTransports: ["ws"],
    channelAuthorization: plugins.batch
      ? { customHandler: sockudoPusher.batched({ endpoint: "/auth" }) }
      : { endpoint: "/auth" },
    userAuthentication: { endpoint: "/user-auth" },
  })
  if (plugins.recovery) sockudoRecovery(pusher)
  pusher.user.bind_global((event, data) => heard.push(["user", event, data]))
}"""


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    app = app_record(DEFAULT_APP, channels={"v1_recovery": True})
    recovery = {"enabled": True, "max_buffer_size": 2000}
    with start_server({"connection_recovery": recovery, "app_manager": {"array": {"apps": [app]}}}) as running:
        yield running


class PusherTab(PageWithSockets):
    def subscribe(self, *channels: str) -> None:
        for channel in channels:
            self.page.evaluate(
                "(name) => { pusher.subscribe(name).bind_global((event, data) => heard.push([name, event, data])) }",
                channel,
            )
        for channel in channels:
            self.waits_for(channel, "pusher:subscription_succeeded")

    def heard(self, channel: str, event: str) -> list[Any]:
        found: list[list[Any]] = self.page.evaluate("heard")
        return [data for at, name, data in found if (at, name) == (channel, event)]

    def waits_for(self, channel: str, event: str, count: int = 1) -> Any:
        wait_until(lambda: len(self.heard(channel, event)) >= count, f"{event} on {channel}")
        return self.heard(channel, event)[count - 1]


@pytest.fixture(params=["pusher-js", "pusher-js-7"])
def tab(
    profile: BrowserContext, site: Site, server: ServerProcess, request: pytest.FixtureRequest
) -> Callable[..., PusherTab]:
    library = install_packages() / request.param / "dist" / "web" / "pusher.min.js"

    def open_one(**plugins: bool) -> PusherTab:
        opened = PusherTab(profile.new_page())
        opened.page.goto(site.origin)
        opened.page.add_script_tag(path=library)
        opened.page.add_script_tag(path=RECOVERY)
        opened.page.add_script_tag(url="/client/sockudo-pusher.js")
        chosen = {"share": True, "recovery": True, **plugins}
        opened.page.evaluate(OPEN, [site.app.key, server.port, chosen])
        opened.page.wait_for_function("pusher.connection.state === 'connected'")
        return opened

    return open_one


def say(server: ServerProcess, channel: str, *numbers: int) -> None:
    for number in numbers:
        server.publish(channel, "said", str(number))


def test_tabs_share(tab: Callable[..., PusherTab], site: Site, server: ServerProcess, unique: str) -> None:
    tabs = [tab() for _ in range(3)]
    private, presence = f"private-{unique}", f"presence-{unique}"
    for each in tabs:
        each.subscribe(private, presence)
    tabs[0].subscribe(unique)
    expect_connections(server, 1)
    for channel in (private, presence, unique):
        say(server, channel, 1)
    assert tabs[0].waits_for(unique, "said") == 1
    for each in tabs:
        for channel in (private, presence):
            assert each.waits_for(channel, "said") == 1
    assert tabs[1].heard(unique, "said") == []
    # V1 does not send an event back, and the other tabs have it all the same.
    assert tabs[0].page.evaluate("(name) => pusher.channel(name).trigger('client-said', 7)", presence)
    for each in tabs[1:]:
        assert each.waits_for(presence, "client-said") == 7
    assert tabs[0].heard(presence, "client-said") == []
    for each in tabs[1:]:
        each.page.evaluate("pusher.signin(), pusher.user.signinDonePromise.then(() => true)")
    server.publish(f"#server-to-user-{site.user['id']}", "invitation", "2")
    for each in tabs[1:]:
        assert each.waits_for("user", "invitation") == 2
    assert tabs[0].heard("user", "invitation") == []


def test_leader_ends(tab: Callable[..., PusherTab], server: ServerProcess, unique: str) -> None:
    tabs = [tab() for _ in range(4)]
    channels = [unique, f"private-{unique}"]
    for each in tabs:
        each.subscribe(*channels)
    said = 0
    for end in (PusherTab.close_page, PusherTab.crash, PusherTab.freeze):
        gone = leader(tabs)
        tabs.remove(gone)
        for channel in channels:
            say(server, channel, said)
        end(gone)
        for channel in channels:
            say(server, channel, said + 1)
        said += 2
        for each in tabs:
            for channel in channels:
                each.waits_for(channel, "said", said)
    for each in tabs:
        for channel in channels:
            assert each.heard(channel, "said") == list(range(said))
            assert each.heard(channel, "gap") == []


def test_channels_authorized_together(tab: Callable[..., PusherTab], site: Site, unique: str) -> None:
    opened = tab(share=False, recovery=False, batch=True)
    site.asked.clear()
    channels = [f"{kind}-{unique}-{number}" for kind in ("private", "presence") for number in range(60)]
    refused = f"private-forbidden-{unique}"
    opened.page.evaluate(
        """(names) => {
          for (const name of names) {
            pusher.subscribe(name).bind_global((event, data) => heard.push([name, event, data]))
          }
        }""",
        [*channels, refused],
    )
    opened.page.wait_for_function("pusher.allChannels().filter(({ subscribed }) => subscribed).length === 120")
    opened.waits_for(refused, "pusher:subscription_error")
    asked = sorted(name for form in site.asked for name in form["channel_names[]"])
    assert asked == sorted([*channels, refused])
    assert len(site.asked) == 2
