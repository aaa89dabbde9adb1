"""The routes of devices, subscriptions, credentials and templates (spec: push § 2, 2.1 to 2.3)."""

from __future__ import annotations

from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from starlette.responses import Response
from starlette.routing import Route

from sockudo import errors
from sockudo.auth.signing import path_part
from sockudo.push.bodies import device_from, subscription_from, template_from
from sockudo.push.credentials import credential_from
from sockudo.push.directory import Directory
from sockudo.push.http.common import Asked, body_of, page_of, page_reply, parameter, push_route, reply
from sockudo.push.recipients import ROUTE_NAMES, Provider
from sockudo.push.services import PushServices
from sockudo.push.validation import check_id

if TYPE_CHECKING:
    from sockudo.edge.context import Edge

__all__ = ["push_directory_routes"]

_CREDENTIALS_OF: Final[dict[str, Provider]] = {
    route: provider for provider, route in ROUTE_NAMES.items() if provider != "realtime"
}
_YES: Final = frozenset({"1", "true", "TRUE", "yes"})


def push_directory_routes(edge: Edge, services: PushServices) -> list[Route]:
    """All of them; they work whether a provider is switched on or not."""
    directory, route = _Routes(services), partial(push_route, edge, services)
    devices, subscriptions = "/deviceRegistrations", "/channelSubscriptions"
    return [
        route("POST", "/credentials/{provider}", directory.put_credential, admin=False),
        route("GET", "/credentials", directory.credentials),
        route("POST", "/templates", directory.put_template, admin=False),
        route("GET", "/templates", directory.templates),
        route("GET", "/templates/{template_id}", directory.template),
        route("DELETE", "/templates/{template_id}", directory.delete_template),
        route("POST", devices, directory.register, admin=False),
        route("GET", devices, directory.devices),
        route("DELETE", devices, directory.delete_devices),
        route("GET", f"{devices}/{{device_id}}", directory.device, admin=False),
        route("DELETE", f"{devices}/{{device_id}}", directory.delete_device, admin=False),
        route("POST", subscriptions, directory.subscribe, admin=False),
        route("GET", subscriptions, directory.subscriptions, admin=False),
        route("DELETE", subscriptions, directory.unsubscribe, admin=False),
        route("GET", f"{subscriptions}/channels", directory.channels),
    ]


class _Routes:
    def __init__(self, services: PushServices) -> None:
        self._services = services

    @property
    def _directory(self) -> Directory:
        return self._services.storage.service.directory

    # ---- credentials and templates ----

    async def put_credential(self, asked: Asked) -> Response:
        provider = _CREDENTIALS_OF.get(path_part(asked.request, "provider"))
        if provider is None:
            raise errors.NOT_FOUND(f"There are no push credentials but of {', '.join(_CREDENTIALS_OF)}")
        wanted = credential_from(await body_of(asked), provider)
        asked.access.require_admin()
        return reply(await self._directory.credentials.put(asked.app_id, wanted), 201)

    async def credentials(self, asked: Asked) -> Response:
        return page_reply(await self._directory.credentials.page(page_of(asked, "credentials")))

    async def put_template(self, asked: Asked) -> Response:
        template = template_from(await body_of(asked), asked.app_id)
        asked.access.require_admin()
        return reply(await self._directory.templates.put(template), 201)

    async def templates(self, asked: Asked) -> Response:
        return page_reply(await self._directory.templates.page(page_of(asked, "templates")))

    async def template(self, asked: Asked) -> Response:
        return reply(await self._directory.templates.view(asked.app_id, path_part(asked.request, "template_id")))

    async def delete_template(self, asked: Asked) -> Response:
        await self._directory.templates.delete(asked.app_id, path_part(asked.request, "template_id"))
        return Response(status_code=204)

    # ---- devices ----

    async def register(self, asked: Asked) -> Response:
        device = device_from(await body_of(asked), asked.app_id)
        rotate = asked.request.headers.get("x-sockudo-rotate-device-identity-token") in _YES
        return reply(await self._directory.devices.register(asked.access, device, rotate=rotate), 201)

    async def devices(self, asked: Asked) -> Response:
        client_id = parameter(asked, "clientId", "client_id")
        return page_reply(await self._directory.devices.page(page_of(asked, _kind("devices", client_id)), client_id))

    async def delete_devices(self, asked: Asked) -> Response:
        client_id = parameter(asked, "clientId", "client_id")
        deleted = await self._directory.devices.delete_of(asked.app_id, client_id)
        return reply({"deleted": deleted, "consistency": "eventual"})

    async def device(self, asked: Asked) -> Response:
        device_id = path_part(asked.request, "device_id")
        return reply(await self._directory.devices.view(asked.access, asked.app_id, device_id))

    async def delete_device(self, asked: Asked) -> Response:
        await self._directory.devices.delete(asked.access, asked.app_id, path_part(asked.request, "device_id"))
        return Response(status_code=204)

    # ---- subscriptions ----

    async def subscribe(self, asked: Asked) -> Response:
        wanted = subscription_from(await body_of(asked))
        return reply(await self._directory.subscriptions.put(asked.access, asked.app_id, wanted), 201)

    async def subscriptions(self, asked: Asked) -> Response:
        channel, device_id = _pair(asked)
        await self._directory.subscriptions.check_reach(asked.access, asked.app_id, device_id, "list")
        for value, field in ((channel, "channel"), (device_id, "deviceId")):
            if value is not None:
                check_id(value, field)
        page = page_of(asked, _kind("subscriptions", channel, device_id))
        return page_reply(await self._directory.subscriptions.page(page, channel, device_id))

    async def unsubscribe(self, asked: Asked) -> Response:
        channel, device_id = _pair(asked)
        await self._directory.subscriptions.check_reach(asked.access, asked.app_id, device_id, "delete")
        return reply({"deleted": await self._directory.subscriptions.delete(asked.app_id, channel, device_id)})

    async def channels(self, asked: Asked) -> Response:
        return page_reply(await self._directory.subscriptions.channels(page_of(asked, "channels")))


def _pair(asked: Asked) -> tuple[str | None, str | None]:
    return parameter(asked, "channel"), parameter(asked, "deviceId", "device_id")


def _kind(name: str, *filters: str | None) -> str:
    """The name of a list for its cursors: one with other filters is another list. Short for filters of any length."""
    if all(value is None for value in filters):
        return name
    text = "\0".join("" if value is None else f"={value}" for value in filters)
    return f"{name}:{sha256(text.encode()).hexdigest()[:16]}"
