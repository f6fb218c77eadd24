"""A sweep's folder: what was asked, the study's journal, the records, the states of its runs."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rso_core.configuration import configured_cycles
from rso_core.errors import InvalidInput, reason
from sweeps.located_yaml import write_yaml
from sweeps.output_address import FOLDERS, check_output
from sweeps.output_address import SWEEP_FILE as SWEEP_FILE  # others take it from here
from sweeps.provenance import provenance, versions
from sweeps.records import Records, Row, encoded
from sweeps.runs import now
from sweeps.spec import Objective, SweepSpec
from sweeps.stopping import driven_s
from sweeps.storage.append_log import AppendLog
from sweeps.storage.driver_lock import DriverLock, Holder
from sweeps.storage.places import Place, StorageFailed, open_place
from sweeps.storage.redaction import redacted, without_secrets
from sweeps.study_trials import WarmTrial
from sweeps.sweep_file import dump_sweep


class RunFolder:
    """The folder of one sweep, held by one driver.

    `create` makes it. A driver that goes on with a sweep calls `hold`, after which nothing has
    changed yet, then `tidy`, and `note_driver` once it is sure to go on.

    Attributes:
        place: where it is.
        journal: the Optuna study's journal in it.
        lock: held from `create` or `hold` until `close`.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self.journal = AppendLog(place, "study.journal")
        self.lock = DriverLock(place, Holder(platform.node(), os.getpid(), now()))
        self._cycles, self._runs, self._attempts, self._drivers = (
            AppendLog(place, f"records/{name}.jsonl")
            for name in ("cycles", "runs", "attempts", "drivers")
        )
        self._warm, self._set_aside = (
            AppendLog(place, f"records/{name}.jsonl") for name in ("warm_start", "set_aside")
        )

    @classmethod
    def create(
        cls,
        address: str,
        spec: SweepSpec,
        command: Sequence[str],
        started_with: dict[str, Any],
        warm: Sequence[WarmTrial] = (),
    ) -> RunFolder:
        """Makes the folder, with the resolved sweep file and how it came about.

        Args:
            address: a path or an fsspec address; see `check_output`.
            spec: the sweep.
            command: the command line, program first.
            started_with: what else a driver that goes on must know, such as the executor.
            warm: results of other sweeps, with which its study begins.

        Raises:
            InvalidInput: it cannot be made, or holds something already; nothing is written.
        """
        check_output(address)
        folder = cls(open_place(address))
        try:
            folder.place.make(*FOLDERS)
            folder.lock.acquire()
            check_output(address)  # another driver may have been quicker
            about = provenance(command) | started_with
            resolved = spec.model_copy(update={"trials": spec.n_trials()})
            text = dump_sweep(resolved, without_secrets) + write_yaml({"provenance": about})
            # one that was ended while it made the folder may have left some
            folder._warm.drop(lambda line: True)
            folder._warm.append([encoded(asdict(trial)) for trial in warm])
            folder.note_driver(command)
            # from here on it is a run folder, which can be gone on with
            folder.place.write(SWEEP_FILE, text.encode())
        except StorageFailed as error:
            folder.lock.release()
            raise InvalidInput(
                f"'--out' must be a folder that can be written, got '{redacted(address)}': {error}"
            ) from error
        except BaseException:
            folder.lock.release()
            raise
        return folder

    @classmethod
    def hold(cls, address: str) -> RunFolder:
        """Takes over a folder whose driver has ended; all that is in it stays as it is.

        Raises:
            InvalidInput: it is not a run folder, or a driver that is alive has it.
            StorageFailed: it cannot be read, or the lock cannot be written.
        """
        folder = cls(open_place(address))
        shown = folder.place.address_of()
        try:
            is_run_folder = folder.place.exists(SWEEP_FILE)
        except StorageFailed as error:
            if not folder.place.is_local:
                raise
            raise InvalidInput(f"'{shown}' is not a run folder: {error}") from error
        if not is_run_folder:
            raise InvalidInput(f"'{shown}' is not a run folder: it has no {SWEEP_FILE}")
        folder.lock.acquire()
        return folder

    def tidy(self) -> None:
        """Drops what an earlier driver left half written.

        Raises:
            StorageFailed: a log is damaged before its end, or cannot be written.
        """
        self.place.make(*FOLDERS)
        self.place.tidy("", *FOLDERS, "weights", "final_states")
        for log in (self.journal, self._cycles, self._runs, self._attempts, self._warm):
            log.repair()

    def sweep_text(self) -> str:
        """The resolved sweep file.

        Raises:
            InvalidInput: it is no text.
        """
        try:
            return self.place.read(SWEEP_FILE).decode()
        except UnicodeDecodeError as error:
            raise InvalidInput(
                f"'{self.place.address_of(SWEEP_FILE)}' is not a text in UTF-8 "
                f"(byte {error.start + 1}); restore it from a copy"
            ) from error

    def records(self, objectives: Sequence[Objective], n_cycles: int) -> Records:
        """What is on the disk of every run.

        Args:
            objectives: of the sweep.
            n_cycles: of every run.

        Raises:
            StorageFailed: a row is not what it should be.
        """
        cycles, runs, attempts = (
            [json.loads(line) for line in log.read()]
            for log in (self._cycles, self._runs, self._attempts)
        )
        try:
            return Records.of_rows(cycles, runs, attempts, objectives, n_cycles)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StorageFailed(
                f"'{self.place.address_of('records')}' has a row that is none of this program's "
                f"({reason(error)}); restore it from a copy"
            ) from error

    def warm_trials(self) -> list[WarmTrial]:
        """The results of other sweeps with which the study began.

        Raises:
            StorageFailed: a row is not what it should be.
        """
        try:
            rows = [json.loads(line) for line in self._warm.read()]
            return [
                WarmTrial(row["source"], row["parameters"], tuple(row["values"])) for row in rows
            ]
        except (KeyError, TypeError) as error:
            raise StorageFailed(
                f"'{self._warm.address}' has a row that is none of this program's "
                f"({reason(error)}); restore it from a copy"
            ) from error

    def replace_sweep(self, spec: SweepSpec, about: Mapping[str, Any]) -> None:
        """Puts another resolved sweep file in the place of the one that is there, at once.

        Raises:
            StorageFailed: it cannot be written; the old one is there then.
        """
        text = dump_sweep(spec, without_secrets) + write_yaml({"provenance": dict(about)})
        self.place.write(SWEEP_FILE, text.encode())

    def set_aside(self, n_cycles: int | None, *, failed: bool) -> None:
        """Moves what a grown sweep does not count any more out of the records into a log aside.

        That is what there is of runs that are to have more cycles, and of failed ones that are to
        be tried again; whoever trains them tells of all their cycles again. Trials that were
        pruned get no more cycles. If it is broken off, it can be called again.

        Args:
            n_cycles: that runs have now whose trials have none of their own; None if that has not
                changed.
            failed: whether failed runs are tried again.

        Raises:
            StorageFailed: they cannot be written.
        """
        ended = [json.loads(line) for line in self._runs.read()]
        pruned = {row["trial"] for row in ended if row["state"] == "pruned"}
        short, retried, staying = set[str](), set[str](), set[str]()
        for row in ended:
            gets_more = n_cycles is not None and row["cycles"] < configured_cycles(
                row["parameters"], n_cycles
            )
            if row["state"] == "finished" and gets_more:
                short.add(row["run"])
            elif row["state"] == "failed" and failed:
                retried.add(row["run"])
            else:
                staying.add(row["run"])
        going = (short | retried) - staying

        def is_end_to_go(line: bytes) -> bool:
            return json.loads(line)["run"] in going

        def is_cycle_to_go(line: bytes) -> bool:
            row = json.loads(line)
            if row["run"] in staying or row["run"] in retried:
                return row["run"] in going
            # ended or not, it is trained for more cycles, unless its trial was pruned
            return n_cycles is not None and row["trial"] not in pruned

        # the ends last: they say what is to go
        logs = (self._cycles, self._attempts, self._runs)
        tests = (is_cycle_to_go, is_end_to_go, is_end_to_go)
        lines = [
            line
            for log, is_to_go in zip(logs, tests, strict=True)
            for line in log.read()
            if is_to_go(line)
        ]
        there = set(self._set_aside.read())
        self._set_aside.append([line for line in lines if line not in there])
        for log, is_to_go in zip(logs, tests, strict=True):
            log.drop(is_to_go)

    def append(
        self, cycles: Sequence[Row] = (), runs: Sequence[Row] = (), attempts: Sequence[Row] = ()
    ) -> None:
        """Appends rows to the records; they are on the disk when it returns.

        Raises:
            StorageFailed: they cannot be written; what was there before still is.
        """
        for log, rows in (
            (self._attempts, attempts),
            (self._cycles, cycles),
            (self._runs, runs),  # last: an ended run has all its cycles
        ):
            log.append([encoded(row) for row in rows])

    def drop_unended(self, trial: int) -> None:
        """Takes out what the records have of a trial none of whose runs has a row of its own.

        Raises:
            StorageFailed: they cannot be written.
        """
        for log in (self._cycles, self._attempts):
            log.drop(lambda line: json.loads(line)["trial"] == trial)

    def close(self) -> None:
        """Lets other drivers have it."""
        self.lock.release()

    def driven_s(self) -> float:
        """Seconds for which drivers have driven the sweep, to go by the records.

        Raises:
            StorageFailed: the records cannot be read.
        """
        drivers = [json.loads(line) for line in self._drivers.read()]
        runs = [json.loads(line) for line in self._runs.read()]
        return driven_s(drivers, runs)

    def note_start(self, began_at: str, phases_s: Mapping[str, float]) -> None:
        """Records where the time went until this process began to drive.

        Args:
            began_at: when the first phase began: ISO 8601, UTC.
            phases_s: seconds of each phase, in order.
        """
        row = {"pid": os.getpid(), "began_at": began_at, "phases_s": dict(phases_s)}
        self._drivers.append([encoded(row)])

    def note_end(self, stop_reason: str | None) -> None:
        """Records that this process drives the sweep no longer, and why it began no further trial.

        Args:
            stop_reason: None where the sweep is left to be gone on with, or has all its trials.
        """
        row = {"ended_at": now(), "pid": os.getpid(), "stop_reason": stop_reason}
        self._drivers.append([encoded(row)])

    def note_driver(self, command: Sequence[str]) -> None:
        """Records that this process drives the sweep from now on."""
        row = {
            "started_at": now(),
            "host": platform.node(),
            "pid": os.getpid(),
            "command": redacted(" ".join(command)),
            "versions": versions(),
        }
        self._drivers.append([encoded(row)])
