"""Credentials and templates in an SQL database."""

from __future__ import annotations

from sqlalchemy import delete, select

from sockudo.push.recipients import Provider
from sockudo.push.records import Credential, Template
from sockudo.push.stores.device_changes import now_ms
from sockudo.push.stores.rows import credential_of, credential_row, template_of, template_row
from sockudo.push.stores.sql_room import SqlRoom

__all__ = ["SqlSettings"]


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
