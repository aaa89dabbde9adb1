"""Credentials of push on the dashboard in a browser: what is in a chosen file is what is sent."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from browser.visitors import Chromium, Visitor, log_in
from support.operators import dashboard_config
from support.push_accounts import apns_key, apns_p12
from support.server import ServerProcess, start_server


@pytest.fixture(scope="module")
def server(chromium: Chromium) -> Iterator[ServerProcess]:
    del chromium
    push = {"apns_enabled": True, "credential_encryption_key": "planted-key", "apns": {"topic": "test.harbour"}}
    with start_server({**dashboard_config(), "push": push}) as running:
        yield running


def test_a_certificate_and_a_key_from_their_files(chromium: Chromium, server: ServerProcess, tmp_path: Path) -> None:
    certificate, key = tmp_path / "push.p12", tmp_path / "AuthKey.p8"
    certificate.write_bytes(base64.b64decode(apns_p12("planted-passphrase")))
    key.write_text(apns_key())
    refused = "the server responded with a status of 400"
    with Visitor(chromium, server, log_in(server), expected=[refused]) as visitor:
        page = visitor.open("/dashboard/push/credentials")
        form = page.get_by_role("region", name="APNs")
        form.get_by_label("Certificate and key, as .p12, from a file").set_input_files(certificate)
        expect(form.locator("[name=p12]")).to_have_value(apns_p12_text(certificate))
        form.get_by_role("button", name="Store").click()
        expect(page.get_by_role("region", name="APNs")).to_contain_text("p12 is protected by a passphrase")

        form = page.get_by_role("region", name="APNs")
        form.get_by_label("Certificate and key, as .p12, from a file").set_input_files(certificate)
        form.get_by_label("Passphrase of the .p12").fill("planted-passphrase")
        form.get_by_role("button", name="Store").click()
        expect(page.get_by_role("region", name="Who can send")).to_contain_text("apns version 1")

        form = page.get_by_role("region", name="APNs")
        form.get_by_label("Private key, from a file").set_input_files(key)
        expect(form.locator("[name=privateKey]")).to_have_value(apns_key())
        form.get_by_label("Team id").fill("TEAM")
        form.get_by_label("Key id").fill("KEY")
        form.get_by_label("Its id").fill("by-key")
        form.get_by_role("button", name="Store").click()
        expect(page.get_by_role("region", name="Who can send")).to_contain_text("by-key")


def apns_p12_text(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
