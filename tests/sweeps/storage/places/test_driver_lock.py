"""One driver for a run folder: locks of a file system, leases elsewhere, drivers that die."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from rso_core.errors import InvalidInput
from sweeps.storage.driver_lock import DriverLock, Holder
from sweeps.storage.holder import HOLDER_FILE, HolderRecord, read_holder, write_holder
from sweeps.storage.places import LocalPlace, Place, RemotePlace, StorageFailed, open_place

ME = Holder("here", os.getpid(), "2026-01-01T00:00:00+00:00")
ELSEWHERE = Holder("elsewhere", 17, "2026-01-02T00:00:00+00:00")
QUICK = {"renew_s": 0.05, "stale_s": 1.0, "settle_s": 0.05}

HOLD = """
    import os, sys, time
    from sweeps.storage.driver_lock import DriverLock, Holder
    from sweeps.storage.places import open_place
    holder = Holder("here", os.getpid(), "2026-01-01T00:00:00+00:00")
    with DriverLock(open_place(sys.argv[1]), holder, renew_s=0.1, settle_s=0.05):
        print("holds", flush=True)
        time.sleep(60)
"""


@pytest.fixture
def leased(tmp_path: Path) -> RemotePlace:
    """A place that offers no locks, which other processes see too."""
    place = open_place(f"file://{tmp_path}/leased")
    place.make()
    assert isinstance(place, RemotePlace)
    return place


@pytest.fixture
def no_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without locks."""

    def refuse(*arguments: Any) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)


def test_it_is_known_who_drives_until_the_release(place: Place) -> None:
    lock = DriverLock(place, ME, **QUICK)
    lock.acquire()
    found = read_holder(place)
    assert found is not None
    assert found.holder == ME
    assert lock.predecessor is None
    lock.check()
    lock.release()
    assert not place.exists(HOLDER_FILE)


def test_a_second_driver_is_refused_and_the_first_goes_on(place: Place) -> None:
    with DriverLock(place, ME, **QUICK) as first:
        with pytest.raises(InvalidInput) as refused:
            DriverLock(place, replace(ME, host="other"), **QUICK).acquire()
        time.sleep(0.2)
        first.check()
    assert len(refused.value.problems) == 1
    assert str(refused.value).startswith(
        f"'{place.address_of()}' is driven by process {ME.pid} on host here since "
        f"2026-01-01T00:00:00+00:00: wait for it, or end it with `kill {ME.pid}` there"
    )


def test_after_a_release_the_next_driver_starts_at_once(place: Place) -> None:
    for _ in range(3):
        with DriverLock(place, ME, **QUICK) as lock:
            assert lock.predecessor is None


def test_a_release_without_or_after_the_acquisition_is_harmless(place: Place) -> None:
    second = DriverLock(place, ME, **QUICK)
    with DriverLock(place, ME, **QUICK) as first:
        second.release()
        assert read_holder(place) is not None
        with pytest.raises(InvalidInput):
            second.acquire()
        second.release()
        assert read_holder(place) is not None
    first.release()


def test_a_driver_may_be_released_by_another_thread(place: Place) -> None:
    lock = DriverLock(place, ME, **QUICK)
    lock.acquire()
    thread = threading.Thread(target=lock.release)
    thread.start()
    thread.join()
    with DriverLock(place, ME, **QUICK) as again:
        assert again.predecessor is None


