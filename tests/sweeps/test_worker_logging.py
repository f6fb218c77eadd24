"""What an actor logs and prints can be found by trial, run and node."""

from __future__ import annotations

import io
import logging
import platform
import sys
import textwrap
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import ray
from hypothesis import given
from hypothesis import strategies as st

from rso_core.configuration import Configuration
from rso_core.datasets import Dataset
from sweeps.ray_connection import connect
from sweeps.runs import LAST_EVENTS, Run, run_name
from sweeps.worker_logging import configure_worker_logging, run_at_work, thread_named

_NETWORKS = """
import logging, sys, threading, warnings
from torch import nn

class Talking(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(784, 10)
        self.has_talked = False
    def forward(self, x):
        if not self.has_talked and len(x) == 25:  # a batch of training
            self.has_talked = True
            print("two", "words", end="")
            print(" and a third\\nand a line")
            print("to the error stream", file=sys.stderr)
            logging.getLogger("my.network").info("at the level of information")
            logging.getLogger("my.network").debug("too detailed")
            warnings.warn("is slow", stacklevel=1)
            thread = threading.Thread(target=print, args=("from a thread of its own",))
            thread.start()
            thread.join()
        return self.linear(x.flatten(1))

class Raising(Talking):
    def forward(self, x):
        if len(x) == 25:
            raise RuntimeError("went wrong at https://me:secret@example.org")
        return super().forward(x)

def talking():
    return Talking()

def raising():
    return Raising()
"""

Output = tuple[list[str], list[str]]


@pytest.fixture(scope="module")
def outputs(
    tiny_data: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Run], Output]]:
    """Has an actor train a run; gives the lines of its two log files, those of that run alone."""
    folder = tmp_path_factory.mktemp("modules")
    (folder / "talking_networks.py").write_text(textwrap.dedent(_NETWORKS))

    class Actor:
        """As the executor's, in a process of its own."""

        def __init__(self, data: Dataset, search_path: list[str]) -> None:
            from sweeps.worker import Worker

            configure_worker_logging()
            configure_worker_logging()  # once is enough
            sys.path.extend(search_path)
            self._worker = Worker(data, 1)

        def train(self, run: Run) -> list[Any]:
            print("between two runs")
            events: list[Any] = []
            self._worker.start(run)
            while not events or not isinstance(events[-1], LAST_EVENTS):
                events += self._worker.poll(5)
            self._worker.wait(5)
            return events

        def files(self) -> tuple[str, str]:
            worker = ray._private.worker.global_worker
            return worker.get_out_file_path(), worker.get_err_file_path()

    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(str(folder))
    connect(None, 1)
    try:
        actor = ray.remote(Actor).remote(tiny_data, [str(folder)])

        def train(run: Run) -> Output:
            before = [Path(file).read_text() for file in ray.get(actor.files.remote())]
            ray.get(actor.train.remote(run))
            after = [Path(file).read_text() for file in ray.get(actor.files.remote())]
            out, err = (a[len(b) :].splitlines() for a, b in zip(after, before, strict=True))
            return out, err

        yield train
    finally:
        ray.shutdown()
        patch.undo()


def _run(trial: int, network: str) -> Run:
    values = {"architecture": f"talking_networks:{network}", "batch_size": 25, "optimizer": "sgd"}
    return Run(trial, 1, Configuration.from_values(values, 1))


