"""How a storage that fails is told of."""

from __future__ import annotations

import re

from rso_core.errors import reason


class StorageFailed(RuntimeError):  # noqa: N818  (it names what happened)
    """A place cannot be read or written; one line for the user, which says where and why."""


def failure(address: str, done: str, error: BaseException) -> StorageFailed:
    """The failure of something at an address, such as `read` or `written`, and why it failed."""
    return StorageFailed(without_passwords(f"'{address}' cannot be {done} ({reason(error)})"))


def without_passwords(text: str) -> str:
    """The text; the passwords of addresses in it, as in `ftp://user:password@host`, are `***`."""
    return re.sub(r"(?<=://)([^/\s:@]*):[^/\s]*@", r"\1:***@", text)
