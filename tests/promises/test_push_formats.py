"""What providers get from a running server, read by others' code: http_ece for bodies, PyJWT for tokens."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path

import http_ece
import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from support.push_accounts import apns_key, public_key_of, service_account
from support.push_ground import ground

SECRET = b"0123456789abcdef"


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def test_a_browsers_body_and_who_signs_for_it(tmp_path: Path) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    point = private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    with ground(tmp_path) as place, place.server() as server:
        recipient = {
            "transportType": "web",
            "endpoint": place.mock.endpoint_of("lea"),
            "p256dh": base64url(point),
            "auth": base64url(SECRET),
        }
        server.register("browser", "news", recipient=recipient)
        accepted = server.publish("to-browsers")
        assert server.ended("to-browsers")["state"] == "succeeded"
        [request] = place.requests
    plain = http_ece.decrypt(request.body, private_key=private, auth_secret=SECRET, version="aes128gcm")
    shown = next(each["payload"] for each in accepted["renderedPayloads"] if each["provider"] == "webPush")
    assert json.loads(plain) == shown
    assert "topic" not in request.headers
    fields = dict(
        part.strip().split("=", 1) for part in request.headers["authorization"].removeprefix("vapid ").split(",")
    )
    padded = fields["k"] + "=" * (-len(fields["k"]) % 4)
    signer = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), base64.urlsafe_b64decode(padded))
    claims = jwt.decode(fields["t"], signer, algorithms=["ES256"], audience=place.mock.url)
    assert time.time() < claims["exp"] <= time.time() + 24 * 3600
    assert claims["sub"].startswith("mailto:")


def test_a_google_account_of_the_apps_own_asks_for_its_access_token(tmp_path: Path) -> None:
    with ground(tmp_path) as place, place.server() as server:
        account = json.loads(service_account(f"{place.mock.url}/token"))
        server.done("POST", "/credentials/fcm", {"serviceAccountJson": account})
        server.register("phone", "news")
        server.publish("to-phones")
        assert server.ended("to-phones")["state"] == "succeeded"
        asked = [each for each in place.mock.requests if each.provider == "oauth"]
        [sent] = place.requests
    [request] = asked
    assertion = dict(part.split("=", 1) for part in request.body.decode().split("&"))["assertion"]
    claims = jwt.decode(assertion, public_key_of("rsa"), algorithms=["RS256"], audience=account["token_uri"])
    assert claims["iss"] == "push@harbour.test"
    assert claims["scope"] == "https://www.googleapis.com/auth/firebase.messaging"
    assert claims["exp"] - claims["iat"] == 3600
    assert jwt.get_unverified_header(assertion)["kid"] == "key-7"
    # Of the app's own project, with what was exchanged, not with what the whole process has.
    assert sent.path == "/v1/projects/harbour/messages:send"
    assert sent.headers["authorization"].startswith("Bearer mock-")


def test_an_apple_key_of_the_apps_own_signs_its_tokens(tmp_path: Path) -> None:
    with ground(tmp_path) as place, place.server() as server:
        server.done("POST", "/credentials/apns", {"teamId": "TEAM", "keyId": "KEY", "privateKey": apns_key()})
        server.register("phone", "news", recipient={"transportType": "apns", "deviceToken": "apple-1"})
        server.publish("to-phones")
        assert server.ended("to-phones")["state"] == "succeeded"
        [sent] = place.requests
    token = sent.headers["authorization"].removeprefix("bearer ").removeprefix("Bearer ")
    claims = jwt.decode(token, public_key_of("ec"), algorithms=["ES256"])
    assert (claims["iss"], jwt.get_unverified_header(token)["kid"]) == ("TEAM", "KEY")
    assert abs(claims["iat"] - time.time()) < 60
    assert sent.headers["apns-topic"] == "test.harbour"
    assert json.loads(sent.body)["aps"]["alert"]["title"] == "Shipped"
