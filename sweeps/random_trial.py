"""Random values, as Optuna's random sampler distributes them, without a study to keep them in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

_Choice = TypeVar("_Choice")


def trial_seed(seed: int, number: int, attempt: int = 0) -> int:
    """The seed of what is drawn for one trial, so that it depends on nothing earlier.

    Args:
        seed: of the sweep.
        number: of the trial, from 0.
        attempt: above 0 where what was drawn before for this trial is not allowed.
    """
    entropy = (seed, number, attempt) if attempt else (seed, number)
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


class RandomTrial:
    """Stands in for a trial where a space is asked for a random configuration.

    A study that draws a point costs half a millisecond before its first value; this costs nothing
    to speak of, which counts where every trial of a sweep is drawn in this way.

    Args:
        seed: of all values that it gives.
    """

    def __init__(self, seed: int) -> None:
        self._generator = np.random.default_rng(seed)

    def suggest_categorical(self, name: str, choices: Sequence[_Choice]) -> _Choice:
        """One of the choices, each as likely as another."""
        return choices[int(self._generator.integers(len(choices)))]

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        """An integer of low, low + step, ... high; with `log`, small ones are as likely as in
        Optuna: the logarithm of low - 1/2 to high + 1/2 is drawn evenly, and rounded.
        """
        if log:
            drawn = self._generator.uniform(math.log(low - 0.5), math.log(high + 0.5))
            return min(high, max(low, round(math.exp(drawn))))
        return low + step * int(self._generator.integers((high - low) // step + 1))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """A number from low to high, in steps of `step`; with `log`, its logarithm is even."""
        if step is not None:
            n_steps = round((high - low) / step)
            return min(high, low + step * int(self._generator.integers(n_steps + 1)))
        if log:
            drawn = math.exp(self._generator.uniform(math.log(low), math.log(high)))
            return min(high, max(low, drawn))
        return float(self._generator.uniform(low, high))
