"""Texts without passwords and tokens: for records, reports, terminals and logs."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote

HIDDEN = "***"
"""What stands in a text where a secret was."""


def redacted(text: str) -> str:
    """The text with `***` for its secrets; it never raises, and a second time changes nothing.

    Hidden are the passwords and tokens in URLs (`scheme://user:password@host`, also where special
    characters are not percent-encoded, `https://token@host`, `?token=...` and the like), in libpq's
    keywords (`password=... host=...`), and the values of environment variables whose names say
    that they are secrets, or which were given to `hide`. A reference to a variable, `${NAME}`, is
    no secret. Where a text could be read in two ways, rather too much is hidden.
    """
    values = _pattern(frozenset(_secret_values()))
    for _ in range(_MOST_PASSES):
        passed = _redacted_once(text, values)
        if passed == text:
            break
        text = passed
    return text


def without_secrets(value: Any) -> Any:
    """A copy in which every text is redacted, at any depth of mappings, lists and tuples.

    A text whose key says that it is a secret, such as `password`, is hidden whole.
    """
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, dict):
        return {
            without_secrets(key): _hidden(item)
            if isinstance(item, str) and isinstance(key, str) and _SECRET_KEY.fullmatch(key)
            else without_secrets(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [without_secrets(item) for item in value]
    if isinstance(value, tuple):
        return tuple(without_secrets(item) for item in value)
    return value


def redacted_address(address: str) -> str:
    """A text that is one address and nothing else, redacted; its password may hold spaces."""
    return redacted(_ADDRESS.sub(lambda m: f"{m[1]}{_hidden(m[2])}@", address))


def hide(secret: str) -> None:
    """From now on `redacted` hides this text in this process.

    Texts of fewer than six characters, and words that address and messages are full of, are not
    hidden by themselves: they would spoil what they happen to occur in.
    """
    if _worth_hiding(secret):
        _HIDDEN_BY_CALLERS.add(secret)


def hide_secrets_of(address: str) -> None:
    """Hides the password of an address, and its secret query parameters, from now on."""
    found = _ADDRESS.match(address)
    if found:
        hide(found[2])
        hide(unquote(found[2]))
    for name, value in parse_qsl(address.partition("?")[2]):
        if _SECRET_PARAMETER.fullmatch(name):
            hide(value)


_HIDDEN_BY_CALLERS: set[str] = set()
_MOST_PASSES = 20  # hiding one secret may bring out another's bounds; two passes are usual
_SHORTEST = 6
_COMMON = frozenset(
    [
        "access",
        "address",
        "connection",
        "credential",
        "database",
        "default",
        "disabled",
        "enabled",
        "example",
        "localhost",
        "mariadb",
        "optuna",
        "passphrase",
        "password",
        "passwd",
        "postgres",
        "postgresql",
        "private",
        "public",
        "secret",
        "server",
        "sqlite",
        "storage",
        "string",
    ]
)

_SECRET_VARIABLE = re.compile(
    r"PASSWORD|PASSWD|PASSPHRASE|SECRET|CREDENTIAL|TOKEN(?!S|IZ)"
    r"|(?:API|ACCESS|PRIVATE|SIGNING|ENCRYPTION)_?KEY|_PWD$|_PASS$",
    re.IGNORECASE,
)

# Where a quoted text ends, so that a password is not looked for beyond it.
_CLOSING_QUOTE = r"""["'`](?:[\s,;:)\]}]|$)"""
_REFERENCES = re.compile(r"(?:\$\{[A-Za-z_][A-Za-z0-9_]*\})+")

_NAME = (
    r"[\w.-]{0,40}?(?:password|passwd|passphrase|secret|token|credentials?"
    r"|(?:api|access|private)[_-]?key(?:[_-]?id)?)"
)
_SECRET_KEY = re.compile(_NAME, re.IGNORECASE)
_SECRET_PARAMETER = re.compile(
    rf"{_NAME}|[\w.-]{{0,40}}?signature|sslkey|key|sig|pwd|pass|auth", re.IGNORECASE
)
_ADDRESS = re.compile(r"((?:[A-Za-z][A-Za-z0-9+.-]*://)?(?!\[)[^:/?#]*:)(?!//)(.*)@", re.DOTALL)
_PASSWORD_IN_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,30}://)(?P<user>(?!\[)[^\s:/?#]*):"
    rf"(?P<password>(?:(?!://|{_CLOSING_QUOTE})\S)*)@"
)
_TOKEN_IN_URL = re.compile(
    r"""(?P<scheme>https?://)(?P<token>[^\s/?#@:,"'`]+)(?P<rest>(?::|:x-oauth-basic)?@)""",
    re.IGNORECASE,
)
_PARAMETER_IN_URL = re.compile(
    rf"(?P<name>[?&#](?:{_SECRET_PARAMETER.pattern})=)"
    rf"(?P<value>(?:(?!{_CLOSING_QUOTE})[^\s&#])+)",
    re.IGNORECASE,
)
_KEYWORD = re.compile(
    rf"(?<![\w.?&#-])(?P<name>{_NAME}\s?=\s?)"
    r"""(?P<value>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\S+?(?=[,;)\]}"'`]{0,3}(?:\s|$)))""",
    re.IGNORECASE,
)
_WRITTEN_MAPPING = re.compile(
    rf"""(?P<name>["']{_NAME}["']\s?:\s?)(?P<value>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""",
    re.IGNORECASE,
)
_PORT_AND_PATH = re.compile(r"\d{1,5}[/?#]")
_WEB = re.compile(r"(?:https?|wss?|ftps?|s?ssh|sftp|git|git\+\w+|grpc|s3|gs)://", re.IGNORECASE)


