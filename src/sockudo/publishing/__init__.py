"""What backends do over HTTP: publish events, ask about channels."""

from sockudo.publishing.answers import OK
from sockudo.publishing.event_api import EventApi
from sockudo.publishing.publisher import Publisher
from sockudo.publishing.queries import channel_state, channel_users, list_channels

__all__ = ["OK", "EventApi", "Publisher", "channel_state", "channel_users", "list_channels"]
