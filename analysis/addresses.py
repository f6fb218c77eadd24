"""Addresses such as `s3://bucket/sweep`: told from paths, and shown without what is secret."""

from __future__ import annotations

import re
from pathlib import Path

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(?:://|::)")
_LOCAL = re.compile(r"(?:file|local)://")
# user:password@, where a secret may hold a slash; the number of a port and ${NAME} are no secrets
_PASSWORD = re.compile(
    r"([A-Za-z][A-Za-z0-9+.-]*://[^\s/@:\[]*:)(?!\d*(?:[/?\s]|$)|\$\{\w+\}@)(\S*)@"
)
_TOKEN = re.compile(r"(https?://)([^\s/@:]+)@")
_PARAMETER = re.compile(
    r"([?&][^=&\s]*(?:pass|pwd|secret|token|sig|key|credential)[^=&\s]*=)(?!\$\{)([^&\s'\"]+)",
    re.IGNORECASE,
)


def address_of(folder: Path | str) -> str | None:
    """The address that a folder was given as; None where it is a path on this machine."""
    if isinstance(folder, Path) or not _ADDRESS.match(folder) or _LOCAL.match(folder):
        return None
    return folder


def local_path(folder: Path | str) -> Path:
    """A folder that is no address, as a path: `file:///runs/a` is `/runs/a`."""
    return folder if isinstance(folder, Path) else Path(_LOCAL.sub("", folder, count=1))


def without_credentials(text: str) -> str:
    """A text with `***` for the passwords, tokens and signatures in its addresses."""
    text = _TOKEN.sub(r"\1***@", _PASSWORD.sub(r"\1***@", text))
    return _PARAMETER.sub(r"\1***", text)


def secrets_of(address: str) -> list[str]:
    """What `without_credentials` hides of an address."""
    patterns = (_PASSWORD, _TOKEN, _PARAMETER)
    return [found[2] for each in patterns for found in each.finditer(address) if found[2]]
