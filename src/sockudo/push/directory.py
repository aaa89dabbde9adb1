"""What is kept for push besides publishes, in one place: devices, subscriptions, credentials, templates."""

from __future__ import annotations

from sockudo.base.clock import Clock
from sockudo.push.credentials import CredentialCheck, Credentials
from sockudo.push.device_tokens import DeviceTokens
from sockudo.push.endpoints import EndpointRules
from sockudo.push.envelopes import Envelopes
from sockudo.push.ports import PushStore
from sockudo.push.registrations import Registrations
from sockudo.push.removals import Removals
from sockudo.push.subscriptions import Subscriptions
from sockudo.push.templates import Templates

__all__ = ["Directory"]


class Directory:
    """The store is opened and closed by whoever made it; close this one before it. ``removals`` hears of apps that are
    removed, and is run by whoever made it.
    """

    def __init__(
        self,
        store: PushStore,
        rules: EndpointRules,
        envelopes: Envelopes,
        clock: Clock,
        check_credential: CredentialCheck,
        *,
        tokens: DeviceTokens | None = None,
        removals: Removals | None = None,
    ) -> None:
        self.clock = clock
        self._tokens = tokens or DeviceTokens()
        self.devices = Registrations(store, self._tokens, rules, self.now_ms)
        self.subscriptions = Subscriptions(store, self.devices, self.now_ms)
        self.credentials = Credentials(store, envelopes, clock, check_credential)
        self.removals = removals
        self.templates = Templates(store, rules, self.now_ms)

    def now_ms(self) -> int:
        """The time of day in milliseconds."""
        return int(self.clock.time() * 1000)

    def close(self) -> None:
        """Calling it twice does no harm."""
        self._tokens.close()
