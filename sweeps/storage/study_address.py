"""The address of a study's storage: what a sweep file may give, and what it stands for."""

from __future__ import annotations

import os
import re
from urllib.parse import quote

from rso_core.errors import InvalidInput, nearest
from sweeps.storage.redaction import redacted_address


def check_storage_address(address: str, named: str | None = None) -> None:
    """Checks what can be seen of an address: no connection, no environment, no drivers.

    Args:
        address: what stands in the sweep file; `${NAME}` may stand for any of its parts.
        named: what a message is to show instead.

    Raises:
        InvalidInput: one line, which begins with `'study.storage' must`.
    """
    name = shown(address if named is None else named)
    if "${" in _REFERENCE.sub("", address):
        raise InvalidInput(
            f"'study.storage' must refer to environment variables as ${{NAME}}, got '{name}'"
        )
    scheme, separator, rest = address.partition("://")
    if named is None and _REFERENCE.match(scheme):
        return  # the variable has the address, which is checked on opening
    if not separator or not re.fullmatch(r"[A-Za-z]\w*(\+\w+)?", scheme):
        raise InvalidInput(
            f"'study.storage' must be an RDB address or grpc://HOST:PORT, got '{name}'; "
            "an example: postgresql+psycopg://USER:${DB_PASSWORD}@HOST/DATABASE"
        )
    if scheme.lower() == "grpc":
        _check_proxy(rest, name)
    else:
        _check_database(address, name)


def expanded(address: str) -> str:
    """The address with the values of the environment variables that it names as `${NAME}`.

    In the part for user and password, and as the value of a query parameter, a value is taken
    for what it is and percent-encoded: a password is exported as it is, whatever characters it
    has. Elsewhere, where a variable may hold a host, a path or the whole address, it stands as
    it is. Nothing but `${NAME}` is special.

    Raises:
        InvalidInput: a variable is not set.
    """
    user_part = re.match(r"[^:/]*://[^/?#]*@", address)
    end_of_user = user_part.end() if user_part else 0
    start_of_query = address.find("?", end_of_user)

    def value(reference: re.Match[str]) -> str:
        name, at = reference[1], reference.start()
        held = os.environ.get(name)
        if held is None:
            raise InvalidInput(
                f"'study.storage' names the environment variable {name}, which is not set; "
                "export it, or give an address without it"
            )
        in_query = 0 <= start_of_query < at and address[at - 1] == "="
        if 0 < at < end_of_user or in_query:
            return quote(held, safe="", errors="surrogateescape")
        return held

    return _REFERENCE.sub(value, address)


def shown(address: str) -> str:
    """The address as messages show it: without secrets, in one line."""
    return " ".join(redacted_address(address).split())


_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_DIALECTS = ("postgresql", "mysql", "sqlite")
"""Those that Optuna is tested with."""


def _check_proxy(place: str, name: str) -> None:
    place = _REFERENCE.sub("1", place)
    host, _, port = place.removesuffix("/").rpartition(":")
    sound = re.fullmatch(r"[^\s:/?#@\[\]]+|\[[0-9A-Fa-f:.]+\]", host)
    if not sound or not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        raise InvalidInput(f"'study.storage' must be grpc://HOST:PORT, got '{name}'")


def _check_database(address: str, name: str) -> None:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        url = make_url(_REFERENCE.sub("1", address))
    except (ArgumentError, ValueError) as error:
        raise InvalidInput(
            "'study.storage' must be an address whose port is a number and whose password has its "
            f"special characters percent-encoded, got '{name}'; "
            "or give the password as ${NAME}, which needs no encoding"
        ) from error
    dialect = url.get_backend_name()
    if dialect not in (*_DIALECTS, "postgres"):
        hint = nearest(dialect, [*_DIALECTS, "grpc"])
        raise InvalidInput(
            f"'study.storage' must be a PostgreSQL, MySQL or SQLite address, got '{name}'; {hint}"
        )
    if "@" in (url.host or ""):
        raise InvalidInput(
            "'study.storage' must be an address whose password has its special characters "
            f"percent-encoded ('@' is %40), got '{name}'; "
            "or give the password as ${NAME}, which needs no encoding"
        )
    if dialect == "sqlite":
        database = url.database or ""
        if database in ("", ":memory:") or "memory" in url.query.get("mode", ""):
            raise InvalidInput(
                f"'study.storage' must be a database that is kept, got '{name}', which is gone "
                "with its process; name a file, such as sqlite:///studies.db"
            )
        if url.host:
            raise InvalidInput(
                "'study.storage' must be a file for SQLite: three slashes and a path, "
                f"such as sqlite:///studies.db, got '{name}'"
            )
    if dialect == "postgres":
        url = url.set(drivername=re.sub(r"^postgres", "postgresql", url.drivername))
    try:
        driver = url.get_dialect()
    except NoSuchModuleError as error:
        raise InvalidInput(
            f"'study.storage' must name a driver that SQLAlchemy knows, got '{name}'; "
            f"such as {_examples(dialect)}"
        ) from error
    except ImportError:
        return  # the driver is not installed, which is seen on opening
    if driver.is_async:
        raise InvalidInput(
            f"'study.storage' must name a driver that is not asynchronous, got '{name}'; "
            f"such as {_examples(dialect)}"
        )


def _examples(dialect: str) -> str:
    return {
        "mysql": "mysql+pymysql://",
        "sqlite": "sqlite:///",
    }.get(dialect, "postgresql+psycopg://")
