"""Which addresses devices may bring along (spec: push § 3)."""

from __future__ import annotations

import pytest

from sockudo import errors
from sockudo.errors import SockudoError
from sockudo.outbound.addresses import is_public
from sockudo.push.endpoints import EndpointRules

RULES = EndpointRules(is_public)


def problem(url: str, rules: EndpointRules = RULES) -> str | None:
    try:
        rules.check(url)
    except SockudoError as found:
        refused = found
    else:
        return None
    assert refused.spec is errors.PROVIDER_TOKEN_INVALID
    assert url not in refused.text or len(url) < 3
    return refused.text


@pytest.mark.parametrize(
    "url",
    [
        "https://fcm.googleapis.com/fcm/send/abc:def",
        "https://updates.push.services.mozilla.com:443/wpush/v2/x?y=z",
        "HTTPS://EXAMPLE.COM/x",
        "https://93.184.216.34/x",
        "https://[2606:2800:220:1::1]/x",
        "https://xn--bcher-kva.example/x",
        "https://local.example.com/x",
    ],
)
def test_public_addresses(url: str) -> None:
    assert problem(url) is None


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://example.com/x", "endpoint must be an https URL"),
        ("ftp://example.com/x", "endpoint must be an https URL"),
        ("", "endpoint must be an absolute https URL"),
        ("example.com/x", "endpoint must be an absolute https URL"),
        ("/x", "endpoint must be an absolute https URL"),
        ("https://", "endpoint must be an absolute https URL"),
        ("https:///x", "endpoint must be an absolute https URL"),
        ("https://exa mple.com/x", "endpoint must be an absolute https URL"),
        ("https://exa\nmple.com/x", "endpoint must be an absolute https URL"),
        ("https://example.com\\@127.0.0.1/", "endpoint must be an absolute https URL"),
        ("https://ｅxample.com/x", "endpoint must be an absolute https URL"),
        ("https://example.com:99999/x", "endpoint must be an absolute https URL"),
        ("https://example.com:0/x", "endpoint must be an absolute https URL"),
        ("https://[::1", "endpoint must be an absolute https URL"),
        ("https://u@example.com/x", "endpoint must not have a user or a password"),
        ("https://u:p@example.com/x", "endpoint must not have a user or a password"),
        ("https://:443/x", "endpoint must have a host"),
        ("https://./x", "endpoint must have a host"),
        *(
            (f"https://{host}/x", "endpoint must not have a local or private host")
            for host in (
                "localhost",
                "LOCALHOST.",
                "x.localhost",
                "printer.local",
                "metadata.google.internal",
                "127.0.0.1",
                "127.0.0.1.",
                "127.1",
                "2130706433",
                "0x7f000001",
                "0x7f.0.0.1",
                "1.2.3.0x",
                "0177.0.0.1",
                "10.1.2.3",
                "172.16.0.1",
                "192.168.0.1",
                "169.254.169.254",
                "224.0.0.1",
                "0.0.0.0",
                "255.255.255.255",
                "192.0.2.1",
                "[::1]",
                "[::]",
                "[::ffff:127.0.0.1]",
                "[fe80::1]",
                "[fd00::1]",
                "[ff02::1]",
                "[2001:db8::1]",
                "[::ffff:10.0.0.1]:8443",
            )
        ),
    ],
)
def test_what_is_refused(url: str, told: str) -> None:
    assert problem(url) == told


def test_the_field_is_named_as_it_is_asked_for() -> None:
    with pytest.raises(SockudoError, match=r"^channelUri must be an https URL$"):
        RULES.check("http://x.test", "channelUri")


def test_lists_of_hosts() -> None:
    rules = EndpointRules(is_public, allowed=("push.example", " .Windows.com "), denied=("bad.windows.com",))
    assert problem("https://push.example/x", rules) is None
    assert problem("https://PUSH.example./x", rules) is None
    assert problem("https://a.windows.com/x", rules) is None
    named = "endpoint has a host that PUSH_WEBPUSH_ALLOWED_HOSTS does not name"
    assert problem("https://a.push.example/x", rules) == named
    assert problem("https://windows.com/x", rules) == named
    assert problem("https://evilwindows.com/x", rules) == named
    denied = "endpoint has a host that PUSH_WEBPUSH_DENIED_HOSTS denies"
    assert problem("https://bad.windows.com/x", rules) == denied
    assert problem("https://a.example/x", EndpointRules(is_public, denied=(".example",))) == denied
    assert problem("https://a.example/x", EndpointRules(is_public, allowed=("", " "))) is None


def test_local_ones_are_allowed_for_tests_and_lists_hold_all_the_same() -> None:
    rules = EndpointRules(is_public, denied=("10.0.0.1",), allow_local=True)
    for url in ("http://127.0.0.1:8080/x", "https://localhost/x", "http://printer.local/x", "https://[::1]/x"):
        assert problem(url, rules) is None
    assert problem("ftp://127.0.0.1/x", rules) == "endpoint must be an https URL"
    assert problem("http://u@127.0.0.1/x", rules) == "endpoint must not have a user or a password"
    assert problem("http://10.0.0.1/x", rules) == "endpoint has a host that PUSH_WEBPUSH_DENIED_HOSTS denies"
