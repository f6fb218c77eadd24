"""By what a sweep is known outside its run folder, also once the folder is moved or made anew."""

from __future__ import annotations

import json
import secrets
import threading
from pathlib import Path

from sweeps.storage.places import Place, StorageFailed

_FILE = "logging.json"
_MARK = ".rso-sweep"
_ONE_AT_A_TIME = threading.Lock()


def sweep_identity(place: Place) -> str:
    """A text that no other sweep has, kept in the run folder.

    Raises:
        StorageFailed: it cannot be read or written.
    """
    with _ONE_AT_A_TIME:
        try:
            identity = json.loads(place.read(_FILE))["sweep"]
        except FileNotFoundError:
            identity = secrets.token_hex(16)
            place.write(_FILE, json.dumps({"sweep": identity}).encode() + b"\n")
        except (ValueError, KeyError, TypeError) as error:
            raise StorageFailed(
                f"'{place.address_of(_FILE)}' is damaged; without it, its loggers take the sweep "
                "for another one"
            ) from error
    return str(identity)


def own_folder(parent: Path, name: str, identity: str) -> Path:
    """The folder in `parent` that belongs to the sweep: its old one, or the first of a free name.

    Names are `name`, `name-2`, `name-3`, ... A mark in the folder says whose it is.

    Raises:
        OSError: it cannot be made.
    """
    number = 1
    while True:
        folder = parent / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
            (folder / _MARK).write_text(identity)
        except FileExistsError:
            if not _is_marked(folder, identity):
                number += 1
                continue
        return folder


def _is_marked(folder: Path, identity: str) -> bool:
    try:
        return (folder / _MARK).read_text() == identity
    except (FileNotFoundError, NotADirectoryError):
        return False
