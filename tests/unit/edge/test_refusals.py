"""What operators learn of refused requests and upgrades: counted, on *Why?*, in the log, with the likely cause."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from sockudo.auth.tokens import make_token
from sockudo.config.sections.limits import ApiRateLimit
from sockudo.inspector import Group
from support.edge import EdgeNode, request, settings
from support.inside import credentials, live_app
from support.signing import Credentials, signed_query

SHOP, BLOG = live_app("shop"), live_app("blog")


@pytest.fixture
async def node() -> EdgeNode:
    return EdgeNode(SHOP, BLOG)


def told(node: EdgeNode) -> Group:
    [group] = node.gateway.inspector.problems.groups()
    return group


async def publish(node: EdgeNode, signer: Credentials, *, arrives: str, signed: str | None = None) -> int:
    query = signed_query(signer, "POST", signed or arrives, timestamp=int(node.clock.time()))
    return (await node.wire().ask(request("POST", f"{arrives}?{query}", {"content-length": "0"}))).status


class TestSignatures:
    async def test_a_wrong_secret_has_a_line_in_the_log_and_the_path_as_it_arrived(self, node: EdgeNode) -> None:
        with capture_logs() as log:
            wrong = Credentials("shop", SHOP.key, "no such secret")
            assert await publish(node, wrong, arrives="/apps/shop/events") == 401
        [line] = log
        assert (line["log_level"], line["error"], line["address"]) == ("warning", "signature_mismatch", "10.0.0.7")
        assert "POST /apps/shop/events" in line["likely_cause"]
        assert "no such secret" not in str(line)
        assert told(node).cause == line["likely_cause"]
        assert node.gateway.refused_requests["signature_mismatch"] == 1

    async def test_the_secret_of_another_app_is_named_to_operators_alone(self, node: EdgeNode) -> None:
        signer = Credentials("shop", SHOP.key, BLOG.record.secret)
        assert await publish(node, signer, arrives="/apps/shop/events") == 401
        assert told(node).cause == "signed with the secret of the app blog"
        assert "blog" not in str(told(node).for_app())

    async def test_a_prefix_that_a_proxy_strips_is_recognised(self, node: EdgeNode) -> None:
        status = await publish(node, credentials(SHOP), arrives="/apps/shop/events", signed="/ws/apps/shop/events")
        assert status == 401
        assert (told(node).cause or "").startswith("signed for a path with the prefix /ws, which a proxy strips")

    async def test_a_prefix_that_nobody_strips_is_recognised(self, node: EdgeNode) -> None:
        assert await publish(node, credentials(SHOP), arrives="/ws/apps/shop/events") == 404
        group = told(node)
        assert (group.error, group.last[0].request) == ("not_found", "POST /ws/apps/shop/events")
        assert (group.cause or "").startswith("the path has the prefix /ws, ")

    @pytest.mark.parametrize(
        ("app_id", "key", "cause"),
        [
            (SHOP.key, "shop", "the path has the key of the app shop in place of its id"),
            ("nowhere", SHOP.key, "no app has this id"),
            ("shop", "shop", "the id of the app shop in place of its key"),
            ("shop", SHOP.record.secret, "the secret of the app shop in place of its key"),
            ("shop", BLOG.key, "auth_key is that of the app blog, the path names the app shop"),
            ("shop", "blog", "the id of the app blog in place of its key"),
        ],
    )
    async def test_a_key_and_an_id_that_are_no_pair(self, node: EdgeNode, app_id: str, key: str, cause: str) -> None:
        await publish(node, Credentials(app_id, key, SHOP.record.secret), arrives=f"/apps/{app_id}/events")
        assert (told(node).cause or "").startswith(cause)
        if told(node).app_id is not None:
            assert "blog" not in str(told(node).for_app())

    async def test_a_secret_in_the_path_is_not_kept(self, node: EdgeNode) -> None:
        with capture_logs() as log:
            await publish(node, credentials(SHOP), arrives=f"/apps/{SHOP.record.secret}/events")
        assert SHOP.record.secret not in f"{log} {told(node)}"
        assert "the secret of the app shop" in (told(node).cause or "")


async def test_a_flood_is_not_searched_for_causes(node: EdgeNode) -> None:
    wrong = Credentials("shop", SHOP.key, BLOG.record.secret)
    for _ in range(60):
        await publish(node, wrong, arrives="/apps/shop/events")
    named, plain = node.gateway.inspector.problems.groups()[::-1]
    assert (named.cause, named.count) == ("signed with the secret of the app blog", 50)
    assert (plain.cause, plain.count) == (None, 10)


class TestWhatIsNoUpgrade:
    async def test_tls_spoken_to_a_plain_port(self, node: EdgeNode) -> None:
        reply = await node.wire().ask(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32))
        assert reply.status == 400
        group = told(node)
        assert (group.error, group.last[0].text) == ("malformed_request", "TLS is spoken to a plain port")
        assert "https or wss" in (group.cause or "")

    @pytest.mark.parametrize("data", [b"\x16\x03\x01\x02\x00", b"\xff", b"GET", b" / \r\n"])
    async def test_garbage_is_told_of_behind_a_trusted_proxy_as_well(self, data: bytes) -> None:
        trusting = {"enabled": True, "api_rate_limit": ApiRateLimit(trust_hops=1)}
        node = EdgeNode(SHOP, settings=settings(rate_limiter=trusting))
        node.wire().feed(data)
        node.clock.advance(61)
        node.edge.sweep(node.clock.monotonic())
        assert told(node).error in ("malformed_request", "request_timeout")

    async def test_a_request_that_is_too_large_is_told_of(self, node: EdgeNode) -> None:
        await node.wire().ask(request("POST", "/apps/shop/events", {"content-length": "99999999"}))
        assert told(node).error == "body_too_large"

    async def test_a_proxy_that_drops_the_upgrade_header(self, node: EdgeNode) -> None:
        reply = await node.wire().ask(request("GET", f"/app/{SHOP.key}?protocol=7"))
        assert reply.status == 400
        group = told(node)
        assert (group.kind, group.app_id, group.error) == ("connect_refused", "shop", "upgrade_invalid")
        assert "no Upgrade header: a proxy strips it" in (group.cause or "")

    async def test_what_doctor_asks_on_purpose_is_no_problem(self, node: EdgeNode) -> None:
        probe = request("GET", f"/app/{SHOP.key}", {"User-Agent": "sockudo-doctor/1.0"})
        assert (await node.wire().ask(probe)).status == 400
        assert node.gateway.refused_requests == {"upgrade_invalid": 1}
        assert node.gateway.inspector.problems.groups() == []

    async def test_a_websocket_behind_a_prefix(self, node: EdgeNode) -> None:
        socket = node.socket()
        assert socket.upgrade("/ws/app/key-shop?protocol=7").status == 404
        group = told(node)
        assert (group.error, group.last[0].request) == ("not_found", "/ws/app/key-shop")
        assert "the path has the prefix /ws" in (group.cause or "")

    async def test_what_scanners_ask_for_is_counted_and_no_more(self, node: EdgeNode) -> None:
        with capture_logs() as log:
            for path in ("/wp-login.php", "/.env", "/api/users"):
                assert (await node.wire().ask(request("GET", path))).status == 404
        assert node.gateway.refused_requests == {"not_found": 3}
        assert node.gateway.inspector.problems.groups() == []
        assert log == []


async def test_a_token_of_another_app_is_recognised(node: EdgeNode) -> None:
    token = make_token(SHOP.key, BLOG.record.secret, "ana", {"*": ["subscribe"]}, 60, node.clock.time())
    socket = node.socket()
    socket.upgrade(f"/app/{SHOP.key}?protocol=2&token={token}")
    group = told(node)
    assert (group.error, group.cause) == ("token_refused", "signed with the secret of the app blog")
    assert "blog" not in str(group.for_app())


async def test_a_refused_connection_has_a_line_in_the_log(node: EdgeNode) -> None:
    with capture_logs() as log:
        node.socket().upgrade("/app/shop?protocol=7")
    lines: list[dict[str, Any]] = [dict(line) for line in log if line["log_level"] == "warning"]
    [line] = lines
    assert (line["error"], line["address"]) == ("unknown_app", "10.0.0.7")
    assert line["likely_cause"] == "the id of the app shop in place of its key"
