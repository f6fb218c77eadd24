"""The table by which anybody can tell whether a quickstart is as it should be."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from sweeps.reading import read_sweep
from tests.sanity import EXPECTED, KEYS, compared, main

README = Path(__file__).parent.parent / "README.md"


def runs(shift: float) -> pd.DataFrame:
    """Runs of a quickstart that are off by so many points."""
    expected = pd.read_csv(EXPECTED)
    table = expected[KEYS].assign(
        sweep="quickstart",
        state="finished",
        trial=range(len(expected)),
        run=[f"run-{number}" for number in range(len(expected))],
        seed=0,
        cycles=3,
        n_parameters=7890,
        objective=0.5,
        validation_accuracy=0.5,
        test_accuracy=(expected["test_accuracy_percent"] + shift) / 100,
    )
    return table.astype({"seed": "Int64", "trial": "Int64", "cycles": "Int64"})


@pytest.mark.parametrize(("shift", "n_within"), [(0, 8), (0.9, 8), (-2, 4), (4, 1), (-30, 0)])
def test_figures_are_held_to_their_tolerances(shift: float, n_within: int) -> None:
    assert compared(runs(shift))["is_within"].sum() == n_within


def test_a_figure_that_is_not_there_is_not_within() -> None:
    found = compared(runs(0).query("optimizer == 'rso'"))
    assert found["is_within"].tolist() == [True, False] * 4


def test_the_figures_are_those_of_the_preset_and_of_the_readme() -> None:
    expected = pd.read_csv(EXPECTED)
    spec = read_sweep("quickstart")
    points = {tuple(point[name] for name in KEYS) for point in spec.space.grid()}
    assert set(expected[KEYS].itertuples(index=False, name=None)) == points
    table = re.findall(
        r"^\| (\w+) +\| +(\d+) \| +\**([\d.]+) [^|]*\| +\**([\d.]+) ", README.read_text(), re.M
    )
    shown = {
        (network, int(batch), optimizer): float(figure)
        for network, batch, *figures in table
        for optimizer, figure in zip(("rso", "sgd"), figures, strict=True)
    }
    figures = expected.set_index(KEYS)["test_accuracy_percent"].to_dict()
    assert {key: shown[key] for key in figures} == figures


def test_what_is_no_run_folder_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 2
    assert main([]) == 2
    assert "usage" in capsys.readouterr().err
