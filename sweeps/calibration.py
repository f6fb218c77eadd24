"""What the cycles of a sweep take on this machine, measured within seconds."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import nn

from rso_core.batches import BatchDrawer, Batches
from rso_core.configuration import Configuration
from rso_core.datasets import Dataset
from rso_core.engine_choice import build_engine
from rso_core.engines import Engine
from rso_core.initialisation import initialise_
from rso_core.optimizers import Optimizer, RSOOptions, optimizer_class
from rso_core.sigma import draw_deltas
from rso_core.torch_state import own_torch_state
from rso_core.training import fresh_network
from rso_core.visited_layers import VisitedLayer, visited_layers
from sweeps.cost import MeasuredCycle, kind_of
from sweeps.work import WorkCounter

LIMIT_S = 10.0
"""For all measurements together; a single one takes longer where a network is very large."""

_LEAST_SAMPLE = 3
_LEAST_SAMPLE_S = 0.01
"""Of the visits of a layer, for each of the parts that are measured, at least."""
_CALL_S = 0.002
"""Of a single call, beside which what it costs beside its visits is little."""
_N_EVALUATED = 1000
_WARM_UP_BATCH_SIZE = 64


def calibrate(
    configurations: Sequence[Configuration],
    data: Dataset,
    work: WorkCounter,
    *,
    n_threads: int = 1,
    device: str = "cpu",
    limit_s: float = LIMIT_S,
    clock: Callable[[], float] = time.perf_counter,
) -> list[MeasuredCycle]:
    """Measures cycles of the kinds that the configurations have.

    Of each network, optimiser and engine the smallest and the largest batch size are measured, by
    some visits of every layer or by some batches, through what trains them in a sweep; what costs
    most comes first, until the time is up. Own networks that fail, and own optimisers that visit
    weights, are left out. RSO's kernels are to be compiled before, by `prepare_kernels`.

    Args:
        configurations: those of a sweep, or some that stand for them.
        data: what they are trained on.
        work: counts their work.
        n_threads: that a run has.
        device: a torch device.
        limit_s: seconds for all of them.
        clock: seconds.
    """
    settings = _settings(configurations, work)
    deadline = clock() + limit_s
    measured: list[MeasuredCycle] = []
    bench = _Bench(data, n_threads, device, clock)
    for position, configuration in enumerate(settings):
        left_s = deadline - clock()
        if left_s <= 0:
            break
        try:
            with own_torch_state(n_threads, 0, device):
                seconds = bench.cycle_s(configuration, left_s / (len(settings) - position))
        except Exception:
            if not _has_own_code(configuration):
                raise
            continue  # a user's network may raise anything, and its runs will say what
        if seconds is not None and min(seconds) > 0:
            one_cycle = work.count(replace(configuration, cycles=1))
            measured.append(MeasuredCycle(kind_of(configuration), one_cycle, *seconds))
    return measured


def _settings(configurations: Sequence[Configuration], work: WorkCounter) -> list[Configuration]:
    """The smallest and the largest batch size of each kind, the most costly kinds first."""
    by_kind: dict[object, list[Configuration]] = {}
    for configuration in configurations:
        engine = work.count(configuration).engine
        by_kind.setdefault((kind_of(configuration), engine), []).append(configuration)
    ends: dict[Configuration, None] = {}  # an ordered set
    for group in sorted(by_kind.values(), key=lambda g: -sum(work.count(c).cost for c in g)):
        for end in (min, max):
            ends[end(group, key=lambda configuration: configuration.batch_size)] = None
    return list(ends)


def _has_own_code(configuration: Configuration) -> bool:
    return ":" in configuration.architecture + configuration.optimizer


class _Bench:
    """Measures one setting after another on the same data."""

    def __init__(
        self, data: Dataset, n_threads: int, device: str, clock: Callable[[], float]
    ) -> None:
        self._data = data
        self._inputs, self._targets = data.train_inputs.to(device), data.train_targets.to(device)
        self._evaluated = (
            data.test_inputs[:_N_EVALUATED].to(device),
            data.test_targets[:_N_EVALUATED].to(device),
        )
        self._n_threads = n_threads
        self._device = device
        self._clock = clock

    def cycle_s(self, configuration: Configuration, budget_s: float) -> tuple[float, float] | None:
        """Seconds of a cycle's training and evaluation; None for what cannot be measured."""
        model = fresh_network(configuration, self._data, seed=0).to(self._device)
        optimizer = optimizer_class(configuration.optimizer)
        options = configuration.options
        if configuration.optimizer == "rso" and isinstance(options, RSOOptions):
            return self._rso_s(model, options, configuration.batch_size, budget_s)
        if optimizer.n_visits(model, options):
            return None
        return self._gradient_s(optimizer, model, configuration, budget_s)

    def _gradient_s(
        self,
        optimizer: type[Optimizer],
        model: nn.Module,
        configuration: Configuration,
        budget_s: float,
    ) -> tuple[float, float]:
        batch_size, n_images = configuration.batch_size, len(self._targets)

        def epochs(n_batches: int, n_epochs: int) -> tuple[Optimizer, float]:
            """The seconds of an image in the last of them."""
            n = min(n_images, n_batches * batch_size)
            trained = optimizer(
                model,
                self._inputs[:n],
                self._targets[:n],
                batch_size=batch_size,
                cycles=n_epochs,
                options=configuration.options,
                generator=torch.Generator().manual_seed(0),
            )
            outcomes = trained.run()
            for _ in range(n_epochs - 1):
                next(outcomes)
            started = self._clock()
            next(outcomes)
            return trained, (self._clock() - started) / n

        trained, image_s = epochs(_LEAST_SAMPLE, 2)  # the first of them is to warm up
        n_within_budget = int(budget_s / 2 / (image_s * batch_size))
        if n_within_budget > _LEAST_SAMPLE:
            trained, image_s = epochs(n_within_budget, 1)
        return image_s * n_images, self._evaluation_s(trained, budget_s / 4)

    def _rso_s(
        self, model: nn.Module, options: RSOOptions, batch_size: int, budget_s: float
    ) -> tuple[float, float]:
        generator = torch.Generator().manual_seed(0)
        for parameter in model.parameters():
            parameter.data = parameter.data.contiguous()
        initialise_(model, options.initialisation, generator)
        drawer = BatchDrawer(options.batch_drawing, len(self._targets), batch_size, generator)
        drawer.start_cycle()
        engine = build_engine(
            options.engine,
            model,
            self._inputs,
            self._targets,
            n_threads=self._n_threads,
            memory_bytes=int(options.engine_memory_gib * 2**30),
            has_double_softmax=options.double_softmax,
        )
        evaluation_s = self._evaluation_s(engine, budget_s / 8)
        deadline = self._clock() + budget_s * 7 / 8
        # the small ones first, so that what they leave of their time is there for the large ones
        layers = sorted(visited_layers(model, options), key=lambda layer: layer.n_weights)
        total_s = 0.0
        for position, layer in enumerate(layers):
            left_s = deadline - self._clock()
            batches = drawer.layer(layer.n_weights)
            sample = _LayerSample(engine, layer, options, batches, generator, self._clock)
            total_s += sample.layer_s(max(0.0, left_s) / (len(layers) - position))
        return total_s, evaluation_s

    def _evaluation_s(self, evaluator: Optimizer | Engine, budget_s: float) -> float:
        """Of all images that a cycle is followed by, from some of them."""
        seconds = self._clocked(evaluator)
        if seconds < budget_s:  # that was to warm up, and either may have been held up
            seconds = min(self._clocked(evaluator) for _ in range(2))
        n_images = len(self._data.validation_targets) + len(self._data.test_targets)
        return seconds * n_images / len(self._evaluated[1])

    def _clocked(self, evaluator: Optimizer | Engine) -> float:
        started = self._clock()
        evaluator.evaluate(*self._evaluated)
        return self._clock() - started


