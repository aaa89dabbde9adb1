"""A plain Starlette route that checks a signed publish and answers it: the HTTP side without tricks."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import time

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

KEY, SECRET = "app-key", b"app-secret"


def is_signed(request: Request, body: bytes) -> bool:
    query = dict(request.query_params)
    signature = query.pop("auth_signature", "")
    canonical = "\n".join([request.method, request.url.path, "&".join(f"{key}={query[key]}" for key in sorted(query))])
    wanted = hmac.new(SECRET, canonical.encode(), hashlib.sha256).hexdigest()
    return (
        query.get("auth_key") == KEY
        and abs(time.time() - int(query.get("auth_timestamp", "0"))) <= 600
        and query.get("body_md5") == hashlib.md5(body).hexdigest()
        and hmac.compare_digest(wanted, signature)
    )


async def publish(request: Request) -> JSONResponse:
    body = await request.body()
    if not is_signed(request, body):
        return JSONResponse({"error": "Invalid signature"}, status_code=401)
    event = json.loads(body)
    if not (isinstance(event["name"], str) and isinstance(event["channel"], str) and isinstance(event["data"], str)):
        return JSONResponse({"error": "name, channel and data must be strings"}, status_code=400)
    return JSONResponse({})


app = Starlette(routes=[Route("/apps/{app_id}/events", publish, methods=["POST"])])

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), loop="uvloop", http="httptools", access_log=False, log_level="warning")