@pytest.mark.parametrize("address", ["{}/sweep", "file://{}/sweep"])
def test_another_process_is_refused_and_takes_over_when_the_first_is_killed(
    address: str, tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    place = open_place(address.format(tmp_path))
    place.make()
    process = start(HOLD, place.address)
    assert process.stdout is not None
    assert process.stdout.readline() == "holds\n"
    with pytest.raises(InvalidInput, match=f"is driven by process {process.pid} on host here"):
        DriverLock(place, ME, settle_s=0.05).acquire()
    process.kill()
    process.wait()
    with DriverLock(place, ME, settle_s=0.05) as lock:
        assert lock.predecessor == replace(ME, pid=process.pid)
    with DriverLock(place, ME, settle_s=0.05) as lock:
        assert lock.predecessor is None


@pytest.mark.parametrize("address", ["{}/sweep", "file://{}/sweep"])
def test_one_of_many_processes_that_start_at_once_drives(
    address: str, tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    code = """
        import os, sys, time
        from pathlib import Path
        from rso_core.errors import InvalidInput
        from sweeps.storage.driver_lock import DriverLock, Holder
        from sweeps.storage.places import open_place
        place, folder = open_place(sys.argv[1]), Path(sys.argv[2])
        print("ready", flush=True)
        while not (folder / "go").exists():
            time.sleep(0.001)
        try:
            with DriverLock(place, Holder("here", os.getpid(), "now"), settle_s=1):
                print("drives", flush=True)
                while not (folder / "end").exists():
                    time.sleep(0.01)
        except InvalidInput:
            print("refused", flush=True)
    """
    place = open_place(address.format(tmp_path))
    place.make()
    processes = [start(code, place.address, tmp_path) for _ in range(4)]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 4
    (tmp_path / "go").touch()
    printed = sorted(process.stdout.readline() for process in processes)
    assert printed == ["drives\n"] + ["refused\n"] * 3
    (tmp_path / "end").touch()
    assert [process.wait() for process in processes] == [0] * 4


def test_a_second_driver_is_not_told_the_name_of_a_dead_one(
    local_place: LocalPlace, start: Callable[..., subprocess.Popen[str]]
) -> None:
    with DriverLock(local_place, ME):
        dead = start("pass")
        dead.wait()
        write_holder(local_place, HolderRecord(replace(ME, pid=dead.pid)))
        with pytest.raises(InvalidInput, match="is driven by another process: wait for it"):
            DriverLock(local_place, ME).acquire()


def test_a_folder_that_cannot_be_written_is_told(
    read_only_place: LocalPlace, run_as_nobody: Callable[..., str]
) -> None:
    code = """
        import sys
        from sweeps.storage.driver_lock import DriverLock, Holder
        from sweeps.storage.places import LocalPlace, StorageFailed

        try:
            DriverLock(LocalPlace(sys.argv[1]), Holder("here", 1, "now")).acquire()
        except StorageFailed as failed:
            print(failed)
    """
    at = read_only_place.path
    assert run_as_nobody(code, at) == f"'{at}/driver.lock' cannot be locked (Permission denied)\n"


@pytest.mark.usefixtures("no_flock")
def test_a_file_system_without_locks_has_a_lease(local_place: LocalPlace) -> None:
    with DriverLock(local_place, ME, **QUICK):
        found = read_holder(local_place)
        assert found is not None
        assert found.token
        with pytest.raises(InvalidInput, match=f"is driven by process {ME.pid} on host here"):
            DriverLock(local_place, ME, **QUICK).acquire()
    with DriverLock(local_place, ME, **QUICK) as lock:
        assert lock.predecessor is None


def test_a_lock_respects_a_lease_and_a_lease_a_lock(leased: RemotePlace, tmp_path: Path) -> None:
    locked = LocalPlace(f"{tmp_path}/leased")
    for one, other in ((locked, leased), (leased, locked)):
        with DriverLock(one, ME, **QUICK), pytest.raises(InvalidInput, match="is driven by"):
            DriverLock(other, ME, **QUICK).acquire()


def test_a_lease_is_renewed_and_outlasts_the_time_after_which_it_would_be_stale(
    leased: RemotePlace,
) -> None:
    with DriverLock(leased, ME, **QUICK) as lock:
        time.sleep(1.5 * QUICK["stale_s"])
        with pytest.raises(InvalidInput):
            DriverLock(leased, replace(ME, host="other"), **QUICK).acquire()
        lock.check()


def test_a_silent_driver_on_another_host_keeps_its_lease_until_it_is_stale(place: Place) -> None:
    write_holder(place, HolderRecord(ELSEWHERE, "token", time.time()))
    with pytest.raises(InvalidInput) as refused:
        DriverLock(place, ME, stale_s=1.0, settle_s=0.05).acquire()
    assert "`kill 17` there" in str(refused.value)
    time.sleep(1.1)
    with DriverLock(place, ME, stale_s=1.0, settle_s=0.05) as lock:
        assert lock.predecessor == ELSEWHERE


def test_a_refusal_says_when_a_silent_driver_counts_as_dead(leased: RemotePlace) -> None:
    write_holder(leased, HolderRecord(ELSEWHERE, "token", time.time() - 29.5))
    with pytest.raises(InvalidInput, match=r"; if it has died, try again in 61 s$"):
        DriverLock(leased, ME).acquire()


def test_of_two_that_start_at_the_same_moment_exactly_one_goes_on(
    leased: RemotePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    both_have_looked = threading.Barrier(2)
    write = RemotePlace.write
    first_writes = threading.local()

    def write_together(place: RemotePlace, name: str, content: bytes) -> None:
        if not getattr(first_writes, "done", False) and threading.current_thread() in starters:
            first_writes.done = True
            both_have_looked.wait(10)
        write(place, name, content)

    monkeypatch.setattr(RemotePlace, "write", write_together)
    outcomes: list[str] = []
    held: list[DriverLock] = []

    def begin(host: str) -> None:
        lock = DriverLock(leased, replace(ME, host=host), renew_s=0.05, settle_s=0.3)
        try:
            lock.acquire()
        except InvalidInput as refused:
            outcomes.append(str(refused))
        else:
            held.append(lock)
            outcomes.append(host)

    starters = [threading.Thread(target=begin, args=(host,)) for host in ("one", "two")]
    for thread in starters:
        thread.start()
    for thread in starters:
        thread.join()
    assert len(held) == 1
    winner = next(outcome for outcome in outcomes if outcome in ("one", "two"))
    assert any(f"on host {winner} since" in outcome for outcome in outcomes)
    time.sleep(0.2)
    held[0].check()
    held[0].release()


def test_a_driver_whose_lease_was_taken_is_stopped_and_leaves_the_new_one_alone(
    leased: RemotePlace,
) -> None:
    lock = DriverLock(leased, ME, **QUICK)
    lock.acquire()
    taken = HolderRecord(ELSEWHERE, "token of another", time.time())
    write_holder(leased, taken)
    _until(lambda: _fails(lock))
    with pytest.raises(StorageFailed) as failed:
        lock.check()
    assert str(failed.value) == (
        f"another driver has taken over '{leased.address}': process 17 on host elsewhere, "
        "since 2026-01-02T00:00:00+00:00"
    )
    lock.release()
    assert read_holder(leased) == taken


def test_a_driver_that_was_stopped_for_long_looks_before_it_goes_on(leased: RemotePlace) -> None:
    # as if its thread had been stopped: it does not renew in time
    lock = DriverLock(leased, ME, renew_s=600, stale_s=0.2, settle_s=0.01)
    lock.acquire()
    time.sleep(0.3)
    lock.check()
    write_holder(leased, HolderRecord(ELSEWHERE, "token of another", time.time()))
    time.sleep(0.3)
    with pytest.raises(StorageFailed, match="another driver has taken over"):
        lock.check()
    lock.release()


def test_a_driver_whose_file_is_gone_is_stopped(leased: RemotePlace) -> None:
    lock = DriverLock(leased, ME, **QUICK)
    lock.acquire()
    leased.delete(HOLDER_FILE)
    _until(lambda: _fails(lock))
    with pytest.raises(StorageFailed, match="is not driven from here any more"):
        lock.check()
    lock.release()
    assert not leased.exists(HOLDER_FILE)


def test_a_lease_lives_through_a_store_that_fails_for_a_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = open_place("memory://fails-for-a-moment/x")

    def unreachable(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    with DriverLock(place, ME, renew_s=0.05, stale_s=2, settle_s=0.01) as lock:
        with monkeypatch.context() as patch:
            patch.setattr(MemoryFileSystem, "cat_file", unreachable)
            time.sleep(0.2)
            lock.check()
            _until(lambda: _fails(lock))
            with pytest.raises(StorageFailed, match="Network is unreachable"):
                lock.check()
        back_at = time.time()
        lock.check()
        _until(lambda: _renewed_at(place) > back_at)


def test_an_interrupted_start_leaves_no_lease(
    leased: RemotePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(time, "sleep", interrupted)
        with pytest.raises(KeyboardInterrupt):
            DriverLock(leased, ME).acquire()
    assert not leased.exists(HOLDER_FILE)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"host": "a"}', b"\0\0"])
def test_a_file_that_does_not_say_who_drives_is_no_obstacle(place: Place, content: bytes) -> None:
    place.write(HOLDER_FILE, content)
    with DriverLock(place, ME, **QUICK) as lock:
        assert lock.predecessor is None
        assert json.loads(place.read(HOLDER_FILE))["pid"] == ME.pid


def _fails(lock: DriverLock) -> bool:
    try:
        lock.check()
    except StorageFailed:
        return True
    return False


def _renewed_at(place: Place) -> float:
    found = read_holder(place)
    return found.renewed_at if found else 0.0


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
