"""How much work a run is, told before it is done."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from rso_core.configuration import Configuration
from rso_core.datasets import Dataset
from rso_core.errors import InvalidInput, reason
from rso_core.evaluation import module_modes_restored
from rso_core.incremental.graph import NetworkGraph, UnsupportedNetwork
from rso_core.incremental.graph_reader import network_graph
from rso_core.incremental.work import N_CANDIDATES, candidate_work, preparation_work
from rso_core.optimizers import OPTIMIZERS, RSOOptions, optimizer_class
from rso_core.torch_state import own_torch_state
from rso_core.training import fresh_network
from rso_core.visited_layers import visited_layers

EngineKind = Literal["incremental", "reference", "gradient"]
"""What the work is done by: one of RSO's engines, or forward and backward passes."""

_GRADIENT_PASSES = 3
"""How many forward passes a forward and a backward pass are worth."""
START_S = 0.1
"""Of a run: its network, its engine."""


@dataclass(frozen=True, slots=True)
class Rates:
    """What a unit of work takes, in seconds."""

    flop_s: float
    step_s: float
    """What a visit or a batch takes beside its floating-point operations."""
    evaluation_flop_s: float

    def training_s(self, n_flop: float, n_steps: int) -> float:
        """Seconds of training."""
        return self.flop_s * n_flop + self.step_s * n_steps

    def run_s(self, work: Work) -> float:
        """Seconds of a whole run."""
        training_s = self.training_s(work.n_flop, work.n_steps)
        return START_S + training_s + self.evaluation_flop_s * work.n_evaluation_flop


NOMINAL_RATES: Mapping[EngineKind, Rates] = MappingProxyType(
    {
        "incremental": Rates(flop_s=5e-11, step_s=4e-6, evaluation_flop_s=4e-11),
        "reference": Rates(flop_s=1.5e-10, step_s=4e-4, evaluation_flop_s=2e-10),
        "gradient": Rates(flop_s=1e-10, step_s=6e-4, evaluation_flop_s=2e-10),
    }
)
"""Of a nominal machine: about one core of a server's CPU of 2023."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a run of a configuration amounts to; all but the first two in all its cycles."""

    n_parameters: int
    """Trainable parameters of the network."""
    n_training_images: int
    n_visits: int
    """0 for a gradient method."""
    n_steps: int
    """Visits, or the batches of a gradient method."""
    n_flop: float
    """Floating-point operations of the training, a multiply-add as two.

    With the incremental engine what its algorithm needs, see `rso_core.incremental.work`; else
    those of the convolutions and matrix products of all forward passes, three for each step of a
    gradient method.
    """
    n_evaluation_flop: float
    """The same of the evaluations."""
    engine: EngineKind

    @property
    def cost(self) -> float:
        """Predicted seconds on a nominal machine, by which runs are compared."""
        return NOMINAL_RATES[self.engine].run_s(self)


