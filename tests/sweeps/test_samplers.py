"""The samplers: what a sweep file may say of them, and what each suggests, resumed or not."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from rso_core.errors import InvalidInput
from sweeps.own_classes import own_sampler
from sweeps.random_trial import trial_seed
from sweeps.samplers import (
    SAMPLER_NAMES,
    BruteForceSampling,
    CmaEsSampling,
    GpSampling,
    GridSampling,
    Nsga2Sampling,
    Nsga3Sampling,
    OwnSampling,
    QmcSampling,
    RandomSampling,
    Sampling,
    TpeSampling,
)
from sweeps.study_sampler import SamplerSource
from sweeps.sweep_file import dump_sweep, parse_sweep

optuna.logging.set_verbosity(optuna.logging.WARNING)

BASE = """name: a
space: {architecture: one_conv, batch_size: 256, optimizer: rso}
trials: 5
"""


def sampling(text: str) -> Any:
    return parse_sweep(f"{BASE}sampler: {text}", "x").sampler


def fault(text: str) -> str:
    with pytest.raises(InvalidInput) as caught:
        sampling(text)
    (problem,) = caught.value.problems
    return problem.removesuffix(" (x, line 4)")


@pytest.mark.parametrize("name", SAMPLER_NAMES)
def test_a_sampler_may_be_written_as_its_name_alone(name: str) -> None:
    written = parse_sweep(f"{BASE}sampler: {name}", "x")

    assert written.sampler.name == name
    assert written.sampler == sampling(f"{{name: {name}}}")
    assert parse_sweep(dump_sweep(written), "x") == written


@pytest.mark.parametrize(
    ("section", "sampler"),
    [
        (GpSampling, optuna.samplers.GPSampler),
        (CmaEsSampling, optuna.samplers.CmaEsSampler),
        (Nsga2Sampling, optuna.samplers.NSGAIISampler),
        (Nsga3Sampling, optuna.samplers.NSGAIIISampler),
        (QmcSampling, optuna.samplers.QMCSampler),
    ],
)
def test_options_are_as_optuna_has_them_where_nothing_is_said(
    section: type[Sampling], sampler: type[BaseSampler]
) -> None:
    parameters = inspect.signature(sampler).parameters
    ours = section.model_fields
    shared = ours.keys() & parameters.keys() - {"crossover"}

    assert len(shared) >= 2
    assert {name: ours[name].default for name in shared} == {
        name: parameters[name].default for name in shared
    }


FAULTS = {
    "tp": "'sampler' must be grid, random, tpe, gp, cmaes, nsga2, nsga3, qmc, brute_force "
    "or module:Class, got 'tp'; did you mean 'tpe'?",
    "'a:b:c'": "'sampler' must be grid, random, tpe, gp, cmaes, nsga2, nsga3, qmc, brute_force "
    "or module:Class, got 'a:b:c'",
    "{name: gp, n_startup: 3}": "'sampler.n_startup' is not a key of 'sampler', "
    "did you mean 'n_startup_trials'?",
    "{name: nsga2, population_size: 1}": "'sampler.population_size' must be an integer of "
    "at least 2, got 1",
    "{name: nsga3, crossover: sbxx}": "'sampler.crossover' must be uniform, blxalpha, spx, sbx, "
    "vsbx or undx, got 'sbxx'; did you mean 'sbx'?",
    "{name: nsga3, crossover: undx, population_size: 2}": "'sampler' must have a "
    "'population_size' of at least 3 for crossover undx, which takes three parents, got 2",
    "{name: qmc, qmc_type: lattice}": "'sampler.qmc_type' must be sobol or halton, got 'lattice'",
    "{name: tpe, group: true, multivariate: false}": "'sampler' cannot have 'group' true where "
    "'multivariate' is false; leave one of them out",
    "{name: cmaes, with_margin: true, lr_adapt: true}": "'sampler' cannot have 'with_margin' and "
    "'lr_adapt' true; leave one of them",
    "{name: cmaes, sigma0: 0}": "'sampler.sigma0' must be a number of more than 0 or null, got 0",
    "{name: 'm:C', options: 5}": "'sampler.options' must be a mapping of the class's options, "
    "got 5",
    "{name: 'm:C', option: {}}": "'sampler.option' is not a key of 'sampler', "
    "did you mean 'options'?",
}


@pytest.mark.parametrize("text", FAULTS)
def test_what_is_wrong_with_a_sampler_is_said_in_one_line(text: str) -> None:
    assert fault(text) == FAULTS[text]


OWN = """
import optuna


