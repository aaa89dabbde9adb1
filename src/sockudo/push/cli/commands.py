"""The table of ``sockudo push``."""

from __future__ import annotations

from sockudo.cli.groups import command_group
from sockudo.push.cli.credentials import app as credentials
from sockudo.push.cli.devices import app as devices
from sockudo.push.cli.letters import dead_letters, replay
from sockudo.push.cli.options import EXIT_CODES, example
from sockudo.push.cli.publishing import cancel, publish, status
from sockudo.push.cli.trial import try_provider
from sockudo.push.cli.vapid import vapid
from sockudo.push.cli.why import why

__all__ = ["app"]

app = command_group("Send notifications to phones and browsers, and see what became of each.", EXIT_CODES)

for _name, _command, _example in (
    ("publish", publish, "sockudo push publish --channel parcel-8841 --title Shipped --body 'On its way' --wait"),
    ("status", status, "sockudo push status ship-8841 --deliveries"),
    ("why", why, "sockudo push why u-91"),
    ("cancel", cancel, "sockudo push cancel ship-8841"),
    ("dead-letters", dead_letters, "sockudo push dead-letters --provider fcm --since 2026-01-05"),
    ("replay", replay, "sockudo push replay --all --provider fcm"),
    ("test", try_provider, "sockudo push test fcm --device tablet-7"),
    ("vapid", vapid, "sockudo push vapid --contact mailto:ops@example.com > push.env"),
):
    app.command(_name, epilog=example(_example))(_command)

app.add_typer(devices, name="devices")
app.add_typer(credentials, name="credentials")