@pytest.fixture(autouse=True)
def _no_threads_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that hang in other tests have left their threads behind in this process."""
    before, all_threads = set(threading.enumerate()), threading.enumerate
    monkeypatch.setattr(
        "sweeps.worker_logging.threading.enumerate",
        lambda: [thread for thread in all_threads() if thread not in before],
    )


def test_what_a_run_prints_logs_and_warns_of_is_labelled_in_the_actor_s_files(
    outputs: Callable[[Run], Output],
) -> None:
    out, err = outputs(_run(3, "talking"))
    label = f"trial=3 run=trial-3-seed-1 node={platform.node()}"
    assert out == [
        "between two runs",
        f"{label} | two words and a third",
        f"{label} | and a line",
        f"{label} | from a thread of its own",
    ]
    assert f"{label} | to the error stream" in err
    assert _logged(err, label) == [
        "INFO sweeps.worker: begins: {'architecture': 'talking_networks:talking', ",
        "INFO my.network: at the level of information",
        "WARNING py.warnings: UserWarning: is slow",
        "INFO sweeps.worker: ends: finished",
    ]


def _logged(lines: list[str], label: str) -> list[str]:
    """The records without their times, paths and what is the same in all; one by one."""
    records = [
        line.split(" ", 2)[2] for line in lines if f" {label} " in line and " | " not in line
    ]
    return [_shortened(record.replace(f" {label}", "")) for record in records]


def _shortened(record: str) -> str:
    if "begins" in record:
        return record.partition("'batch_size'")[0]
    head, colon, text = record.partition(": /")
    return f"{head}: {text.split(': ', 1)[1]}" if colon else record


def test_a_run_that_fails_leaves_its_traceback_in_the_log_without_secrets(
    outputs: Callable[[Run], Output],
) -> None:
    _, err = outputs(_run(12, "raising"))
    label = f"trial=12 run=trial-12-seed-1 node={platform.node()}"
    assert all(label in line for line in err)
    assert any("talking_networks.py" in line and "in forward" in line for line in err)
    assert f"{label} | RuntimeError: went wrong at https://***@example.org" in [
        line.replace("me:", "") for line in err
    ]
    assert err[-1].endswith(f"INFO {label} sweeps.worker: ends: failed")


@contextmanager
def _labelled() -> Iterator[tuple[io.StringIO, io.StringIO]]:
    """Within it this process's standard streams are labelled, and written to these."""
    out, err = io.StringIO(), io.StringIO()
    root = logging.getLogger()
    before = root.handlers[:], root.level
    root.handlers.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        patch.setattr(warnings, "showwarning", warnings.showwarning)
        configure_worker_logging()
        try:
            yield out, err
        finally:
            logging.captureWarnings(False)
            root.handlers[:] = before[0]
            root.setLevel(before[1])


def _in_thread(name: str, act: Callable[[], object]) -> None:
    thread = threading.Thread(target=act, name=name)
    thread.start()
    thread.join()


def test_outside_a_run_nothing_is_put_before_what_is_printed() -> None:
    with _labelled() as (out, err):
        print("plain")
        _in_thread("another", lambda: print("plain too"))
        logging.getLogger("x").info("logged")
    assert out.getvalue() == "plain\nplain too\n"
    assert err.getvalue().endswith(f" INFO node={platform.node()} x: logged\n")


def test_lines_for_ray_s_log_monitor_are_left_alone() -> None:
    with _labelled() as (out, _):
        _in_thread(run_name(0, 0), lambda: print(":actor_name:Worker\n\nmine\r20 %"))
    label = f"trial=0 run=trial-0-seed-0 node={platform.node()} | "
    assert out.getvalue() == f":actor_name:Worker\n\n{label}mine\r20 %\n"


def test_a_stream_that_is_labelled_still_is_the_stream() -> None:
    with _labelled() as (out, _):
        sys.stdout.writelines(["a\n", "b\n"])
        assert sys.stdout.write("") == 0
        assert not sys.stdout.isatty()
    assert out.getvalue() == "a\nb\n"


@given(st.lists(st.text(st.sampled_from("ab\n\r:"), max_size=6), max_size=8))
def test_however_a_text_is_cut_its_lines_are_labelled_once(pieces: list[str]) -> None:
    from sweeps.worker_logging import _LabelledStream

    stream = io.StringIO()
    labelled = _LabelledStream(stream)

    def write() -> None:
        for piece in pieces:
            labelled.write(piece)

    _in_thread(run_name(7, 2), write)
    label = f"trial=7 run=trial-7-seed-2 node={platform.node()} | "
    whole = "".join(pieces)
    assert stream.getvalue().replace(label, "") == whole
    for line, written in zip(whole.split("\n"), stream.getvalue().split("\n"), strict=True):
        assert written == (label + line if line else "")


def test_a_run_is_known_by_the_name_of_its_thread_or_of_the_only_one_that_trains() -> None:
    seen: dict[str, str | None] = {}
    done = threading.Event()
    one = threading.Thread(target=done.wait, args=(10,), name=run_name(1, 0))
    one.start()
    _in_thread("of a user", lambda: seen.update(alone=run_at_work()))
    _in_thread(run_name(2, 0), lambda: seen.update(itself=run_at_work()))
    other = threading.Thread(target=done.wait, args=(10,), name=run_name(2, 5))
    other.start()
    _in_thread("of a user", lambda: seen.update(of_two=run_at_work()))
    done.set()
    one.join()
    other.join()
    with thread_named(run_name(8, 1)):
        assert run_at_work() == "trial-8-seed-1"
    assert seen == {"alone": "trial-1-seed-0", "itself": "trial-2-seed-0", "of_two": None}
    assert run_at_work() is None


def test_a_warning_becomes_a_line_of_the_log() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with _labelled() as (_, err):
            warnings.warn("watch out", stacklevel=1)
    assert f" WARNING node={platform.node()} py.warnings: " in err.getvalue()
    assert "UserWarning: watch out" in err.getvalue()
