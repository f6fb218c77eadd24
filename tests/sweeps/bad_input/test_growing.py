"""Growth that is refused: one line, and the run folder stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.run_folder import RunFolder

Refused = Callable[..., None]

_KEEPS = "; or begin a new sweep, which 'warm_start: [DIR]' lets learn from this one"
_MAY = (
    " when a sweep is grown: trials, seeds, budget, space, constraints and first may be added to, "
    "and resources, checkpoints, limits, output, repetitions, stop and logging may be changed"
    f"{_KEEPS}"
)

CHANGES = {
    "fewer trials": ("trials=1", "'trials' must be at least 2, the trials that have been begun..."),
    "fewer seeds": ("seeds=[1]", "'seeds' must keep those that there are, [0], got [1]; add to..."),
    "fewer cycles": ("budget.cycles=1", "'budget.cycles' must be at least 2, as before, got 1"),
    "a shorter list": (
        "space.learning_rate=[0.1]",
        "'space' must keep every configuration that has been begun, but 1 of 2 would not be in "
        "it, such as architecture mlp(), batch_size 25, optimizer sgd, learning_rate 0.2; add to "
        "it, take nothing away",
    ),
    "another sampler": ("sampler=brute_force", f"'sampler' must stay as it is{_MAY}"),
    "another objective": ("objective=test_loss", "'objective' must be a mapping..."),
    "another metric": (
        "objective.metric=test_accuracy",
        f"'objective' must stay as it is{_MAY}",
    ),
    "other data": ("data.train_size=90", f"'data' must stay as it is{_MAY}"),
    "another seed": ("seed=5", f"'seed' must stay as it is{_MAY}"),
    "another name": ("name=other", f"'name' must stay as it is{_MAY}"),
    "a network that is none": ("space.architecture=[mlp(), mlq()]", "'space.architecture' ..."),
    "a batch that is too large": (
        "space.batch_size=[25, 1000]",
        "'space.batch_size' must be an integer from 1 to 100, got 1000; 100 training images...",
    ),
    "a key that is none": ("seedz=3", "'seedz' ..."),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_would_make_its_results_another_sweep_s_is_refused(
    refused: Refused, run_folder: Path, change: str
) -> None:
    override, message = CHANGES[change]
    messages = [message]
    if change == "a shorter list":  # a grid of one trial, too
        messages = [
            "'trials' must be at least 2, the trials that have been begun, got 1",
            message,
        ]
    refused(["run", run_folder, "--set", override], *messages)


def test_a_network_that_the_data_does_not_fit_is_refused_before_the_sweep_is_changed(
    refused: Refused, run_folder: Path
) -> None:
    Path("grown_networks.py").write_text(
        "from torch import nn\n\ndef narrow():\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(9, 10))\n"
    )
    architectures = "space.architecture=[mlp(), grown_networks:narrow]"
    refused(["run", run_folder, "--set", architectures], "...")


def test_several_changes_are_told_in_one_line(refused: Refused, run_folder: Path) -> None:
    refused(
        ["run", run_folder, "--set", "seed=5", "--set", "data.train_size=90"],
        f"'data' and 'seed' must stay as they are{_MAY}",
    )


def test_what_is_for_new_sweeps_is_refused_for_a_run_folder(
    refused: Refused, run_folder: Path
) -> None:
    step = "leave it out: a sweep is grown in its folder"
    message = f"'--out' is for a new sweep, got 'x'; {step}"
    refused(["run", run_folder, "--out", "x"], message)
    refused(["run", "small.yaml", "--grow", run_folder, "--out", "x"], message)


def test_what_is_for_run_folders_is_refused_without_one(refused: Refused) -> None:
    refused(
        ["run", "small.yaml", "--retry-failed"],
        "'--retry-failed' is for a run folder, got the sweep 'small.yaml'; "
        "name its folder, such as runs/quickstart",
    )


@pytest.mark.parametrize("folder", [".", "nowhere", "small.yaml"])
def test_a_folder_to_be_grown_that_is_none_is_refused(refused: Refused, folder: str) -> None:
    refused(["run", "small.yaml", "--grow", folder], f"'{folder}' is not a run folder: ...")


def test_an_address_where_no_sweep_is_is_refused(
    refused: Refused, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    refused(
        ["run", f"local://{elsewhere}", "--set", "seeds=2"],
        f"'local://{elsewhere}' is not a run folder: it has no sweep.yaml",
    )


def test_a_folder_whose_driver_is_alive_is_refused(refused: Refused, run_folder: Path) -> None:
    folder = RunFolder.hold(str(run_folder))
    try:
        refused(["run", run_folder, "--set", "seeds=2"], f"'{run_folder}' is driven by ...")
    finally:
        folder.close()


def test_a_history_that_nobody_has_written_is_refused(refused: Refused, run_folder: Path) -> None:
    path = run_folder / "sweep.yaml"
    path.write_text(path.read_text() + "  earlier: [{n_trials: two}]\n")
    message = (
        "'provenance.earlier' must list what the sweep searched before it was grown, as "
        "rso-sweep writes it; restore sweep.yaml from a copy"
    )
    refused(["run", run_folder, "--set", "seeds=2"], message)
    refused(["resume", run_folder], message)
