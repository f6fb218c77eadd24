"""The report as one page: what was asked, what came out, and how it was run."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import pandas as pd
import yaml
from markupsafe import Markup

from analysis import comparisons
from analysis.addresses import without_credentials
from analysis.chart_parts import theme
from analysis.charts import Drawing
from analysis.findings import findings, is_unfinished, progress
from analysis.frames import Frames, option_columns
from analysis.javascript import chart_javascript
from analysis.run_folder import SweepMetadata
from analysis.tables import Table
from analysis.wording import command_text, counted, listed, metric_label, optimizer_label

Facts = list[tuple[str, str]]


def render_page(frames: Frames, tables: Sequence[Table], drawings: Sequence[Drawing]) -> str:
    """One self-contained HTML page; everything that came from the run folder is escaped.

    Args:
        frames: of one sweep.
        tables: the main comparison first.
        drawings: shown live, and as pictures to readers without JavaScript.
    """
    sweep = frames.sweeps[0]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("analysis"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        name=sweep.name,
        summary=_summary(frames),
        asked=_asked(sweep),
        space=_space(sweep),
        is_unfinished=is_unfinished(frames),
        progress=progress(frames),
        findings=findings(frames),
        tables=[(table, Markup(table.to_html())) for table in tables],
        charts=[(drawing.chart, _picture(drawing.svg)) for drawing in drawings],
        specifications=[_without_look(drawing.specification) for drawing in drawings],
        themes={"light": {**theme(dark=False), "background": None}, "dark": theme(dark=True)},
        best=_best(frames),
        best_by=f" by {metric_label(sweep.metric)} alone" if len(sweep.objectives) > 1 else "",
        run=_how_it_was_run(frames),
        versions=_facts(sweep.provenance.get("versions")),
        machine=_machine(sweep.provenance.get("machine")),
        command=_command(sweep.provenance.get("command")),
        resumed_with=_resumed_with(frames),
        sweep_file=_yaml(sweep.specification),
        javascript=Markup(chart_javascript()) if drawings else "",
    )


def _summary(frames: Frames) -> str:
    """What the sweep compares, in a sentence, from what its file says."""
    names = [optimizer_label(name) for name in comparisons.optimizers(frames.runs)]
    networks = comparisons.architectures(frames.runs)
    data = frames.sweeps[0].specification.get("data")
    dataset = data.get("name") if isinstance(data, Mapping) else None
    summary = listed(names) if names else "A sweep"
    if networks:
        summary += f" on {listed(networks) if len(networks) < 4 else f'{len(networks)} networks'}"
    return f"{summary}; data set: {dataset}." if dataset else f"{summary}."


def _asked(sweep: SweepMetadata) -> Facts:
    asked = sweep.specification
    facts = [
        (label, words)
        for name, label in (
            ("data", "Data"),
            ("budget", "Budget"),
            ("sampler", "Sampler"),
            ("pruner", "Pruner"),
            ("trials", "Trials"),
            ("seeds", "Training seeds"),
            ("repetitions", "More seeds"),
            ("stop", "Stop rule"),
            ("warm_start", "Warm start"),
            ("constraints", "Constraints"),
            ("seed", "Sweep seed"),
            ("resources", "Resources"),
            ("limits", "Limits"),
            ("checkpoints", "Checkpoints"),
            ("study", "Study"),
        )
        if asked.get(name) is not None and (words := _in_words(asked[name]))
    ]
    aims = [f"{each.superlative} {metric_label(each.metric)}" for each in sweep.objectives]
    return [("Objective" if len(aims) == 1 else "Objectives", listed(aims)), *facts]


def _space(sweep: SweepMetadata) -> Facts:
    space = sweep.specification.get("space")
    return _facts(space)


def _how_it_was_run(frames: Frames) -> Facts:
    runs, started = frames.runs, frames.sweeps[0].provenance.get("started_at")
    runs = runs[~comparisons.is_not_begun(runs)]
    facts = [("Started", str(started))] if started else []
    if runs["ended_at"].notna().any():
        facts.append(("Last run ended", runs["ended_at"].max().isoformat(timespec="seconds")))
    hosts = sorted(runs["host"].dropna().unique())
    if hosts:
        named = listed(hosts) if len(hosts) <= 4 else counted(len(hosts), "host")
        threads = sorted({int(n) for n in runs["n_threads"].dropna()})
        noun = "thread" if threads == [1] else "threads"
        each = f", {listed([str(n) for n in threads])} {noun} a run" if threads else ""
        facts.append(("Trained on", f"{named}{each}"))
    n_resumptions, attempts = len(_resumptions(frames)), frames.attempts
    if n_resumptions:
        facts.append(("Resumed", "once" if n_resumptions == 1 else counted(n_resumptions, "time")))
    if len(attempts):
        n_runs = len(attempts[["sweep", "run"]].drop_duplicates())
        of_runs = f"{counted(len(attempts), 'attempt')} at {counted(n_runs, 'run')}"
        facts.append(("Cut short", of_runs))
    seeds = sorted({int(seed) for seed in runs["seed"].dropna()})
    if seeds:
        facts.append(("Seeds run", ", ".join(str(seed) for seed in seeds)))
    return facts


def _machine(machine: object) -> Facts:
    if not isinstance(machine, Mapping):
        return []
    shown = {name: value for name, value in machine.items() if name != "memory_bytes"}
    facts = _facts(shown)
    memory = machine.get("memory_bytes")
    if isinstance(memory, int | float):
        facts.append(("memory", f"{memory / 2**30:.1f} GiB"))
    return facts


def _best(frames: Frames) -> list[tuple[str, str]]:
    """For each optimiser a heading, and its best configuration as YAML."""
    runs = frames.runs
    best = comparisons.best_configurations(runs, direction=frames.sweeps[0].direction)
    found = []
    for row in best.to_dict("records"):
        own = runs[runs["optimizer"] == row["optimizer"]]
        names = [name for name in option_columns(runs) if own[name].notna().any()]
        values = {name: row[name] for name in ("architecture", "batch_size", "optimizer", *names)}
        heading = f"{optimizer_label(row['optimizer'])}, trial {row['trial']}"
        comment = f"# {heading}; {counted(row['cycles'], 'cycle')}\n" if row["cycles"] else ""
        plain = {name: None if pd.isna(value) else value for name, value in values.items()}
        found.append((heading, " ".join(comment.split()) + "\n" + _yaml(plain)))
    return found


def _facts(values: object) -> Facts:
    if not isinstance(values, Mapping):
        return []
    return [(str(name), _in_words(value)) for name, value in values.items() if value is not None]


def _in_words(value: object) -> str:
    if isinstance(value, Mapping):
        known = {str(k): _in_words(v) for k, v in value.items() if v is not None}
        name = [known.pop("name")] if "name" in known else []
        return ", ".join([*name, *(f"{k} {v}" for k, v in known.items())])
    if isinstance(value, list | tuple):
        return ", ".join(_in_words(each) for each in value)
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return without_credentials(str(value))


def _command(command: object) -> str:
    return without_credentials(command_text(command) or "")


def _resumed_with(frames: Frames) -> str:
    """The commands that resumed the sweep, a line for each, to be typed again."""
    commands = [
        " ".join(_command(each).split()) for each in _resumptions(frames)["command"].dropna()
    ]
    counts = Counter(commands)
    return "\n".join(f"{line}  # {n} times" if n > 1 else line for line, n in counts.items())


def _resumptions(frames: Frames) -> pd.DataFrame:
    """The drivers after the first one."""
    return frames.drivers.iloc[1:]


def _yaml(values: Mapping[str, Any]) -> str:
    text: str = yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True)
    return without_credentials(text)


def _without_look(specification: dict[str, Any]) -> dict[str, Any]:
    """The page gives a chart its look when it draws it: light or dark, wide or narrow."""
    look = ("$schema", "config")
    return {name: part for name, part in specification.items() if name not in look}


def _picture(svg: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
