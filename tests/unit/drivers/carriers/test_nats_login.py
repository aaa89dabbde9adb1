"""What is shown to a NATS server, and what is wrong with a file of credentials."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from sockudo import errors
from sockudo.config.sections.nats import AdapterNats, NatsTls
from sockudo.drivers.carriers.nats_login import NatsLogin
from support.certificates import write_certificate
from support.nats_accounts import write_credentials


def test_who_logs_in_shows_what_is_configured() -> None:
    options = NatsLogin(AdapterNats(username="ann", password="pass")).options({}, tls=True)
    assert (options["user"], options["pass"], options["tls_required"], options["echo"]) == ("ann", "pass", True, True)
    assert NatsLogin(AdapterNats(token="word")).options({}, tls=False)["auth_token"] == "word"
    assert not {"user", "auth_token", "jwt"} & NatsLogin(AdapterNats()).options({}, tls=False).keys()


def test_the_nonce_of_the_server_is_signed_with_the_key_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "user.creds"
    write_credentials(path)
    login = NatsLogin(AdapterNats(credentials_path=str(path)))
    one, other = (login.options({"nonce": nonce}, tls=False) for nonce in ("a", "b"))
    assert one["jwt"] == other["jwt"]
    assert str(one["jwt"]) in path.read_text()
    signatures = [base64.urlsafe_b64decode(f"{options['sig']}==") for options in (one, other)]
    assert [len(signature) for signature in signatures] == [64, 64]
    assert signatures[0] != signatures[1]


@pytest.mark.parametrize("content", [None, "", "-----BEGIN NATS USER JWT-----\nx\n------END NATS USER JWT------", "é"])
def test_another_file_is_refused_with_its_setting(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "user.creds"
    if content is not None:
        path.write_text(content)
    with pytest.raises(errors.SockudoError, match=r"adapter.nats.credentials_path = .* is no file with"):
        NatsLogin(AdapterNats(credentials_path=str(path)))


def test_a_key_is_not_in_the_refusal_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "user.creds"
    write_credentials(path)
    seed = path.read_text().split("BEGIN USER NKEY SEED-----\n")[1].split("\n")[0]
    path.write_text(path.read_text().replace(seed, seed[:-8]))
    with pytest.raises(errors.SockudoError) as refused:
        NatsLogin(AdapterNats(credentials_path=str(path)))
    assert seed[:20] not in refused.value.text
    assert refused.value.__cause__ is None


def test_files_of_tls_that_do_not_fit_are_refused_with_their_setting(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path)
    (tmp_path / "other").mkdir()
    _, other = write_certificate(tmp_path / "other")
    fits = NatsTls(ca_path=str(certificate), client_cert_path=str(certificate), client_key_path=str(key))
    assert NatsLogin(AdapterNats(tls=fits)).tls().check_hostname
    wrong = NatsTls(client_cert_path=str(certificate), client_key_path=str(other))
    with pytest.raises(errors.SockudoError, match=r"adapter.nats.tls.client_cert_path cannot be used"):
        NatsLogin(AdapterNats(tls=wrong)).tls()
    with pytest.raises(errors.SockudoError, match=r"adapter.nats.tls.ca_path cannot be used"):
        NatsLogin(AdapterNats(tls=NatsTls(ca_path=str(key)))).tls()
