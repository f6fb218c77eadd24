"""What a run folder keeps of the states of its runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sweeps.storage.checkpoints import CheckpointFolder, UnusableCheckpoint, position
from sweeps.storage.places import open_place

_STATE = {"records": [{}, {}], "optimizer": {"n_done": 0, "weights": torch.arange(3.0)}}


@pytest.fixture
def folder(tmp_path: Path) -> CheckpointFolder:
    """Of a run folder as it is made, with no place yet for what finished runs leave."""
    place = open_place(str(tmp_path / "run"))
    place.make("checkpoints")
    return CheckpointFolder(place, every_s=1.0)


def test_a_final_state_comes_back_as_it_was_written(folder: CheckpointFolder) -> None:
    assert folder.read_final("x") is None
    assert folder.read_final("x") is None
    folder.write_final("x", _STATE)
    assert folder.read_final("x") is not None
    assert folder.read_final("y") is None
    state = folder.read_final("x")
    assert state is not None
    assert position(state) == (2, 0)
    assert torch.equal(state["optimizer"]["weights"], torch.arange(3.0))
    folder.write_final("x", _STATE | {"records": [{}] * 4})
    assert position(folder.read_final("x")) == (4, 0)


def test_what_a_finished_run_leaves_outlives_its_checkpoint(folder: CheckpointFolder) -> None:
    folder.write("x", _STATE)
    folder.write_final("x", _STATE)
    folder.write_weights("x", {"w": torch.ones(1)})
    folder.delete("x")
    assert folder.read("x") is None
    assert folder.read_final("x") is not None
    assert folder.place.names("weights") == ["x.pt"]
    folder.delete_final("x")
    folder.delete_final("x")
    assert folder.read_final("x") is None
    assert folder.place.names("weights") == []


@pytest.mark.parametrize(
    "damage", [lambda whole: whole[:200], lambda whole: b"", lambda whole: b"\0" * len(whole)]
)
def test_a_torn_final_state_is_there_and_cannot_be_read(
    folder: CheckpointFolder, damage: Callable[[bytes], bytes]
) -> None:
    folder.write_final("x", _STATE)
    name = "final_states/x.pt"
    folder.place.write(name, damage(folder.place.read(name)))
    with pytest.raises(UnusableCheckpoint):
        folder.read_final("x")


def test_a_final_state_holds_nothing_that_could_run(folder: CheckpointFolder) -> None:
    folder.write_final("x", {"state": Path("/")})
    with pytest.raises(UnusableCheckpoint, match="something other than tensors and plain values"):
        folder.read_final("x")


def test_the_position_of_a_state_that_does_not_tell_what_is_done_of_a_cycle_is_its_start() -> None:
    assert position({"records": [{}, {}, {}], "optimizer": {"cycle": 3}}) == (3, 0)
