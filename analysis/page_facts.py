"""What a report's page tells in pairs of words: what was asked, and how it was run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from analysis import comparisons
from analysis.addresses import without_credentials
from analysis.frames import Frames
from analysis.run_folder import SweepMetadata
from analysis.wording import counted, listed, metric_label, optimizer_label

Facts = list[tuple[str, str]]


def summary(frames: Frames) -> str:
    """What the sweep compares, in a sentence, from what its file says."""
    names = [optimizer_label(name) for name in comparisons.optimizers(frames.runs)]
    networks = comparisons.architectures(frames.runs)
    data = frames.sweeps[0].specification.get("data")
    dataset = data.get("name") if isinstance(data, Mapping) else None
    summary = listed(names) if names else "A sweep"
    if networks:
        summary += f" on {listed(networks) if len(networks) < 4 else f'{len(networks)} networks'}"
    return f"{summary}; data set: {dataset}." if dataset else f"{summary}."


def byline(frames: Frames) -> str:
    """The program and the day, as beneath the title of a paper; empty where neither is known."""
    provenance = frames.sweeps[0].provenance
    versions = provenance.get("versions")
    version = versions.get("rso-sweep") if isinstance(versions, Mapping) else None
    return " · ".join(
        part for part in (f"rso-sweep {version}" if version else "", _day(provenance)) if part
    )


def asked(sweep: SweepMetadata) -> Facts:
    specification = sweep.specification
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
        if specification.get(name) is not None and (words := _in_words(specification[name]))
    ]
    aims = [f"{each.superlative} {metric_label(each.metric)}" for each in sweep.objectives]
    return [("Objective" if len(aims) == 1 else "Objectives", listed(aims)), *facts]


def the_space(sweep: SweepMetadata) -> Facts:
    """The dimensions that were searched, each with its values."""
    return facts_of(sweep.specification.get("space"))


def how_it_was_run(frames: Frames) -> Facts:
    runs, started = frames.runs, frames.sweeps[0].provenance.get("started_at")
    runs = runs[~comparisons.is_not_begun(runs)]
    facts = [("Started", _moment(str(started)))] if started else []
    if runs["ended_at"].notna().any():
        facts.append(("Last run ended", _moment(runs["ended_at"].max().isoformat())))
    hosts = sorted(runs["host"].dropna().unique())
    if hosts:
        named = listed(hosts) if len(hosts) <= 4 else counted(len(hosts), "host")
        threads = sorted({int(n) for n in runs["n_threads"].dropna()})
        noun = "thread" if threads == [1] else "threads"
        each = f", {listed([str(n) for n in threads])} {noun} a run" if threads else ""
        facts.append(("Trained on", f"{named}{each}"))
    n_resumptions, attempts = max(0, len(frames.drivers) - 1), frames.attempts
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


def machine_facts(machine: object) -> Facts:
    if not isinstance(machine, Mapping):
        return []
    shown = {name: value for name, value in machine.items() if name != "memory_bytes"}
    facts = facts_of(shown)
    memory = machine.get("memory_bytes")
    if isinstance(memory, int | float):
        facts.append(("memory", f"{memory / 2**30:.1f} GiB"))
    return facts


def facts_of(values: object) -> Facts:
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


def _day(provenance: Mapping[str, object]) -> str:
    try:
        day = datetime.fromisoformat(str(provenance.get("started_at")))
    except ValueError:
        return ""
    return f"{day.day} {day:%B %Y}"


def _moment(text: str) -> str:
    """A moment to the second, in UTC where it says its zone; any other text as it is."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    if moment.tzinfo is None:
        return f"{moment:%Y-%m-%d %H:%M:%S}"
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
