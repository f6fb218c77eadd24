"""The sentences of a report say what the numbers do and no more."""

from __future__ import annotations

import analysis
from analysis.findings import findings, is_unfinished, progress


def told(builder) -> str:
    frames = analysis.load(builder.write())
    return " ".join([*findings(frames), *progress(frames)])


def test_who_was_ahead_is_counted(build):
    builder = build()
    for trial, (optimizer, batch, accuracy) in enumerate(
        [("rso", 64, 0.5), ("sgd", 64, 0.6), ("rso", 256, 0.8), ("sgd", 256, 0.7)]
    ):
        builder.add_run(trial, optimizer=optimizer, batch_size=batch, validation=[accuracy])
    text = told(builder)
    assert "RSO had the higher mean test accuracy in 1 of the 2 pairs" in text
    assert "between −10.00 and +10.00 points" in text
    assert "With a single seed these differences have no measure of chance." in text


def test_one_optimizer_is_compared_with_nothing(build):
    builder = build()
    builder.add_run(0)
    text = told(builder)
    assert "higher mean test accuracy" not in text
    assert "for RSO, the only one finished, one_conv with batch size 64 (trial 0)" in text


def test_batch_sizes_are_not_compared_across_different_settings(build):
    builder = build()
    for trial, (batch, value) in enumerate([(64, 0.5), (256, 1.0)]):
        builder.add_run(trial, batch_size=batch, options={"perturbation_std": value})
    assert "Over all settings of the rest" not in told(builder)


def test_an_effect_is_told_with_its_uncertainty(build):
    builder = build()
    for trial, (batch, accuracies) in enumerate(
        [(64, (0.5, 0.52, 0.51)), (256, (0.8, 0.82, 0.81)), (1024, (0.81, 0.80, 0.825))]
    ):
        for seed, accuracy in enumerate(accuracies):
            builder.add_run(trial, seed, batch_size=batch, validation=[accuracy])
    text = told(builder).replace("\N{NO-BREAK SPACE}", " ")
    # the deviation of 64 is 0.01: 4.303 x 0.01 / sqrt(3) = 0.0248
    assert "is highest with 1024 (81.2 ± 3.1 %), lowest with 64 (51.0 ± 2.5 %)." in text


def test_an_effect_that_may_be_chance_is_said_to_be(build):
    builder = build("few")
    for trial, (batch, accuracies) in enumerate([(64, (0.5, 0.6)), (256, (0.6, 0.55))]):
        for seed, accuracy in enumerate(accuracies):
            builder.add_run(trial, seed, batch_size=batch, validation=[accuracy])
    assert "which these seeds cannot tell apart" in told(builder)
    single = build("single")
    for trial, batch in enumerate((64, 256)):
        single.add_run(trial, batch_size=batch, validation=[0.5 + 0.1 * trial])
    assert "which with a single seed may be chance" in told(single)


def test_differences_that_are_more_than_chance_are_counted(build):
    builder = build()
    figures = {("rso", 64): 0.9, ("sgd", 64): 0.8, ("rso", 256): 0.85, ("sgd", 256): 0.85}
    for trial, ((optimizer, batch), accuracy) in enumerate(figures.items()):
        for seed, noise in enumerate((0.0, 0.01, -0.01, 0.003)):
            value = accuracy + noise * (1 + 0.1 * trial) + 0.002 * seed * (trial == 3)
            builder.add_run(trial, seed, optimizer=optimizer, batch_size=batch, validation=[value])
    assert (
        "More than chance are 1 of the 2 differences with two seeds or more, RSO ahead in 1"
        in told(builder)
    )


def test_equal_budgets_and_targets_have_their_sentences(whole_sweep):
    text = " ".join(findings(analysis.load(whole_sweep)))
    assert (
        "Each at its best setting for the budget, RSO was ahead on none of 2 networks at " in text
    )
    assert "on one_conv, RSO took " in text


def test_a_sweep_with_no_finished_run_claims_nothing(build):
    builder = build()
    builder.add_run(0, state="failed")
    frames = analysis.load(builder.write())
    assert findings(frames) == []
    assert is_unfinished(frames)
    assert "No run has finished, so there is nothing to compare." in progress(frames)


def test_an_empty_sweep_says_so(build):
    assert progress(analysis.load(build().write()))[0] == "No run has been recorded yet."


def test_a_sweep_under_way_says_how_far_it_is(build):
    builder = build()
    builder.add_run(0)
    builder.add_run(1, state=None)
    frames = analysis.load(builder.write())
    assert is_unfinished(frames)
    text = " ".join(progress(frames))
    assert "1 of the 4 trials asked for have ended." in text
    assert "1 run had begun and not ended" in text
    assert "2 trials: 1 finished and 1 running; 1 finished run." in text


def test_a_finished_sweep_is_finished(whole_sweep):
    frames = analysis.load(whole_sweep)
    assert not is_unfinished(frames)
    assert progress(frames) == ["16 trials: 16 finished; 32 finished runs."]


def stopped(build, **end):
    """A sweep whose driver has ended, after two of four trials."""
    builder = build()
    builder.specification |= {"stop": {"images_passed": 600, "target": None}, "seeds": [0]}
    builder.add_run(0)
    builder.add_run(1)
    builder.add_driver("rso-sweep run sweep.yaml")
    builder.driver_rows.append({"ended_at": "2026-11-24T08:00:00+00:00", "pid": 4000, **end})
    return builder


def test_a_sweep_that_its_own_rule_has_ended_is_finished(build):
    frames = analysis.load(stopped(build, stop_reason="600 images have passed").write())
    assert not is_unfinished(frames)
    assert progress(frames)[0] == (
        "The sweep’s own rule ended it after 2 trials of at most 4: 600 images have passed."
    )


def test_a_sweep_that_may_end_itself_is_not_said_to_lack_trials(build):
    frames = analysis.load(stopped(build).write())
    assert is_unfinished(frames)
    assert progress(frames)[0] == "2 of the at most 4 trials asked for have ended."


def test_a_sweep_that_was_resumed_after_its_rule_goes_on(build):
    builder = stopped(build, stop_reason="600 images have passed")
    builder.add_driver("rso-sweep resume a-sweep")
    assert is_unfinished(analysis.load(builder.write()))
