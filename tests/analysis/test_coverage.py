"""A simulated study with a known effect: intervals cover it, and tests err, at nominal rates."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from analysis.comparing import compare
from analysis.statistics import estimate, holm

EFFECT, SPREAD, OF_A_SEED = 0.02, 0.01, 0.015


def study(generator, *, n_seeds: int, n_networks: int, effect: float) -> pd.DataFrame:
    """Runs of two optimisers on many networks; what a seed does, it does to both."""
    rows = []
    for network in range(n_networks):
        seeds = generator.normal(0, OF_A_SEED, n_seeds)
        for trial, (optimizer, gain) in enumerate((("rso", effect), ("sgd", 0.0))):
            for seed in range(n_seeds):
                accuracy = 0.9 + gain + seeds[seed] + generator.normal(0, SPREAD)
                rows.append((f"n{network}", 2 * network + trial, seed, optimizer, accuracy))
    runs = pd.DataFrame(rows, columns=["architecture", "trial", "seed", "optimizer", "accuracy"])
    return runs.assign(
        sweep="s",
        state="finished",
        n_parameters=1,
        batch_size=64,
        cycles=3,
        test_accuracy=runs.pop("accuracy"),
    ).astype({"trial": "Int64", "seed": "Int64"})


def within_chance(hits: int, n: int, rate: float) -> bool:
    """Whether a count is within three and a half deviations of what its rate gives."""
    return abs(hits - n * rate) <= 3.5 * math.sqrt(n * rate * (1 - rate))


@pytest.mark.parametrize("n_seeds", [2, 3, 5])
def test_intervals_of_paired_differences_cover_a_known_effect(n_seeds):
    n = 250
    runs = study(np.random.default_rng(n_seeds), n_seeds=n_seeds, n_networks=n, effect=EFFECT)
    table = compare(runs, rows=["architecture"], columns=["optimizer"], metric="test_accuracy")
    covered = (table["difference_low"] <= EFFECT) & (table["difference_high"] >= EFFECT)
    assert within_chance(int(covered.sum()), n, 0.95)
    means = (table["sgd_low"] <= 0.9) & (table["sgd_high"] >= 0.9)
    assert within_chance(int(means.sum()), n, 0.95)


def test_pairing_by_seed_takes_out_what_the_seed_did():
    runs = study(np.random.default_rng(7), n_seeds=5, n_networks=250, effect=EFFECT)
    table = compare(runs, rows=["architecture"], columns=["optimizer"], metric="test_accuracy")
    width = (table["difference_high"] - table["difference_low"]).median()
    alone = (table["sgd_high"] - table["sgd_low"]).median()
    # without the seeds' share the deviation of a difference is that of two draws
    assert width / alone == pytest.approx(
        math.sqrt(2) * SPREAD / math.hypot(SPREAD, OF_A_SEED), rel=0.15
    )


def test_a_table_without_an_effect_has_a_false_finding_in_one_of_twenty():
    n_tables, n_rows = 80, 4
    runs = study(np.random.default_rng(11), n_seeds=4, n_networks=n_tables * n_rows, effect=0.0)
    table = compare(runs, rows=["architecture"], columns=["optimizer"], metric="test_accuracy")
    p_values = table["p_value"].to_numpy().reshape(n_tables, n_rows)
    n_false = sum(bool((holm(own) < 0.05).any()) for own in p_values)
    # Holm keeps the rate of any error in a table; independent rows come close to it
    assert within_chance(n_false, n_tables, 1 - (1 - 0.05 / n_rows) ** n_rows)
    assert within_chance(int((p_values < 0.05).sum()), p_values.size, 0.05)


@pytest.mark.parametrize(("statistic", "n"), [("mean", 15), ("median", 7), ("iqm", 8)])
def test_bootstrap_intervals_cover_at_about_their_rate_at_the_fewest_values(statistic, n):
    generator, n_studies = np.random.default_rng(3), 100
    # the middle of a symmetric distribution is its mean, its median and its interquartile mean
    found = [estimate(generator.normal(0.9, SPREAD, n), statistic) for _ in range(n_studies)]
    covered = sum(each.low <= 0.9 <= each.high for each in found)
    # of a median BCa covers somewhat more than it promises, never clearly less
    assert covered >= 0.95 * n_studies - 3.5 * math.sqrt(n_studies * 0.95 * 0.05)
