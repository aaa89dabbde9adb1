"""Devices, subscriptions, credentials and templates in an SQL database."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, func, select

from sockudo.push.paging import pair_after
from sockudo.push.ports import Change, StateChange, Touch
from sockudo.push.recipients import Provider
from sockudo.push.records import Credential, Device, Subscription, Template
from sockudo.push.stores.changes import Putting, now_ms
from sockudo.push.stores.rows import (
    credential_of,
    credential_row,
    device_of,
    device_row,
    subscription_of,
    template_of,
    template_row,
)
from sockudo.push.stores.rules import day_of, touched
from sockudo.push.stores.sql_base import Groups, SqlRoom, Work, one_by_one
from sockudo.push.stores.statements import Statements, behind, by_app, values

__all__ = ["SqlDevices", "SqlSettings", "count_channels"]


class SqlDevices(SqlRoom):
    """See `sockudo.push.ports.Devices`."""

    _counts: Groups
    _counting: Work
    _planning: Groups

    @property
    def _by_position(self) -> str:
        # MySQL would rather sort all subscriptions of the app for each page.
        prefix = self._tables.devices.name.removesuffix("devices")
        return f"FORCE INDEX ({prefix}subscribers_position)"

    async def put_device(self, device: Device, *, keep_secret: bool = False) -> Change:
        change: Change = await self._groups.do(self._kinds.devices, Putting(device, keep_secret))
        return change

    async def device(self, app_id: str, device_id: str) -> Device | None:
        return next(iter(await self.devices_by_id(app_id, [device_id])), None)

    async def devices(self, app_id: str, after: str, limit: int) -> list[Device]:
        of = self._tables.devices.c
        wanted = select(self._tables.devices).where(of.app_id == app_id, of.device_id > after)
        return await self._all(wanted.order_by(of.device_id).limit(limit), device_of)

    async def devices_of(self, app_id: str, client_id: str, after: str, limit: int) -> list[Device]:
        of = self._tables.devices.c
        wanted = select(self._tables.devices).where(
            of.app_id == app_id, of.client_id == client_id, of.device_id > after
        )
        return await self._all(wanted.order_by(of.device_id).limit(limit), device_of)

    async def devices_by_id(self, app_id: str, device_ids: Sequence[str]) -> list[Device]:
        def read(connection: Connection) -> list[Device]:
            return [device_of(row) for row in values(self._sql.devices, connection, app_id, device_ids)]

        return await self._read(read)

    async def stale_devices(self, before_ms: int, limit: int) -> list[Device]:
        of = self._tables.devices.c
        wanted = select(self._tables.devices).where(of.last_active_at_ms < day_of(before_ms))
        return await self._all(wanted.order_by(of.last_active_at_ms, of.app_id, of.device_id).limit(limit), device_of)

    async def count_devices_of(self, app_id: str, client_id: str) -> int:
        of = self._tables.devices.c
        wanted = select(func.count()).where(of.app_id == app_id, of.client_id == client_id)
        return await self._read(lambda connection: connection.scalar(wanted) or 0)

    async def delete_device(self, app_id: str, device_id: str, *, token_hash: str | None = None) -> bool:
        of = self._tables.devices.c
        gone = delete(self._tables.devices).where(of.app_id == app_id, of.device_id == device_id)
        if token_hash is not None:
            gone = gone.where(of.token_hash == token_hash)

        def work(connection: Connection) -> bool:
            if not connection.execute(gone).rowcount:
                return False
            self._sql.delete_subscriptions.run(connection, [device_id], app_id)
            return True

        return await self._write(work)

    async def delete_devices_of(self, app_id: str, client_id: str) -> int:
        of = self._tables.devices.c
        found = select(of.device_id).where(of.app_id == app_id, of.client_id == client_id)

        def work(connection: Connection) -> int:
            device_ids = connection.scalars(found.order_by(of.device_id).with_for_update()).all()
            list(values(self._sql.delete_devices, connection, app_id, device_ids))
            list(values(self._sql.delete_subscriptions, connection, app_id, device_ids))
            return len(device_ids)

        return await self._write(work)

    async def touch_devices(self, app_id: str, touches: Sequence[Touch]) -> list[StateChange]:
        def work(connection: Connection) -> list[StateChange]:
            rows = values(self._sql.lock_devices, connection, app_id, [touch.device_id for touch in touches])
            before = {device.id: device for device in map(device_of, rows)}
            after = dict(before)
            changes = []
            for touch in touches:
                device = after.get(touch.device_id)
                if device is not None:
                    after[device.id] = new = touched(device, touch)
                    if new.state != device.state:
                        changes.append(StateChange(device.id, device.state, new.state))
            at_ms = now_ms()
            written = [device_row(device, at_ms) for device in after.values() if device is not before[device.id]]
            if written:
                self._sql.save_devices.run(connection, written)
            return changes

        return await self._write(work, weight=len(touches)) if touches else []

    async def put_subscription(self, subscription: Subscription) -> None:
        await self._groups.do(self._kinds.subscriptions, subscription)

    async def subscriptions(
        self, app_id: str, *, channel: str | None = None, device_id: str | None = None, after: str, limit: int
    ) -> list[Subscription]:
        if channel is not None and device_id is None:
            page = {"app": app_id, "of_channel": channel, "behind": after, "most": limit}
            wanted = self._sql.subscriptions_of_channel

            def read(connection: Connection) -> list[Subscription]:
                return [subscription_of(row) for row in connection.execute(wanted, page).all()]

            subscriptions: list[Subscription] = await self._planning.do(one_by_one, read)
            return subscriptions
        of = self._tables.channel_subscribers.c
        wanted = select(self._tables.channel_subscribers).where(of.app_id == app_id).limit(limit)
        if channel is not None:
            wanted = wanted.where(of.channel == channel, of.device_id == device_id, of.device_id > after)
        elif device_id is not None:
            wanted = wanted.where(of.device_id == device_id, of.channel > after).order_by(of.channel)
        else:
            text, last = pair_after(after)
            wanted = wanted.where(behind(of.list_position, of.channel_length, (text, len(last))))
            wanted = wanted.order_by(of.list_position, of.channel_length)
            wanted = wanted.with_hint(self._tables.channel_subscribers, self._by_position, "mysql")

        return await self._all(wanted, subscription_of)

    async def delete_subscriptions(
        self, app_id: str, *, channel: str | None = None, device_id: str | None = None
    ) -> int:
        if channel is None and device_id is None:
            return 0
        of = self._tables.channel_subscribers.c
        gone = delete(self._tables.channel_subscribers).where(of.app_id == app_id)
        if channel is not None:
            gone = gone.where(of.channel == channel)
        if device_id is not None:
            gone = gone.where(of.device_id == device_id)
        return await self._write(lambda connection: connection.execute(gone).rowcount)

    async def subscribed_channels(self, app_id: str, after: str, limit: int) -> list[str]:
        return list(await self._read(lambda connection: self._channels_after(connection, app_id, after, limit)))

    async def count_subscriptions(self, app_id: str, channel: str) -> int:
        """Counts that are asked for while others are made are made together: every publish to a channel asks."""
        count: int = await self._counts.do(self._counting, (app_id, channel))
        return count

    # ---- what follows runs in the threads ----

    def _channels_after(self, connection: Connection, app_id: str, after: str, most: int) -> Sequence[str]:
        """From one channel to the next by the index, however many devices are in between."""
        table = self._tables.channel_subscribers
        of_app = (table.c.app_id == app_id, table.c.channel > after)
        if connection.dialect.name == "mysql":
            # It does so by itself, and does not in what follows.
            every = select(table.c.channel).where(*of_app).group_by(table.c.channel).order_by(table.c.channel)
            return connection.scalars(every.limit(most)).all()
        found = select(func.min(table.c.channel).label("channel")).where(*of_app).cte("found", recursive=True)
        following = (
            select(func.min(table.c.channel))
            .where(table.c.app_id == app_id, table.c.channel > found.c.channel)
            .scalar_subquery()
        )
        all_of_them = found.union_all(select(following).where(found.c.channel.is_not(None)))
        named = select(all_of_them.c.channel).where(all_of_them.c.channel.is_not(None))
        return connection.scalars(named.limit(most)).all()


def count_channels(sql: Statements, connection: Connection, places: Sequence[tuple[str, str]]) -> list[int]:
    """How many subscriptions each has, of app and channel."""
    found = {
        (app_id, channel): count
        for app_id, channels in by_app(places)
        for channel, count in values(sql.count_subscriptions, connection, app_id, channels)
    }
    return [found.get(place, 0) for place in places]


class SqlSettings(SqlRoom):
    """See `sockudo.push.ports.Settings`."""

    async def put_credential(self, credential: Credential) -> None:
        row = credential_row(credential)
        await self._write(lambda connection: self._sql.save_credentials.run(connection, [row]))

    async def credential(self, app_id: str, credential_id: str) -> Credential | None:
        of = self._tables.provider_credentials.c
        wanted = select(self._tables.provider_credentials).where(of.app_id == app_id, of.credential_id == credential_id)
        return next(iter(await self._all(wanted, credential_of)), None)

    async def credentials(self, app_id: str, after: str, limit: int) -> list[Credential]:
        of = self._tables.provider_credentials.c
        wanted = select(self._tables.provider_credentials).where(of.app_id == app_id, of.credential_id > after)
        return await self._all(wanted.order_by(of.credential_id).limit(limit), credential_of)

    async def credentials_for(self, provider: Provider) -> list[Credential]:
        of = self._tables.provider_credentials.c
        wanted = select(self._tables.provider_credentials).where(of.provider == provider)
        return await self._all(wanted.order_by(of.updated_at_ms.desc(), of.app_id, of.credential_id), credential_of)

    async def put_template(self, template: Template) -> None:
        row = template_row(template, now_ms())
        await self._write(lambda connection: self._sql.save_templates.run(connection, [row]))

    async def template(self, app_id: str, template_id: str) -> Template | None:
        of = self._tables.notification_templates.c
        wanted = select(self._tables.notification_templates).where(of.app_id == app_id, of.template_id == template_id)
        return next(iter(await self._all(wanted, template_of)), None)

    async def templates(self, app_id: str, after: str, limit: int) -> list[Template]:
        of = self._tables.notification_templates.c
        wanted = select(self._tables.notification_templates).where(of.app_id == app_id, of.template_id > after)
        return await self._all(wanted.order_by(of.template_id).limit(limit), template_of)

    async def delete_template(self, app_id: str, template_id: str) -> bool:
        of = self._tables.notification_templates.c
        gone = delete(self._tables.notification_templates).where(of.app_id == app_id, of.template_id == template_id)
        return await self._write(lambda connection: connection.execute(gone).rowcount > 0)
