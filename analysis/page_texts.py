"""What a report's page offers to be copied: configurations, commands and the sweep file."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd
import yaml

from analysis import comparisons
from analysis.addresses import without_credentials
from analysis.frames import Frames, option_columns
from analysis.wording import command_text, counted, optimizer_label

Texts = list[tuple[str, str]]
"""Headings with what stands beneath them."""


def best_configurations_as_yaml(frames: Frames) -> Texts:
    """For each optimiser a heading, and its best configuration as YAML."""
    runs = frames.runs
    best = comparisons.best_configurations(runs, direction=frames.sweeps[0].direction)
    found = []
    for row in best.to_dict("records"):
        own = runs[runs["optimizer"] == row["optimizer"]]
        names = [name for name in option_columns(runs) if own[name].notna().any()]
        values = {name: row[name] for name in ("architecture", "batch_size", "optimizer", *names)}
        heading = f"{optimizer_label(row['optimizer'])}, trial {row['trial']}"
        cycles = row["cycles"]
        comment = f"# {heading}; {counted(cycles, 'cycle')}\n" if pd.notna(cycles) else ""
        plain = {name: None if pd.isna(value) else value for name, value in values.items()}
        found.append((heading, " ".join(comment.split()) + "\n" + yaml_text(plain)))
    return found


def reproduction(frames: Frames) -> Texts:
    """The commands that ran the sweep, and those that go on with it or run it anew."""
    sweep = frames.sweeps[0]
    texts = [
        ("The command", _command(sweep.provenance.get("command"))),
        ("Resumed with", _resumed_with(frames)),
        ("To go on with it, if it was interrupted", _resume(str(sweep.folder))),
        ("To run it anew, from the sweep file below", "rso-sweep run sweep.yaml"),
    ]
    return [(heading, text) for heading, text in texts if text]


def yaml_text(values: Mapping[str, Any]) -> str:
    """As in a sweep file, without credentials."""
    text: str = yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True)
    return without_credentials(text)


def _command(command: object) -> str:
    return without_credentials(command_text(command) or "")


def _resumed_with(frames: Frames) -> str:
    """The commands that resumed the sweep, a line for each, to be typed again."""
    commands = frames.drivers["command"].iloc[1:].dropna()
    counts = Counter(" ".join(_command(each).split()) for each in commands)
    return "\n".join(f"{line}  # {n} times" if n > 1 else line for line, n in counts.items())


def _resume(folder: str) -> str:
    return f"rso-sweep resume {shlex.quote(without_credentials(folder))}"