class Own(optuna.samplers.RandomSampler):
    made = 0

    def __init__(self, seed=None, *, width=1):
        super().__init__(seed)
        self.given = (seed, width)
        Own.made += 1


class Unseeded(optuna.samplers.RandomSampler):
    def __init__(self):
        super().__init__(seed=5)


class Silent(Exception):
    def __str__(self):
        raise RuntimeError("no text")


class Unmade(optuna.samplers.RandomSampler):
    def __init__(self, kind):
        raise {"silent": Silent(), "exit": SystemExit(3), "lines": ValueError("a\\n  b")}[kind]


class Other:
    pass


def function(width):
    return Own(width=width)


def forgetful():
    Own()


NUMBER = 3
"""


@pytest.fixture(autouse=True)
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_samplers.py").write_text(OWN)
    (tmp_path / "broken_samplers.py").write_text("import nowhere_to_be_found")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "nowhere:C",
            "'sampler' names module 'nowhere', which cannot be imported (ModuleNotFoundError: "
            "No module named 'nowhere'), got 'nowhere:C'; run from the folder that holds it, or "
            "install it",
        ),
        (
            "broken_samplers:C",
            "'sampler' names module 'broken_samplers', which cannot be imported "
            "(ModuleNotFoundError: No module named 'nowhere_to_be_found'), "
            "got 'broken_samplers:C'; run from the folder that holds it, or install it",
        ),
        (
            "my_samplers:Owm",
            "'sampler' must name a function of module 'my_samplers', or a class, "
            "got 'my_samplers:Owm'",
        ),
        (
            "my_samplers:NUMBER",
            "'sampler' must name a function of module 'my_samplers', or a class, "
            "got 'my_samplers:NUMBER'",
        ),
        (
            "my_samplers:Other",
            "'sampler' must name a subclass of optuna's BaseSampler or a function that returns a "
            "sampler, got 'my_samplers:Other', which is another class",
        ),
        (
            "my_samplers:forgetful",
            "'sampler' must name what makes an optuna BaseSampler, "
            "but 'my_samplers:forgetful' returned a NoneType",
        ),
        (
            "{name: 'my_samplers:Own', options: {widht: 2}}",
            "'sampler' 'my_samplers:Own' cannot be made with options {'widht': 2} (TypeError: "
            "Own.__init__() got an unexpected keyword argument 'widht'); see what it takes",
        ),
        (
            "{name: 'my_samplers:Unmade', options: {kind: lines}}",
            "'sampler' 'my_samplers:Unmade' cannot be made with options {'kind': 'lines'} "
            "(ValueError: a b); see what it takes",
        ),
        (
            "{name: 'my_samplers:Unmade', options: {kind: silent}}",
            "'sampler' 'my_samplers:Unmade' cannot be made with options {'kind': 'silent'} "
            "(Silent); see what it takes",
        ),
        (
            "{name: 'my_samplers:Unmade', options: {kind: exit}}",
            "'sampler' 'my_samplers:Unmade' cannot be made with options {'kind': 'exit'} "
            "(SystemExit: 3); see what it takes",
        ),
    ],
)
def test_a_class_of_one_s_own_is_tried_when_the_sweep_file_is_read(text: str, problem: str) -> None:
    assert fault(text) == problem


@pytest.mark.parametrize(
    "text",
    [
        "my_samplers:Own",
        "{name: 'my_samplers:Own', options: {width: 3}}",
        "my_samplers:Unseeded",
        "{name: 'my_samplers:function', options: {width: 3}}",
        "optuna.samplers:TPESampler",
    ],
)
def test_a_class_of_one_s_own_is_a_sampler_with_its_options(text: str) -> None:
    written = parse_sweep(f"{BASE}sampler: {text}", "x")

    assert isinstance(written.sampler, OwnSampling)
    assert parse_sweep(dump_sweep(written), "x") == written
    assert isinstance(SamplerSource(written.sampler, 0).for_trial(0), BaseSampler)


def test_a_class_of_one_s_own_is_made_once_by_each_driver_with_a_seed_of_its_own() -> None:
    own = OwnSampling(name="my_samplers:Own", options={"width": 7})
    first, resumed = SamplerSource(own, seed=4), SamplerSource(own, seed=4)

    sampler: Any = first.for_trial(0)
    assert first.for_trial(1) is sampler
    assert sampler.given == (trial_seed(4, 0), 7)
    later: Any = resumed.for_trial(9)
    assert later.given == (trial_seed(4, 9), 7)


def test_a_seed_among_the_options_of_a_class_is_kept() -> None:
    sampler: Any = own_sampler("my_samplers:Own", {"seed": 11}, seed=4)

    assert sampler.given == (11, 1)


Objective = Callable[[optuna.Trial], float]
SOURCES: dict[str, Sampling] = {
    "random": RandomSampling(),
    "grid": GridSampling(),
    "brute_force": BruteForceSampling(),
    "tpe": TpeSampling(n_startup_trials=4),
    "tpe, independent": TpeSampling(n_startup_trials=4, multivariate=False, constant_liar=False),
    "tpe, groups": TpeSampling(n_startup_trials=4, group=True, prior_weight=0.5),
    "gp": GpSampling(n_startup_trials=5),
    "cmaes": CmaEsSampling(population_size=4),
    "cmaes, margin": CmaEsSampling(population_size=4, with_margin=True, sigma0=0.2),
    "cmaes, separable": CmaEsSampling(
        population_size=4, use_separable_cma=True, consider_pruned_trials=True
    ),
    "cmaes, adapting": CmaEsSampling(population_size=4, lr_adapt=True),
    "nsga2": Nsga2Sampling(population_size=4),
    "nsga2, sbx": Nsga2Sampling(population_size=4, crossover="sbx"),
    "nsga3": Nsga3Sampling(population_size=4, crossover="spx", mutation_prob=0.3),
    "qmc": QmcSampling(),
    "qmc, scrambled": QmcSampling(qmc_type="halton", scramble=True),
}


class Driving:
    """A study that three actors work for, one of which is always the next to end."""

    def __init__(self, section: Sampling, n_trials: int, seed: int = 3) -> None:
        self.section = section
        self.n_trials = n_trials
        self.seed = seed
        self.storage = optuna.storages.InMemoryStorage()
        optuna.create_study(study_name="a", storage=self.storage)

    def go_on(self, n_asks: int) -> None:
        """What one driver does: it finds in the study what the one before it has left."""
        source = SamplerSource(self.section, self.seed)
        study = optuna.load_study(study_name="a", storage=self.storage, sampler=RandomSampler())
        running = [t.number for t in study.trials if t.state == optuna.trial.TrialState.RUNNING]
        for _ in range(n_asks):
            number = len(study.trials)
            study.sampler = source.for_trial(number)
            if len(running) == 3:
                self._tell(study, running.pop(number % 3))
            suggest(study.ask())
            running.append(number)

    def parameters(self) -> list[dict[str, Any]]:
        study = optuna.load_study(study_name="a", storage=self.storage)
        return [trial.params for trial in study.trials]

    @staticmethod
    def _tell(study: optuna.Study, number: int) -> None:
        params = study.trials[number].params
        if number % 6 == 5:
            study.tell(number, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(number, (params["rate"] - 0.3) ** 2 + params["size"] / 50)


def suggest(trial: optuna.Trial) -> None:
    optimizer = trial.suggest_categorical("optimizer", ["rso", "sgd"])
    trial.suggest_float("rate", 0.01, 1.0, log=True)
    trial.suggest_int("size", 1, 20)
    if optimizer == "sgd":
        trial.suggest_float("momentum", 0.0, 0.99)


@pytest.mark.parametrize("name", SOURCES)
def test_a_sweep_that_was_resumed_draws_what_it_would_have_drawn(name: str) -> None:
    n_trials = 11 if name == "gp" else 18
    whole, halved, shredded = (Driving(SOURCES[name], n_trials) for _ in range(3))

    whole.go_on(n_trials)
    halved.go_on(n_trials // 2)
    halved.go_on(n_trials - n_trials // 2)
    for _ in range(n_trials):
        shredded.go_on(1)

    drawn = whole.parameters()
    assert len({tuple(point.items()) for point in drawn}) > n_trials * 3 // 4
    assert halved.parameters() == drawn
    assert shredded.parameters() == drawn


@pytest.mark.parametrize("name", ["random", "tpe", "cmaes", "nsga2", "qmc, scrambled"])
def test_another_seed_of_the_sweep_draws_others(name: str) -> None:
    drawn = []
    for seed in (3, 4):
        driving = Driving(SOURCES[name], 8, seed)
        driving.go_on(8)
        drawn.append(driving.parameters())

    assert all(one != other for one, other in zip(*drawn, strict=True))


def test_qmc_covers_a_range_evenly_and_draws_what_is_not_always_there() -> None:
    source = SamplerSource(QmcSampling(), seed=0)
    study = optuna.create_study()
    rates, momenta = [], []
    for number in range(17):
        study.sampler = source.for_trial(number)
        trial = study.ask()
        rates.append(trial.suggest_float("rate", 0, 1))
        if number:  # the first trial says which dimensions the sequence has
            momenta.append(trial.suggest_float("momentum", 0, 1))
        study.tell(trial, 0.0)

    assert sorted(int(rate * 16) for rate in rates[1:]) == list(range(16))
    assert len(set(momenta)) == 16


HEEDING = {
    *("tpe", "tpe, independent", "tpe, groups", "gp"),
    *("nsga2", "nsga2, sbx", "nsga3"),
}


@pytest.mark.parametrize("name", SOURCES)
def test_constraints_reach_the_samplers_that_heed_them(name: str) -> None:
    source = SamplerSource(SOURCES[name], 0, constraints_func=lambda trial: [trial.number + 0.5])
    study = optuna.create_study(sampler=source.for_trial(0))
    study.tell(study.ask(), 1.0)

    found = study.trials[0].system_attrs.get("constraints")
    assert found == ([0.5] if SOURCES[name].heeds_constraints else None) or found == (0.5,)
    assert SOURCES[name].heeds_constraints == (name in HEEDING)


def test_a_sampler_of_several_objectives_takes_them_and_others_say_so() -> None:
    for name, section in SOURCES.items():
        source = SamplerSource(section, 0)
        study = optuna.create_study(directions=["minimize", "maximize"])
        n_told = 0
        for number in range(8):
            study.sampler = source.for_trial(number)
            trial = study.ask()
            try:
                suggest(trial)
            except ValueError:
                break
            study.tell(trial, [1.0, float(number)])
            n_told += 1
        assert (n_told == 8) == (section.most_objectives is None), name
        assert section.most_objectives in (None, 1)


def test_what_is_known_of_a_sampler_without_asking_it() -> None:
    def having(quality: str) -> set[str]:
        return {s.name for s in SOURCES.values() if getattr(s, quality)}  # type: ignore[attr-defined]

    assert having("is_listing") == {"grid", "brute_force"}
    assert having("draws_independently") == {"random"}
    assert having("learns") == {"tpe", "gp", "cmaes", "nsga2", "nsga3"}
    assert having("asks_ahead") == {"grid", "brute_force", "random", "qmc"}
    assert OwnSampling(name="my_samplers:Own").learns


def test_tpe_of_few_trials_is_optuna_s_own() -> None:
    source = SamplerSource(TpeSampling(), 0)

    assert type(source.for_trial(20)) is TPESampler
    assert issubclass(type(source.for_trial(5000)), TPESampler)


def test_every_option_is_described() -> None:
    sections = [type(section) for section in SOURCES.values()]
    for section in (*sections, OwnSampling):
        for name, field in section.model_fields.items():
            assert field.description or name == "name", (section, name)