def _redacted_once(text: str, values: re.Pattern[str] | None) -> str:
    text = _PASSWORD_IN_URL.sub(_without_password, text)
    text = _TOKEN_IN_URL.sub(lambda m: f"{m['scheme']}{_hidden(m['token'])}{m['rest']}", text)
    text = _PARAMETER_IN_URL.sub(_without_value, text)
    text = _KEYWORD.sub(_without_value, text)
    text = _WRITTEN_MAPPING.sub(_without_quoted_value, text)
    return values.sub(HIDDEN, text) if values else text


def _without_password(url: re.Match[str]) -> str:
    scheme, user, password = url["scheme"], url["user"], url["password"]
    if password == "x-oauth-basic" and _TOKEN_IN_URL.match(url[0]):  # the user is the token
        return url[0]
    names_a_host = "." in user or user == "localhost"
    if names_a_host and _WEB.fullmatch(scheme) and _PORT_AND_PATH.match(password):
        return url[0]  # http://host.org:8080/people/someone@elsewhere has no password
    return f"{scheme}{user}:{_hidden(password)}@"


def _without_value(setting: re.Match[str]) -> str:
    return setting["name"] + _hidden(setting["value"])


def _without_quoted_value(setting: re.Match[str]) -> str:
    quotation, value = setting["value"][0], setting["value"][1:-1]
    return f"{setting['name']}{quotation}{_hidden(value)}{quotation}"


def _hidden(secret: str) -> str:
    return secret if not secret or _REFERENCES.fullmatch(secret) else HIDDEN


def _secret_values() -> Iterable[str]:
    yield from list(_HIDDEN_BY_CALLERS)
    for name in os.environ:
        if _SECRET_VARIABLE.search(name):
            value = os.environ.get(name, "")
            if _worth_hiding(value) and not _is_path(value):
                yield value


def _worth_hiding(value: str) -> bool:
    bare = value.strip()
    return (
        len(bare) >= _SHORTEST
        and bare.lower() not in _COMMON
        and bare.strip("*") != ""
        and not _REFERENCES.fullmatch(bare)
    )


def _is_path(value: str) -> bool:
    """Whether the value names a file that holds the secret, and not the secret."""
    try:
        path = Path(value)
        return path.is_absolute() and path.exists()
    except (OSError, ValueError):
        return False


@lru_cache(maxsize=8)
def _pattern(secrets: frozenset[str]) -> re.Pattern[str] | None:
    """Finds the secrets in all the ways in which a text may write them."""
    written = {way for secret in secrets for way in _ways_to_write(secret)}
    if not written:
        return None
    longest_first = sorted(written, key=lambda way: (-len(way), way))
    return re.compile("|".join(_alternative(way) for way in longest_first))


def _ways_to_write(secret: str) -> Iterable[str]:
    bare = secret.strip()
    yield bare
    yield quote(bare, safe="", errors="replace")
    yield quote(bare, errors="replace")
    yield quote_plus(bare, errors="replace")
    yield repr(bare)[1:-1]
    yield json.dumps(bare)[1:-1]
    yield json.dumps(bare, ensure_ascii=False)[1:-1]
    yield " ".join(bare.split())
    yield from (line for line in bare.split("\n") if len(line) >= 3 * _SHORTEST)


def _alternative(way: str) -> str:
    # a word is hidden only as a word of its own; what is no word, wherever it stands
    return rf"(?<![A-Za-z]){way}(?![A-Za-z])" if way.isalpha() else re.escape(way)
