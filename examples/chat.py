"""A chat in the terminal, against `sockudo serve --dev`: python examples/chat.py NAME [PORT]"""

import asyncio
import sys
import threading
import uuid

from sockudo_http_python import Config, Sockudo, TriggerOptions
from sockudo_python import SockudoClient, SockudoOptions, SubscriptionOptions, SubscriptionRewind

NAME, PORT = sys.argv[1], int(sys.argv[2]) if sys.argv[2:] else 6001


async def listen() -> None:
    options = SockudoOptions("local", ws_host="127.0.0.1", ws_port=PORT, force_tls=False, connection_recovery=True)
    options.max_reconnect_attempts = 0  # the client's own attempts end with the first that fails
    client = SockudoClient("app-key", options)
    room = client.subscribe("chat", SubscriptionOptions(rewind=SubscriptionRewind(count=50)))
    room.bind("said", lambda message, _: print(f"{message['name']}: {message['text']}", flush=True))
    while True:
        await asyncio.gather(client.connect(), asyncio.sleep(0.5), return_exceptions=True)  # nothing while connected


threading.Thread(target=asyncio.run, args=[listen()], daemon=True).start()
api = Sockudo(Config("1001", "app-key", "app-secret", port=PORT))
for line in sys.stdin:
    once = TriggerOptions(idempotency_key=uuid.uuid4().hex)  # said once, however often it is sent
    while api.trigger("chat", "said", {"name": NAME, "text": line.strip()}, once).status.should_retry():
        pass  # the server is away
