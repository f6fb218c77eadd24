"""What `rso-sweep train` does: one configuration, a line for every cycle."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from pydantic import ValidationError
from rich.console import Console

from rso_core.configuration import Configuration, Scalar
from rso_core.datasets import DataOptions, load_dataset
from rso_core.errors import InvalidInput, reason
from rso_core.records import CycleRecord, Progress
from rso_core.training import train
from rso_core.validation import sentences
from sweeps.located_yaml import YamlSyntaxError, read_yaml
from sweeps.spec import LARGEST_SEED

_DATA = "data."


class RunFailed(Exception):  # noqa: N818  (it names what happened)
    """The run ended before its last cycle; the message is one line for the user."""


def train_one(
    values: Mapping[str, Scalar],
    cycles: int,
    seed: int,
    n_threads: int,
    overrides: Sequence[str],
    as_json: bool,
    console: Console,
) -> None:
    """Trains and prints.

    Args:
        values: architecture, optimizer and batch size.
        cycles: to train for.
        seed: of the run.
        n_threads: at least 1.
        overrides: the values of `--set`: options of the optimiser, or of the data as `data.NAME`.
        as_json: whether to print JSON lines.
        console: where progress within a cycle is shown, if it is a terminal.

    Raises:
        InvalidInput: a line for every fault.
        RunFailed: the training did not get to its end.
    """
    if n_threads < 1:
        raise InvalidInput(f"'--threads' must be an integer of at least 1, got {n_threads}")
    if not 0 <= seed <= LARGEST_SEED:
        raise InvalidInput(f"'--seed' must be an integer from 0 to {LARGEST_SEED}, got {seed}")
    given = dict(_override(override) for override in overrides)
    options = {key: value for key, value in given.items() if not key.startswith(_DATA)}
    configuration = Configuration.from_values({**values, **options}, cycles)
    data = load_dataset(_data_options(given))
    with console.status("") as status:

        def on_progress(progress: Progress) -> None:
            share = progress.n_done / progress.n_total
            status.update(f"cycle {progress.cycle} of {cycles}: {share:.0%}")

        try:
            for record in train(
                configuration, data, seed, n_threads=n_threads, on_progress=on_progress
            ):
                line = json.dumps(asdict(record)) if as_json else _line(record, cycles)
                print(line, flush=True)
        except InvalidInput:
            raise
        except Exception as error:  # a user's network or optimiser may raise anything
            raise RunFailed(f"the run failed: {reason(error)}") from error


def _override(text: str) -> tuple[str, Scalar]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise InvalidInput(f"'--set' must be KEY=VALUE, got '{text}'")
    try:
        parsed = read_yaml(value).content
    except YamlSyntaxError as error:
        raise InvalidInput(f"'--set {text}' is not valid YAML: {error.problem}") from error
    if isinstance(parsed, list | dict):
        raise InvalidInput(f"'--set {text}' must give one value, got a list or a mapping")
    return key, parsed


def _data_options(given: Mapping[str, Scalar]) -> DataOptions:
    data = {k.removeprefix(_DATA): v for k, v in given.items() if k.startswith(_DATA)}
    try:
        return DataOptions.model_validate(data)
    except ValidationError as error:
        raise InvalidInput(*sentences(error, DataOptions, _DATA)) from None


def _line(record: CycleRecord, cycles: int) -> str:
    parts = [
        f"cycle {record.cycle:>{len(str(cycles))}} of {cycles}",
        f"training loss {record.training_loss:.4f}",
    ]
    if record.validation_accuracy is not None:
        parts.append(f"validation {record.validation_accuracy:7.2%}")
    parts.append(f"test {record.test_accuracy:7.2%}")
    if record.n_visited:
        share = record.n_accepted / record.n_visited
        parts.append(f"accepted {share:5.1%} of {record.n_visited:,} weights")
    parts.append(f"{record.training_s:.1f} s")
    return "   ".join(parts)
