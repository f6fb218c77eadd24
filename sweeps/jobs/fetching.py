"""Bringing a job's run folder to this machine: `fetch`."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from rso_core.errors import InvalidInput, reason
from sweeps.jobs.job import Job
from sweeps.jobs.packing import CHECKPOINTS
from sweeps.jobs.questions import asked
from sweeps.jobs.server import JobServer
from sweeps.jobs.unpacking import BadArchive, read_archive, unpack
from sweeps.located_yaml import YamlSyntaxError, read_yaml
from sweeps.storage.redaction import redacted

_SWEEP_FILE = "sweep.yaml"
_ASIDE = ".before-the-update"

Received = Callable[[int, int], None]


def destination(job: Job, out: str | None, *, updates: bool) -> Path:
    """The folder that a fetched run folder becomes.

    Args:
        job: whose folder it is.
        out: the value of `--out`; None for `runs/JOB`, numbered if that is taken.
        updates: whether a folder that was fetched before is to be replaced.

    Raises:
        InvalidInput: it is there already, and may not be replaced.
    """
    chosen = Path("runs") / job.about.first if out is None else Path(out)
    if updates:
        if _is_taken(chosen) and not (chosen / _SWEEP_FILE).is_file():
            raise InvalidInput(
                f"'--update' is for a folder that was fetched before, got '{chosen}', which is no "
                "run folder; name another with '--out'"
            )
        return chosen
    if not _is_taken(chosen):
        return chosen
    if out is not None:
        raise InvalidInput(
            f"'--out' must be a new or an empty folder, got '{out}'; name another, or add --update "
            "if it was fetched from this job before"
        )
    number = 2
    while _is_taken(chosen.with_name(f"{chosen.name}-{number}")):
        number += 1
    return chosen.with_name(f"{chosen.name}-{number}")


def fetch(
    server: JobServer, job: Job, folder: Path, *, has_checkpoints: bool, received: Received
) -> None:
    """Brings a run folder here, whole or not at all.

    Args:
        server: of the cluster.
        job: whose run folder it is; the sweep may be running.
        folder: what it becomes, see `destination`; one that holds the same sweep is replaced.
        has_checkpoints: whether the states of unfinished runs come, too.
        received: is told how many bytes have come, and how many there are at the most.

    Raises:
        InvalidInput: it cannot be read there or written here, or what came is not sound.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetching-", dir=folder.parent) as name:
            new = Path(name) / "fetched"
            new.mkdir()
            if "://" in job.about.folder:
                _copy_from_address(job.about.folder, new, has_checkpoints, received)
            else:
                _bring(server, job, new, has_checkpoints, received)
            _put_in_place(new, folder, Path(name))
    except BadArchive as error:
        raise InvalidInput(
            f"what the head node sent is no sound archive: {error}; nothing was kept, try again"
        ) from error
    except OSError as error:
        raise InvalidInput(
            f"'--out' must be a folder that can be written, got '{folder}' ({reason(error)}); "
            "nothing was kept"
        ) from error


def _bring(
    server: JobServer, job: Job, new: Path, has_checkpoints: bool, received: Received
) -> None:
    details = {"folder": job.about.folder, "has_checkpoints": has_checkpoints}
    archive: IO[bytes]
    with tempfile.TemporaryFile(dir=new.parent) as archive:
        with asked(server, "pack", details) as question:
            read_archive(server.follow(question), archive, received)
        archive.seek(0)
        unpack(archive, new)
    if not (new / _SWEEP_FILE).is_file():
        raise BadArchive(f"it has no {_SWEEP_FILE}")


def _copy_from_address(address: str, new: Path, has_checkpoints: bool, received: Received) -> None:
    """Copies the files of an address, which this machine must reach by itself."""
    import fsspec  # type: ignore[import-untyped]  # it ships no type information

    shown = redacted(address)
    try:
        files, root = fsspec.core.url_to_fs(address)
        found: dict[str, Any] = files.find(root, detail=True)
        prefix = root.rstrip("/") + "/"
        names = {path.removeprefix(prefix): path for path in found}
        if not has_checkpoints:
            names = {n: path for n, path in names.items() if not n.startswith(f"{CHECKPOINTS}/")}
        if _SWEEP_FILE not in names:
            raise InvalidInput(
                f"'{shown}' is no run folder: it has no {_SWEEP_FILE}; the sweep has not begun, or "
                "it was removed"
            )
        n_bytes = sum(int(found[path].get("size") or 0) for path in names.values())
        n_copied = 0
        for name, path in names.items():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            files.get_file(path, str(new / name))
            n_copied += int(found[path].get("size") or 0)
            received(n_copied, n_bytes)
    except InvalidInput:
        raise
    except Exception as error:  # each storage's library has its own
        raise InvalidInput(
            f"'{shown}' cannot be read from this machine ({redacted(reason(error))}); "
            "it needs the same access as the cluster's machines have"
        ) from error


def _put_in_place(new: Path, folder: Path, aside: Path) -> None:
    """Gives the new folder its name; what stood there before goes only if all is well."""
    if not _is_taken(folder):
        if folder.exists():
            folder.rmdir()
        new.rename(folder)
        return
    if _origin(folder) != _origin(new):
        raise InvalidInput(
            f"'{folder}' holds another sweep than the one that was fetched, and stays as it is; "
            "name another folder with '--out'"
        )
    before = aside / _ASIDE
    folder.rename(before)
    try:
        new.rename(folder)
    except OSError:
        before.rename(folder)
        raise
    shutil.rmtree(before)


def _is_taken(folder: Path) -> bool:
    """Whether there is anything that must not be lost."""
    return folder.is_symlink() or (
        folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    )


def _origin(folder: Path) -> tuple[object, ...]:
    """When and where the sweep of a run folder began, which stays the same as long as it lives."""
    try:
        content: Any = read_yaml((folder / _SWEEP_FILE).read_text(encoding="utf-8")).content
        about = content["provenance"]
        return content["name"], about["started_at"], about["machine"]["host"]
    except (OSError, UnicodeDecodeError, YamlSyntaxError, KeyError, TypeError):
        return (folder,)
