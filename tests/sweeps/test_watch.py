"""What `rso-sweep watch` shows of run folders that are finished, growing, empty or damaged."""

from __future__ import annotations

import importlib.util
import io
import os
import platform
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

import sweeps.watching.reading
from analysis import UnreadableRunFolder, load
from sweeps.storage.holder import Holder, HolderRecord, write_holder
from sweeps.storage.places import open_place
from sweeps.watching.command import watch
from sweeps.watching.moment import DriverSeen, Moment, driver_of
from sweeps.watching.standing import Standing, standing
from sweeps.watching.times import driven_s, left_s
from sweeps.watching.view import view

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
ALIVE = DriverSeen("process 7 on node-1", is_alive=True)
GONE = DriverSeen(None, is_alive=False)
HOSTILE = "[bold red]x[/] \x1b[31mred\x1b[0m \x07\u202e:boom: [link=http://evil.example]here"


def _builder_class() -> Any:
    """What the tests of the analysis make their run folders with."""
    path = Path(__file__).parent.parent / "analysis" / "conftest.py"
    spec = importlib.util.spec_from_file_location("folders_of_the_analysis", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.RunFolderBuilder


Build = Callable[..., Any]
BUILDER = _builder_class()


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Makes a builder of a run folder."""
    return lambda name="a-sweep": BUILDER(tmp_path / name)


def under_way(builder: Any) -> Any:
    """Two trials have finished; one has a run that has not ended, one has failed."""
    builder.specification["pruner"] = {"name": "none"}
    for seed in (0, 1):
        builder.add_run(0, seed, validation=[0.5, 0.6, 0.7 + 0.01 * seed])
        builder.add_run(1, seed, optimizer="sgd", validation=[0.8, 0.85, 0.9 + 0.01 * seed])
    builder.add_run(2, 0, batch_size=256, options={"perturbation_std": 0.5})
    builder.add_run(2, 1, batch_size=256, validation=[0.41, 0.42], state=None)
    builder.add_run(
        3, 0, optimizer="sgd", state="failed", reason="the loss is not finite (cycle 2)"
    )
    builder.add_run(3, 1, optimizer="sgd", state="pruned", validation=[0.2])
    builder.add_driver("rso-sweep run sweep.yaml")
    return builder


def picture(
    sweep: Path | Standing,
    width: int = 80,
    height: int | None = None,
    driver: DriverSeen = ALIVE,
    **seen: Any,
) -> str:
    """What is shown of a sweep, as text."""
    known = standing(load(sweep)) if isinstance(sweep, Path) else sweep
    moment, folder = Moment(NOW, driver, **seen), str(known.frames.sweeps[0].folder)
    drawn = view(known, moment, folder=folder, width=width, height=height)
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(drawn)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def titles(shown: str) -> list[str]:
    """The titles of the parts, in their order."""
    return [line.rstrip("─ ") for line in shown.splitlines() if line.endswith("──")]


def test_a_finished_sweep_is_shown_in_a_usual_terminal(build: Build) -> None:
    builder = build()
    builder.specification["trials"] = 2
    for seed in (0, 1):
        builder.add_run(0, seed, validation=[0.5, 0.6, 0.7 + 0.01 * seed])
        builder.add_run(1, seed, optimizer="sgd", validation=[0.8, 0.85, 0.9 + 0.01 * seed])
    builder.add_driver("rso-sweep run sweep.yaml")
    shown = picture(builder.write(), height=23, driver=GONE)
    lines = shown.splitlines()
    assert lines[0] == "a-sweep  RSO against SGD by validation accuracy"
    assert lines[1] == "mnist · one_conv · batch 64, 256 · 2 seeds · 3 cycles"
    assert lines[2].startswith("trials  ━━━━━━━━━━")
    assert lines[2].endswith(" 2 of 2 ended, 10 min 00 s in all")
    assert lines[3] == "runs    4 finished, of 4 · last record some time ago"
    assert lines[4] == "driver  none: the sweep is over"
    assert titles(shown) == [
        "RSO against SGD by network and batch size (bold: best; italic: tied)",
        "The best configuration of each optimiser",
        "Validation accuracy of the best run of each optimiser, cycle by cycle",
        "Ended last",
    ]
    assert "50.00 % → 71.00 % (trial 0, seed 1)" in shown
    assert "80.00 % → 91.00 % (trial 1, seed 1)" in shown
    assert "done   trial   0 seed 0  val. 70.00, test 70.00 %  RSO one_conv, batch 64" in shown


def test_a_sweep_under_way_is_shown_in_the_order_of_its_story(build: Build) -> None:
    shown = picture(under_way(build()).write(), last_record_at=NOW - timedelta(seconds=3))
    assert titles(shown) == [
        "Training now",
        "RSO against SGD by network and batch size, so far (bold: best; italic: tied)",
        "The best configuration of each optimiser, so far",
        "Validation accuracy of the best run of each optimiser, cycle by cycle",
        "Ended last",
        "Failed: 1",
    ]
    assert "3 of 4 ended, 1 h 00 min so far, about " in shown
    runs = "runs    5 finished, 1 running, 1 pruned, 1 failed, of 8 · last record 3 s ago"
    assert runs in shown
    assert "driver  process 7 on node-1\n" in shown
    # at 80 characters the validation accuracy is left out before anything is shortened
    assert re.search(
        r"    2 +1 RSO one_conv, batch 256, perturbation_std=0\.5 +2 of 3 +42\.00\n", shown
    )
    assert "FAILED trial   3 seed 0  the loss is not finite (cycle 2)  SGD one_conv" in shown
    assert "pruned trial   3 seed 1  val. 20.00, test 20.00 %" in shown


def test_without_a_driver_it_is_said_how_to_go_on(build: Build) -> None:
    folder = under_way(build()).write()
    known = standing(load(folder))
    shown = picture(known, 300, driver=GONE)
    assert f"driver  none: `rso-sweep resume {folder}` goes on\n" in shown
    assert "1 begun, not ended" in shown
    assert "Begun and not ended" in shown
    assert "left" not in shown.splitlines()[2]
    # however narrow the terminal is, the command is there whole
    narrow = picture(known, 60, driver=GONE)
    assert re.sub(r"\s+", "", f"`rso-sweep resume {folder}`") in re.sub(r"\s+", "", narrow)


def test_a_folder_with_no_record_is_shown(build: Build) -> None:
    shown = picture(build().write())
    assert "0 of 4 ended" in shown
    assert "runs    none yet, of 8 · no record yet" in shown
    assert "No run has finished yet, so there is nothing to compare." in shown
    assert titles(shown) == []


def test_a_sweep_file_that_says_next_to_nothing_is_enough(build: Build) -> None:
    builder = build()
    builder.add_run(0)
    builder.add_run(1, state=None)
    builder.specification = {"name": "bare", "objective": {"metric": "training_s"}}
    shown = picture(builder.write(), 100)
    assert shown.startswith("bare  RSO by training time\none_conv · batch 64\n")
    assert "trials  1 ended" in shown
    # a cost has no learning curve: an accuracy does
    assert "Validation accuracy of the best run" in shown


def test_one_optimiser_has_its_accuracies(build: Build) -> None:
    builder = build()
    builder.add_run(0)
    builder.add_run(0, 1)
    shown = picture(builder.write(), 160)
    assert "Accuracy by network and batch size, so far" in titles(shown)


def test_several_objectives_have_their_pareto_set(build: Build) -> None:
    builder = build()
    builder.specification["objective"] = [{"metric": "test_accuracy"}, {"metric": "training_s"}]
    for seed in (0, 1):
        builder.add_run(0, seed, validation=[0.9], training_s=50.0)
        builder.add_run(1, seed, optimizer="sgd", validation=[0.8], training_s=5.0)
    shown = picture(builder.write(), 160)
    assert "RSO against SGD by test accuracy and training time" in shown
    wanted = "The Pareto set: highest test accuracy and lowest training time, so far"
    assert wanted in titles(shown)


def test_its_own_rule_has_ended_a_sweep(build: Build) -> None:
    builder = build()
    builder.specification |= {"stop": {"target": 0.5}, "trials": 9}
    builder.add_run(0)
    builder.add_run(0, 1)
    builder.add_driver("rso-sweep run sweep.yaml")
    reason = "the target is reached: validation_accuracy 0.7"
    builder.driver_rows[0] |= {"ended_at": "2026-11-24T07:20:00+00:00", "stop_reason": reason}
    shown = picture(builder.write(), 100, driver=GONE)
    assert "1 of at most 9 ended, 20 min 00 s in all" in shown
    assert "driver  none: the sweep is over" in shown
    assert f"stopped by its own rule: {reason}" in shown


def test_figures_that_are_missing_or_not_finite_do_no_harm(build: Build) -> None:
    builder = build()
    builder.add_run(0, validation=[None, None, None])
    builder.add_run(1, optimizer="sgd", validation=[0.2, None, 0.3])
    builder.add_run(2, optimizer="sgd", validation=[None], state=None)
    builder.run_rows[0]["options"] = None
    builder.cycle_rows[-1]["seed"] = None
    assert "20.00 % → 30.00 % (trial 1, seed 0)" in picture(builder.write(), 160)


def test_texts_of_a_folder_are_shown_and_not_obeyed(build: Build) -> None:
    builder = build()
    builder.specification |= {"name": HOSTILE, "space": {"architecture": HOSTILE}}
    for seed in (0, 1):
        options = {"note": HOSTILE} if seed else {"note": "plain"}
        builder.add_run(0, seed, architecture=HOSTILE, optimizer=HOSTILE, options=options)
    builder.add_run(1, architecture=HOSTILE, state="failed", reason=HOSTILE)
    builder.add_run(2, architecture=HOSTILE, state=None)
    folder, console = builder.write(), Console(file=io.StringIO(), width=300, force_terminal=True)
    moment = Moment(
        NOW, DriverSeen(HOSTILE, is_alive=True), {9: {"batch_size": HOSTILE}}, None, HOSTILE
    )
    console.print(view(standing(load(folder)), moment, folder=HOSTILE, width=300))
    assert isinstance(console.file, io.StringIO)
    written = console.file.getvalue()
    assert written.count("[bold red]x[/]") >= 6
    assert ":boom: [link=http://evil.example]here" in written
    assert not set("\x07\u202e") & set(written)
    assert "\x1b[31mred" not in written
    assert "\x1b]8" not in written


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Sweeps as they stand: under way, empty, and of many networks with long names."""
    many = BUILDER(tmp_path_factory.mktemp("many") / "many")
    for trial in range(12):
        name = f"my_package.networks:network_number_{trial // 2}_with_広い"
        optimizer = ("rso", "sgd")[trial % 2]
        many.add_run(
            trial, architecture=name, optimizer=optimizer, state=[None, "finished"][trial % 3 > 0]
        )
        many.add_run(100 + trial, state="failed", reason="it exploded " * 20)
    made = [under_way(BUILDER(tmp_path_factory.mktemp("way") / "a")), many]
    made.append(BUILDER(tmp_path_factory.mktemp("empty") / "empty"))
    return [standing(load(builder.write())) for builder in made]


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_the_picture_fits_the_terminal(folders: list[Any], data: st.DataObject) -> None:
    sweep = data.draw(st.sampled_from(folders))
    width, height = data.draw(st.integers(30, 200)), data.draw(st.integers(12, 60))
    driver = data.draw(st.sampled_from([ALIVE, GONE]))
    lines = picture(sweep, width, height, driver).splitlines()
    assert len(lines) <= height
    assert max(cell_len(line) for line in lines) <= width


def test_what_is_needed_most_comes_first_where_room_is_short(folders: list[Any]) -> None:
    assert [title.partition(" ")[0] for title in titles(picture(folders[0], height=13))] == [
        "Training",
        "RSO",
    ]
    assert [title.partition(" ")[0] for title in titles(picture(folders[0], height=17))] == [
        "Training",
        "RSO",
        "The",
    ]
    assert len(titles(picture(folders[0], height=40))) == 6


def test_the_time_is_that_of_all_drivers(build: Build) -> None:
    builder = build()
    builder.add_run(0)  # ended 10 minutes after the first driver's beginning
    builder.add_driver("run")
    builder.add_driver("resume")
    builder.driver_rows[1]["started_at"] = "2026-11-24T07:30:00+00:00"
    frames = load(builder.write())
    assert driven_s(frames, NOW, is_driven=True) == 600.5 + 1800
    assert driven_s(frames, NOW, is_driven=False) == 600.5
    assert driven_s(load(build("empty").write()), NOW, is_driven=True) is None


def test_what_is_left_is_shared_by_those_that_train(build: Build) -> None:
    builder = build()
    for trial in range(4):
        builder.add_run(trial, training_s=9.5)  # 10 s a cycle with the evaluation
    for trial in (4, 5):
        builder.add_run(trial, validation=[0.5], training_s=9.5, state=None)
    frames = load(builder.write())
    # as the study tells it
    for name, value in (("architecture", "one_conv"), ("batch_size", 64), ("optimizer", "rso")):
        frames.runs[name] = frames.runs[name].fillna(value)
    of_a_cycle = frames.runs["n_cycles"].astype("float64") * 0 + 10.0

    def left(n_kinds: int | None, driven: float = 140.0, n_runs: int = 10) -> float | None:
        arguments = {"n_runs": n_runs, "n_cycles": 3, "driven_s": driven, "n_kinds": n_kinds}
        return left_s(frames.runs, of_a_cycle, [], **arguments)  # type: ignore[arg-type]

    # two runs with 20 s left each, four to come with 30 s each, two at once
    assert left(None) == pytest.approx((2 * 20 + 4 * 30) / 2)
    # four at once on average, of which two have not come to a first cycle
    assert left(None, driven=35.0) == pytest.approx(40.0)
    assert left(None, n_runs=6) == pytest.approx(20.0)
    # of a grid with another kind, of which nothing has begun, half the time is expected
    assert left(2, n_runs=12) == pytest.approx((2 * 20 + 6 * 15) / 2)
    assert left(1, n_runs=12) == pytest.approx((2 * 20 + 6 * 30) / 2)
    empty = load(build("empty").write())
    none = empty.runs["training_s"]
    assert left_s(empty.runs, none, [], n_runs=8, n_cycles=3, driven_s=1.0, n_kinds=None) is None


def test_the_study_tells_what_is_trained_before_a_run_of_it_has_ended(
    tmp_path: Path, drive: Any, spec: Any, scripted: Any
) -> None:
    path = tmp_path / "killed"
    executor = scripted(lambda run: [0.5, 0.6], n_slots=2, kill_at=3)
    with pytest.raises(executor.Killed):
        drive(spec("seeds=1"), path, executor)
    shown = _once(path)
    for trial, rate in ((0, "0.1"), (1, "0.2")):
        row = rf"{trial} +0 +SGD mlp\(\), batch 25, learning_rate={rate} +1 of 2 +50\.00"
        assert re.search(row, shown), shown
    # it goes by what can be read: without the journal, by the records alone
    (path / "study.journal").write_bytes(b'{"op_code": 99}\n')
    assert re.search(r"0 +0 +— +1 of 2", _once(path))


def test_a_trial_in_its_first_cycle_is_among_those_that_train(
    tmp_path: Path, drive: Any, spec: Any, scripted: Any
) -> None:
    path = tmp_path / "killed"
    executor = scripted(lambda run: [0.5, 0.6], n_slots=2, kill_at=2)
    with pytest.raises(executor.Killed):
        drive(spec("seeds=1"), path, executor)
    assert re.search(r"1 +— +SGD mlp\(\), batch 25, learning_rate=0\.2 +0 of 2 +— +—", _once(path))


def _once(folder: Path | str, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    watch(str(folder), every_s=2, once=True, console=console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_driver_is_alive_or_not(build: Build) -> None:
    folder = build().write()
    place = open_place(str(folder))

    def driver(host: str, pid: int, **lease: Any) -> DriverSeen:
        write_holder(place, HolderRecord(Holder(host, pid, ""), **lease))
        return driver_of(place)

    assert driver_of(place) == GONE
    here, pid = platform.node(), os.getpid()
    assert driver(here, pid) == DriverSeen(f"process {pid} on {here}", is_alive=True)
    ask = [sys.executable, "-c", "import os; print(os.getpid())"]
    dead = subprocess.run(ask, capture_output=True, check=True)
    assert driver(here, int(dead.stdout)) == GONE
    afar = DriverSeen("process 1 on elsewhere", is_alive=True)
    assert driver("elsewhere", 1) == afar
    assert driver("elsewhere", 1, token="x", renewed_at=time.time()) == afar
    silent = driver("elsewhere", 1, token="x", renewed_at=time.time() - 200)
    assert silent.words is not None
    assert silent.words.startswith("process 1 on elsewhere, silent for 3 min ")
    assert not silent.is_alive


class Watching:
    """A console, and a clock that goes on only when somebody sleeps or reads."""

    def __init__(self, is_terminal: bool = False) -> None:
        self.text = io.StringIO()
        self.console = Console(file=self.text, width=90, height=30, force_terminal=is_terminal)
        self.moment = 0.0
        self.slept: list[float] = []
        self.then: list[Callable[[], object]] = []
        """What happens in each sleep."""

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.moment += seconds
        assert self.then, "it does not end"
        self.then.pop(0)()

    def watch(self, folder: Path | str, every_s: float = 2.0) -> str:
        watch(str(folder), every_s=every_s, once=False, console=self.console,
              clock=lambda: self.moment, sleep=self.sleep)  # fmt: skip
        return self.text.getvalue()


def nothing() -> None:
    """Nothing happens."""


def test_a_growing_folder_has_a_picture_for_each_change_until_it_is_over(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = build()
    builder.specification |= {"trials": 2, "seeds": [0]}
    folder = builder.write()
    watching, loaded = Watching(), []

    def reading(path: str) -> Any:
        loaded.append(path)
        watching.moment += 1.5
        return load(path)

    monkeypatch.setattr(sweeps.watching.reading, "load", reading)

    def grow(trial: int) -> None:
        builder.add_run(trial, optimizer=("rso", "sgd")[trial])
        builder.write()
        _touch(folder)

    watching.then = [nothing, nothing, nothing, lambda: grow(0), nothing, nothing, lambda: grow(1)]
    shown = watching.watch(folder)
    assert "\x1b" not in shown
    pictures = shown.split("═" * 90 + "\n")
    assert len(pictures) == 3
    for number, text in enumerate(pictures):
        assert f"{number} of 2 ended" in text
    assert pictures[-1].endswith(
        f"The sweep is over. `rso-sweep report {folder}` writes its report.\n"
    )
    # each change is read twice, since a second one may have had the same time as the first
    assert len(loaded) == 5
    # three times as long as a look took, and two seconds where it took none
    assert watching.slept == [4.5, 4.5, 2, 2, 4.5, 4.5, 2]


def _touch(folder: Path) -> None:
    """Gives the records a time that is not that of what was written just before."""
    for path in (folder / "records").iterdir():
        later = path.stat().st_mtime_ns + 10**9
        os.utime(path, ns=(later, later))


def test_a_file_that_is_being_written_does_not_end_it(build: Build) -> None:
    folder = build().write()
    asked, cycles = folder / "sweep.yaml", folder / "records" / "cycles.jsonl"
    whole = asked.read_text()
    watching = Watching()

    def tear() -> None:
        with cycles.open("a") as file:
            file.write('{"trial": 2, "run": "trial-2-se')
        _touch(folder)

    def empty_sweep_file() -> None:
        asked.write_text("")
        os.utime(asked, (1, 1))

    def give_back() -> None:
        asked.write_text(whole.replace("trials: 4", "trials: 5"))
        os.utime(asked, (2, 2))

    watching.then = [tear, empty_sweep_file, give_back, _interrupt]
    with pytest.raises(KeyboardInterrupt):
        watching.watch(folder)
    first, torn, away, back = watching.text.getvalue().split("═" * 90 + "\n")
    assert re.sub("last record.*", "", first) == re.sub("last record.*", "", torn)
    assert "note    " not in torn
    assert "note    " in away
    assert "tried again" in away
    assert "0 of 4 ended" in away
    assert "note    " not in back
    assert "0 of 5 ended" in back


def _interrupt() -> None:
    raise KeyboardInterrupt


def test_what_is_no_run_folder_is_refused_before_anything_is_shown(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        watching = Watching(is_terminal=True)
        with pytest.raises(UnreadableRunFolder, match="is not a run folder: it has no"):
            watching.watch(folder)
        assert watching.text.getvalue() == ""


def test_a_terminal_keeps_the_last_picture_and_gets_its_cursor_back(build: Build) -> None:
    builder = build()
    builder.specification |= {"trials": 1, "seeds": [0]}
    folder, watching = builder.write(), Watching(is_terminal=True)
    watching.then = [_interrupt]
    with pytest.raises(KeyboardInterrupt):
        watching.watch(folder)
    assert watching.text.getvalue().rstrip().endswith("\x1b[?25h")

    def end() -> None:
        builder.add_run(0)
        builder.write()
        _touch(folder)

    watching = Watching(is_terminal=True)
    watching.then = [end]
    shown = watching.watch(folder)
    assert "\x1b[?1049h" not in shown  # no second screen, which would take the picture with it
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
    assert shown.index("0 of 1 ended") < shown.index("1 of 1 ended")
    assert shown.rindex("1 of 1 ended") < shown.index("The sweep is over.")


def test_a_sweep_at_an_address_is_watched(build: Build, tmp_path: Path) -> None:
    files, address = fsspec.filesystem("memory"), f"memory://{tmp_path.name}"
    builder = build()
    builder.specification["trials"] = 1
    builder.add_run(0)
    watching = Watching()
    try:
        files.put(str(builder.write()), f"/{tmp_path.name}", recursive=True)

        def end() -> None:
            builder.add_run(0, 1)
            records = builder.write() / "records"
            for path in records.iterdir():
                files.pipe_file(f"/{tmp_path.name}/records/{path.name}", path.read_bytes())

        watching.then = [nothing, end]
        shown = watching.watch(address)
    finally:
        files.rm(f"/{tmp_path.name}", recursive=True)
    assert "0 of 1 ended" in shown
    assert f"The sweep is over. `rso-sweep report {address}` writes its report." in shown


def test_ctrl_c_in_a_real_terminal_ends_it_with_status_130(build: Build) -> None:
    folder = under_way(build()).write()
    command = "import sys, sweeps.cli; sys.argv[0] = 'rso-sweep'; sweeps.cli.main()"
    arguments = [sys.executable, "-c", command, "watch", str(folder), "--every", "0.2"]
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    with subprocess.Popen(
        arguments, stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        written, is_told, deadline = b"", False, time.monotonic() + 100
        while time.monotonic() < deadline:
            if select.select([ours], [], [], 0.2)[0]:
                try:
                    written += os.read(ours, 65536)
                except OSError:  # so Linux says that the other side is closed
                    break
            if b"Failed: 1" in written and not is_told:
                process.send_signal(signal.SIGINT)
                is_told = True
        process.kill()
    os.close(ours)
    assert process.returncode == 130, written[-2000:]
    assert b"Traceback" not in written
    assert written.rindex(b"\x1b[?25h") > written.rindex(b"\x1b[?25l")
