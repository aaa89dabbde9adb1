"""The member list of a presence channel as text, made anew only where it has changed (spec: websocket § 6.5).

Every acknowledgement of a presence channel has the whole list. It is kept in pages of text, so that among thousands of
members a join makes one page and copies the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import msgspec

__all__ = ["NOT_LISTED", "PAGE", "ListedMembers", "MemberList"]

PAGE: Final = 250
"""Members in one page of text, at most."""

_encode: Final = msgspec.json.Encoder().encode


class ListedMembers(NamedTuple):
    """The members of a channel: ``ids`` are the elements of a JSON array, ``infos`` the pairs of a JSON object.

    Both stand as they are inside a JSON string, with quotes escaped.
    """

    total: int
    ids: bytes
    infos: bytes


NOT_LISTED: Final = ListedMembers(0, b"", b"")
"""The list of no members."""


class _Page:
    __slots__ = ("members", "text")

    def __init__(self) -> None:
        self.members: dict[str, bytes] = {}
        # Of ids and of infos; None when it has to be made.
        self.text: tuple[bytes, bytes] | None = None

    def __len__(self) -> int:
        return len(self.members)

    def make(self) -> tuple[bytes, bytes]:
        """The page's text, made where it is missing."""
        if self.text is None:
            infos = {user_id: msgspec.Raw(info) for user_id, info in self.members.items()}
            self.text = _inside_a_string(_encode(list(infos))), _inside_a_string(_encode(infos))
        return self.text


class MemberList:
    """The list of ``members``, from user ids to ``user_info`` as JSON text; `touch` names those who are to be looked at
    again, with the ``info`` that they have by then, None for who is gone.

    ``pages_made`` counts the pages whose text was made.
    """

    def __init__(self, members: Mapping[str, bytes], info: Callable[[str], bytes | None]) -> None:
        self._info = info
        self._touched: dict[str, None] = {}
        self._pages: list[_Page] = []
        self._page_of: dict[str, _Page] = {}
        self.pages_made = 0
        for user_id, user_info in members.items():
            self._put(user_id, user_info)

    def __len__(self) -> int:
        return len(self._page_of)

    def touch(self, user_id: str) -> None:
        """Something of a member has changed."""
        self._touched[user_id] = None

    @property
    def outdated(self) -> bool:
        """Whether more is to be looked at than there is, so that a new list costs less."""
        return len(self._touched) > PAGE + len(self._page_of)

    def listed(self) -> ListedMembers:
        """The list as text."""
        self._look_again()
        made = []
        for page in filter(len, self._pages):
            self.pages_made += page.text is None
            made.append(page.make())
        return ListedMembers(len(self), b",".join(ids for ids, _ in made), b",".join(infos for _, infos in made))

    def _look_again(self) -> None:
        for user_id in self._touched:
            user_info = self._info(user_id)
            if user_info is not None:
                self._put(user_id, user_info)
            elif user_id in self._page_of:
                page = self._page_of.pop(user_id)
                del page.members[user_id]
                page.text = None
        self._touched.clear()
        if len(self._pages) > 2 + 2 * len(self) // PAGE:
            self._fill_pages()

    def _put(self, user_id: str, user_info: bytes) -> None:
        page = self._page_of.get(user_id)
        if page is None:
            if not self._pages or len(self._pages[-1]) >= PAGE:
                self._pages.append(_Page())
            page = self._page_of[user_id] = self._pages[-1]
        if page.members.get(user_id) != user_info:
            page.members[user_id] = user_info
            page.text = None

    def _fill_pages(self) -> None:
        """So many have left that pages are half empty: their members move together."""
        members = [member for page in self._pages for member in page.members.items()]
        self._pages, self._page_of = [], {}
        for user_id, user_info in members:
            self._put(user_id, user_info)


def _inside_a_string(text: bytes) -> bytes:
    """JSON text of an array or object without its brackets, as it stands inside a JSON string."""
    return _encode(text[1:-1].decode())[1:-1]
