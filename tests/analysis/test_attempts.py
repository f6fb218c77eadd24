"""Runs that were cut short: the comparison, its table and what the page says of them."""

from __future__ import annotations

import csv
import re

import pytest

import analysis
from analysis.page import render_page
from analysis.standard_tables import standard_tables


def interruptions_of(builder):
    frames = analysis.load(builder.write())
    return analysis.interruptions(frames.attempts, frames.runs)


def facts_of(builder) -> dict[str, str]:
    frames = analysis.load(builder.write())
    page = render_page(frames, standard_tables(frames), [])
    return dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page)) | {"page": page}


def test_a_run_that_was_cut_short_has_a_row_with_what_became_of_it(cut_short):
    table = interruptions_of(cut_short)
    assert list(table["run"]) == ["trial-0-seed-0", "trial-2-seed-0"]
    first = table.iloc[0]
    assert (first.n_cut_short, first.n_attempts, first.state) == (3, 4, "finished")
    assert first.reasons == "2 × the actor died; the node was lost"
    assert first.last_reason == "the actor died"
    assert first.hosts == "node-2 and node-3"
    assert (first.optimizer, first.architecture, first.batch_size) == ("rso", "one_conv", 64)


def test_a_run_that_has_not_ended_is_running(cut_short):
    second = interruptions_of(cut_short).iloc[1]
    assert second.state == "running"
    assert second[["hosts", "n_attempts", "optimizer"]].isna().all()


def test_no_run_was_cut_short_where_none_was(whole_sweep):
    frames = analysis.load(whole_sweep)
    assert analysis.interruptions(frames.attempts, frames.runs).empty
    assert "interruptions" not in [table.name for table in standard_tables(frames)]


def test_the_same_run_of_two_sweeps_has_two_rows(cut_short, build):
    other = build("other")
    other.add_run(0, state="failed", reason="out of memory")
    other.add_attempt(0)
    frames = analysis.load(cut_short.write(), other.write())
    table = analysis.interruptions(frames.attempts, frames.runs)
    assert list(table["sweep"]) == ["cut-short", "cut-short", "other"]
    assert list(table["state"]) == ["finished", "running", "failed"]


@pytest.mark.usefixtures("without_charts")
def test_the_table_stands_in_the_report_and_goes_with_its_reason(cut_short):
    out = analysis.write_report(cut_short.write()).html.parent
    text = (out / "tables" / "interruptions.md").read_text()
    assert "2 × the actor died; the node was lost" in text
    with (out / "tables" / "interruptions.csv").open() as file:
        assert [row["n_cut_short"] for row in csv.DictReader(file)] == ["3", "1"]
    (cut_short.folder / "records" / "attempts.jsonl").unlink()
    cut_short.attempt_rows.clear()
    analysis.write_report(cut_short.write())
    assert not list((out / "tables").glob("interruptions.*"))


def test_the_page_says_how_often_it_was_resumed_and_with_what(cut_short):
    facts = facts_of(cut_short)
    assert facts["Resumed"] == "2 times"
    assert facts["Cut short"] == "4 attempts at 2 runs"
    assert "rso-sweep resume runs/cut-short  # 2 times</pre>" in facts["page"]


def test_a_sweep_that_was_never_resumed_says_nothing_of_it(build):
    builder = build()
    builder.add_run(0)
    builder.add_driver("rso-sweep run sweep.yaml")
    facts = facts_of(builder)
    assert not {"Resumed", "Cut short"} & facts.keys()
    assert "Resumed with" not in facts["page"]


def test_the_page_tells_the_limits_the_checkpoints_and_the_study(build):
    builder = build()
    builder.specification |= {
        "checkpoints": {"every_s": 60},
        "limits": {"attempts": 3, "run_s": None},
        "study": {"storage": "postgresql://me:hunter2@db/sweeps"},
    }
    facts = facts_of(builder)
    assert (facts["Checkpoints"], facts["Limits"]) == ("every_s 60", "attempts 3")
    assert facts["Study"] == "storage postgresql://me:***@db/sweeps"
    assert "hunter2" not in facts["page"]