class _LayerSample:
    """Measures a layer by all of its visits, or where that takes too long by some of them."""

    def __init__(
        self,
        engine: Engine,
        layer: VisitedLayer,
        options: RSOOptions,
        batches: Batches,
        generator: torch.Generator,
        clock: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._name, self._n = layer.name, layer.n_weights
        sigma = layer.sigma * options.perturbation_std
        self._deltas = draw_deltas(options.sampler, sigma, layer.n_weights, generator)
        self._decay = 1.0 - options.weight_decay
        self._batches = batches
        # an engine that forgets what it keeps meets every batch for the first time again
        every = min(self._n, engine.resumable_every(layer.name, batches.batch_size))
        n_parts = -(-self._n // every)
        self._n_distinct = int(torch.unique(batches.drawn[:every]).numel())
        self._n_first = n_parts * self._n_distinct

    def layer_s(self, budget_s: float) -> float:
        """Seconds of all visits of the layer."""
        self._warm_up()
        part_s = max(_LEAST_SAMPLE_S, budget_s / 3)
        _, visit_s = self._sample(self._batches, 0, min(self._n, self._n_distinct), part_s)
        if self._n <= self._n_distinct:  # every visit meets a batch for the first time
            return visit_s * self._n
        return self._sampled_s(max(_LEAST_SAMPLE, int(part_s / visit_s)), part_s)

    def _sampled_s(self, n_affordable: int, part_s: float) -> float:
        """From some batches that are met for the first time, and are then met again.

        In between come, as in a cycle, visits to as many other batches as there are, since an
        engine has to carry the weights that have moved meanwhile into what it keeps of a batch.
        Here they are all to one batch, of which everything is known.

        Args:
            n_affordable: batches that there is time to meet for the first time.
            part_s: seconds for each of the two other parts.
        """
        k = max(1, min(self._n_distinct, self._n // 2, n_affordable))
        known = torch.unique(self._batches.drawn)
        sample = Batches(self._batches.images, known[torch.arange(self._n) % k])
        start_s = first_s = self._visits_s(sample, 0, 1)
        if k > 1:
            _, first_s = self._sample(sample, 1, k)
        sample.drawn[k:] = known[k - 1]
        end = k
        if k < min(self._n_distinct, self._n - k):
            end, _ = self._sample(sample, k, min(self._n_distinct, self._n - k), part_s)
        sample.drawn[end:] = known[torch.arange(self._n - end) % k]
        # beyond them they would be met again too soon
        last = self._n if k == self._n_distinct else end + k
        _, again_s = self._sample(sample, end, last, part_s)
        return start_s + first_s * (self._n_first - 1) + again_s * (self._n - self._n_first)

    def _sample(
        self, batches: Batches, first: int, end: int, budget_s: float = math.inf
    ) -> tuple[int, float]:
        """Visits up to an end or until the time is up; where it got, and the seconds of a visit.

        They come in calls, since a run makes long ones, and each has a cost of its own; of the
        calls that were long enough the median is taken, since some may have been held up.
        """
        total_s, n_at_once = 0.0, _LEAST_SAMPLE
        each_s: list[float] = []
        while first < end and (not each_s or total_s < budget_s):
            stop = min(end, first + n_at_once)
            seconds = self._visits_s(batches, first, stop)
            if seconds < _CALL_S and n_at_once == stop - first:
                n_at_once *= 2
                each_s.clear()  # these were too short
            each_s.append(seconds / (stop - first))
            total_s += seconds
            first = stop
        return first, statistics.median(each_s)

    def _warm_up(self) -> None:
        """Has what the layer needs compiled and loaded."""
        images = self._batches.images[:, :_WARM_UP_BATCH_SIZE]
        self._visits_s(Batches(images, self._batches.drawn), 0, min(2, self._n))

    def _visits_s(self, batches: Batches, first: int, end: int) -> float:
        if end <= first:
            return 0.0
        deltas = self._deltas[first:end]
        started = self._clock()
        self._engine.visit_(self._name, first, deltas, batches, self._decay)
        return self._clock() - started