class WorkCounter:
    """Counts the work of configurations on one data set.

    Each network is built and looked at once, and each kind of run is counted once: what is asked
    for again costs a look in a dict.

    Args:
        data: what they are trained on.
    """

    def __init__(self, data: Dataset) -> None:
        self._data = data
        self._n_evaluated = len(data.validation_targets) + len(data.test_targets)
        self._networks: dict[str, _Network] = {}
        self._cycles: dict[Hashable, _Cycle] = {}
        self._counted: dict[Hashable, Work] = {}

    def mean_cost(self, configurations: Sequence[Configuration]) -> float:
        """The mean of their costs; 0 for none."""
        costs = [self.count(configuration).cost for configuration in configurations]
        return sum(costs) / max(1, len(costs))

    def count(self, configuration: Configuration) -> Work:
        """The work of one run.

        Raises:
            InvalidInput: its network does not fit the data, or its optimiser cannot count.
        """
        kind = (configuration.architecture, configuration.optimizer, _that_count(configuration))
        key = (kind, configuration.batch_size, configuration.cycles)
        work = self._counted.get(key)
        if work is None:
            if kind not in self._cycles:
                self._cycles[kind] = self._cycle(configuration)
            work = self._counted[key] = self._work(configuration, self._cycles[kind])
        return work

    def _work(self, configuration: Configuration, cycle: _Cycle) -> Work:
        network = self._networks[configuration.architecture]
        n_images, batch_size = self._data.n_training_images, configuration.batch_size
        n_cycles = configuration.cycles
        return Work(
            n_parameters=network.n_parameters,
            n_training_images=n_images,
            n_visits=n_cycles * cycle.n_visits,
            n_steps=n_cycles * (cycle.n_visits or -(-n_images // batch_size)),
            n_flop=n_cycles * cycle.flop(n_images, batch_size),
            n_evaluation_flop=float(n_cycles * self._n_evaluated * network.forward_flop),
            engine=cycle.engine,
        )

    def _cycle(self, configuration: Configuration) -> _Cycle:
        architecture = configuration.architecture
        if architecture not in self._networks:
            model = fresh_network(configuration, self._data, seed=0)
            self._networks[architecture] = _Network(
                model,
                sum(p.numel() for p in model.parameters() if p.requires_grad),
                _forward_flop(model, self._data.input_shape),
            )
        network = self._networks[architecture]
        n_visits = _n_visits(configuration, network.model)
        options = configuration.options
        if not n_visits:
            return _Cycle("gradient", 0, network.forward_flop)
        if configuration.optimizer == "rso" and isinstance(options, RSOOptions):
            graph = None if options.engine == "reference" else self._graph(network)
            if graph is not None:
                layers = _layers(graph, network.model, options)
                return _Cycle("incremental", n_visits, network.forward_flop, layers)
        return _Cycle("reference", n_visits, network.forward_flop)

    def _graph(self, network: _Network) -> NetworkGraph | None:
        """What the incremental engine knows the network by; None if it does not know it."""
        if not network.is_graph_known:
            network.is_graph_known = True
            try:
                network.graph = network_graph(network.model, self._data.input_shape)
            except UnsupportedNetwork:
                network.graph = None
        return network.graph


@dataclass(slots=True)
class _Network:
    model: nn.Module
    n_parameters: int
    forward_flop: int
    """Of one image."""
    graph: NetworkGraph | None = None
    is_graph_known: bool = False


@dataclass(frozen=True, slots=True)
class _Layer:
    """A visited tensor under the incremental engine."""

    n_weights: int
    candidate_flop: int
    """Of one image."""
    preparation_flop: int
    """Of one image."""
    has_one_batch: bool


@dataclass(frozen=True, slots=True)
class _Cycle:
    """What a cycle is made of, whatever the batch size."""

    engine: EngineKind
    n_visits: int
    forward_flop: int
    """Of one image."""
    layers: tuple[_Layer, ...] = ()
    """With the incremental engine."""

    def flop(self, n_images: int, batch_size: int) -> float:
        """Floating-point operations of its training."""
        if self.engine == "gradient":
            return float(_GRADIENT_PASSES * n_images * self.forward_flop)
        if self.engine == "reference":
            return float(N_CANDIDATES * self.n_visits * batch_size * self.forward_flop)
        n_dealt = n_images // batch_size * batch_size
        total = 0
        for layer in self.layers:
            n_seen = layer.n_weights * batch_size
            n_prepared = batch_size if layer.has_one_batch else min(n_seen, n_dealt)
            total += N_CANDIDATES * n_seen * layer.candidate_flop
            total += n_prepared * layer.preparation_flop
        return float(total)


def _layers(graph: NetworkGraph, model: nn.Module, options: RSOOptions) -> tuple[_Layer, ...]:
    return tuple(
        _Layer(
            layer.n_weights,
            candidate_work(graph, layer.name).flop,
            preparation_work(graph, layer.name).flop,
            has_one_batch=options.batch_drawing in ("layer", "cycle"),
        )
        for layer in visited_layers(model, options)
    )


def _that_count(configuration: Configuration) -> Hashable:
    """The options by which the work of two runs may differ, other than the batch size."""
    options = configuration.options
    if configuration.optimizer not in OPTIMIZERS:
        return options.model_dump_json()  # a user's own optimiser may count by any of them
    if not isinstance(options, RSOOptions):
        return None
    return (options.visit_biases, options.visit_batch_norm, options.batch_drawing, options.engine)


def _n_visits(configuration: Configuration, model: nn.Module) -> int:
    name = configuration.optimizer
    try:
        n_visits = optimizer_class(name).n_visits(model, configuration.options)
    except InvalidInput:
        raise
    except Exception as error:  # a user's optimiser may raise anything
        raise InvalidInput(
            f"'optimizer' names '{name}', whose 'n_visits' fails ({reason(error)})"
        ) from error
    if not isinstance(n_visits, int) or n_visits < 0:
        raise InvalidInput(
            f"'optimizer' names '{name}', whose 'n_visits' must give the number of weight visits "
            f"in a cycle, 0 for a gradient method, got {n_visits!r}"
        )
    return n_visits


def _forward_flop(model: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Of the convolutions and matrix products of a forward pass of one image, at least 1."""
    counter = _FlopCounter()
    with own_torch_state(torch.get_num_threads(), seed=0), module_modes_restored(model):
        model.eval()
        with torch.no_grad(), counter:
            model(torch.zeros(2, *input_shape))  # as `check_network` did before
    return max(1, counter.n_flop // 2)


class _FlopCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types here
    """Counts by torch's own formulas.

    Torch's `FlopCounterMode` hooks into the modules of all threads, and others may be training.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.n_flop = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # else torch would import its compiler, which takes seconds, to leave this class alone
        return False

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        formula = flop_registry.get(getattr(func, "_overloadpacket", None))
        if formula is not None:
            self.n_flop += formula(*args, **kwargs, out_val=out)
        return out
