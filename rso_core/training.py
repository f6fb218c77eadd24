"""One training run: configuration, data and seed go in, a record of every cycle comes out."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, fields, replace
from typing import Any

import torch
from torch import nn

from rso_core.configuration import Configuration
from rso_core.datasets import Dataset
from rso_core.errors import InvalidInput, TrainingDiverged, reason
from rso_core.networks import build_network, check_network
from rso_core.optimizers import Optimizer, ProgressCallback, optimizer_class
from rso_core.peers import ALONE, Peers
from rso_core.records import CycleOutcome, CycleRecord, LayerRecord
from rso_core.torch_state import own_torch_state

FORMAT = 1
"""Of a training's state; raised when an older one can no longer be gone on from."""


class UnusableState(ValueError):  # noqa: N818  (it names what was found)
    """A state that a training cannot go on from: another training's, or another version's."""


def train(
    configuration: Configuration,
    data: Dataset,
    seed: int,
    *,
    n_threads: int = 1,
    device: str = "cpu",
    on_progress: ProgressCallback | None = None,
) -> Iterator[CycleRecord]:
    """Trains one network from its initialisation; yields a record as soon as a cycle is over.

    See `Training`, which has the same arguments, for a run that is to be interrupted and resumed.
    """
    training = Training(
        configuration, data, seed, n_threads=n_threads, device=device, on_progress=on_progress
    )
    yield from training


class Training:
    """One training run, which can be left at any time and gone on with in another process.

    The same configuration, data, seed and thread count give the same numbers, whatever the
    process and however often the run was interrupted. The caller's thread count and global
    random state are left as they were.

    The state of a training with fewer cycles is gone on from as well, up to the new number. The
    numbers are then those of a training that was given that number from the start, to the last
    bit, unless a schedule stretches over all cycles (RSO's `annealing` other than `none` with a
    `final_fraction` of less than 1, the gradient methods' `schedule: cosine`). Such a schedule
    follows the new number from there on: what is left takes the values that it would take in a
    training with so many cycles, so that sigma or the learning rate may rise again.

    Example:
        >>> training = Training(configuration, data, seed=0)
        >>> for record in training:
        ...     print(record.cycle, record.test_accuracy)
        ...     state = training.state_dict()
        >>> Training(configuration, data, seed=0, state=state).records

    Args:
        configuration: what to train.
        data: not changed; its tensors may be read-only memory.
        seed: of the initial weights, the batches and the perturbations.
        n_threads: threads that torch and the engine may use.
        device: where to train: `cpu`, or a torch device such as `cuda`.
        on_progress: called a few times a second; what it raises ends the run.
        state: of a training with the same arguments or with fewer cycles, from `state_dict`.
        peers: the workers that train the run together. All of them make the same `Training` and
            iterate over it, and get the same weights and records, times apart; all go on from the
            leader's state, whatever number of workers it comes from.

    Attributes:
        records: of all cycles that are over, those before the state included.

    Raises:
        InvalidInput: a batch larger than the data, a network that does not fit it, several workers
            for what cannot be shared by them, or, while it trains, an own optimiser that ends too
            early.
        UnusableState: the state is of another training, or of one with more cycles.
        TrainingDiverged: while it trains: a loss that is not finite.
        PeerLost: another worker has left; also while it trains.
    """

    def __init__(
        self,
        configuration: Configuration,
        data: Dataset,
        seed: int,
        *,
        n_threads: int = 1,
        device: str = "cpu",
        on_progress: ProgressCallback | None = None,
        state: Mapping[str, Any] | None = None,
        peers: Peers = ALONE,
    ) -> None:
        self._configuration = configuration
        self._data = data = _on_device(data, device)
        self._seed = seed
        self._n_threads = n_threads
        self._device = device
        self.records: list[CycleRecord] = []
        with own_torch_state(n_threads, seed, device):
            made = _optimizer_class(configuration, peers)
            self._model = fresh_network(configuration, data, seed).to(device)
            self._optimizer: Optimizer = made(
                self._model,
                data.train_inputs,
                data.train_targets,
                batch_size=configuration.batch_size,
                cycles=configuration.cycles,
                options=configuration.options,
                generator=torch.Generator().manual_seed(seed),
                on_progress=on_progress,
                **({"peers": peers} if peers.size > 1 else {}),
            )
            if peers.size > 1:
                state = self._leaders(state, peers)
            if state is not None:
                self._load(state)

    def __iter__(self) -> Iterator[CycleRecord]:
        """Trains; yields the record of every cycle that is left as soon as it is over."""
        outcomes = self._optimizer.run()
        for cycle in range(len(self.records) + 1, self._configuration.cycles + 1):
            # a generator shares its thread with the caller, so its state is set up for each step
            with own_torch_state(self._n_threads, self._seed * 1_000_003 + cycle, self._device):
                outcome = next(outcomes, None)
                if outcome is None:
                    raise InvalidInput(self._early_end(cycle))
                record = _evaluated(outcome, self._optimizer, self._data)
            _check_finite(record)
            self.records.append(record)
            yield record

    def state_dict(self) -> dict[str, Any]:
        """The state of now, or of shortly before, from which a training can go on.

        May be asked for between cycles and from within `on_progress`. It holds tensors, numbers,
        strings, None, and lists and dicts of them, so that `torch.load(weights_only=True)` reads
        what `torch.save` writes.
        """
        return {
            **self._identity(),
            "cycles": self._configuration.cycles,
            "records": [asdict(record) for record in self.records],
            "optimizer": self._optimizer.state_dict(),
        }

    def weights(self) -> dict[str, torch.Tensor]:
        """The network's parameters and buffers by name, on the CPU, as copies."""
        return {name: t.detach().cpu().clone() for name, t in self._model.state_dict().items()}

    def _identity(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "seed": self._seed,
            "configuration": self._configuration.values(),
            "n_training_images": len(self._data.train_targets),
        }

    def _leaders(self, state: Mapping[str, Any] | None, peers: Peers) -> Mapping[str, Any]:
        """The state from which all workers go on: the leader's, or that of its fresh network.

        Another processor may round what it draws for the same seed in another way.
        """
        content = None
        if peers.rank == 0:
            if state is not None:
                self._load(state)  # what it cannot use the others are not told of
            written = io.BytesIO()
            torch.save(dict(self.state_dict() if state is None else state), written)
            content = written.getvalue()
        shared: dict[str, Any] = torch.load(io.BytesIO(peers.share(content)), weights_only=True)
        return shared

    def _load(self, state: Mapping[str, Any]) -> None:
        for name, own in self._identity().items():
            if state.get(name) != own:
                raise UnusableState(f"its '{name}' is {state.get(name)!r}, not {own!r}")
        cycles, most = state.get("cycles"), self._configuration.cycles
        if not isinstance(cycles, int) or cycles > most:
            raise UnusableState(f"its 'cycles' is {cycles!r}, not {most} or fewer")
        try:
            self._optimizer.load_state_dict(state["optimizer"])
            self.records = [_record(fields) for fields in state["records"]]
        except Exception as error:  # a user's optimiser may raise anything
            raise UnusableState(reason(error)) from error
        if len(self.records) > cycles:
            raise UnusableState(f"it has records of {len(self.records)} cycles, not {cycles}")

    def _early_end(self, cycle: int) -> str:
        return (
            "'optimizer' must yield an outcome for every cycle, but "
            f"{self._configuration.optimizer} ended before cycle {cycle} of "
            f"{self._configuration.cycles}; its state must not bring back the number of cycles, "
            "which may have grown since"
        )


def _optimizer_class(configuration: Configuration, peers: Peers) -> Callable[..., Optimizer]:
    """The configuration's optimiser.

    Raises:
        InvalidInput: there are several workers, whom it does not know how to share batches with.
    """
    found = optimizer_class(configuration.optimizer)
    if peers.size > 1 and not getattr(found, "shares_batches", False):
        raise InvalidInput(
            f"'workers_per_run' must be 1 for {configuration.optimizer}, whose batches cannot be "
            f"shared by several workers, got {peers.size}"
        )
    return found


def _record(state: Mapping[str, Any]) -> CycleRecord:
    layers = tuple(LayerRecord(**layer) for layer in state["layers"])
    return CycleRecord(**{**state, "layers": layers})


def _check_finite(record: CycleRecord) -> None:
    """A gradient method's own loss is that before its step, so it may have gone astray after it."""
    losses = {
        f"loss in cycle {record.cycle}": record.training_loss,
        f"validation loss after cycle {record.cycle}": record.validation_loss,
        f"test loss after cycle {record.cycle}": record.test_loss,
    }
    for where, loss in losses.items():
        if loss is not None and not math.isfinite(loss):
            raise TrainingDiverged(f"the {where} is {loss}")


def fresh_network(configuration: Configuration, data: Dataset, seed: int) -> nn.Module:
    """The configuration's network for that data, with the weights that torch draws for the seed.

    Raises:
        InvalidInput: it does not fit the data.
    """
    with own_torch_state(torch.get_num_threads(), seed, "cpu"):
        model = build_network(configuration.architecture, data.input_shape, data.n_classes)
        check_network(model, data.input_shape, data.n_classes)
    return model


def _evaluated(outcome: CycleOutcome, optimizer: Optimizer, data: Dataset) -> CycleRecord:
    started = time.perf_counter()
    optimizer.prepare_evaluation_()
    validation_loss = validation_accuracy = None
    if len(data.validation_targets):
        validation_loss, validation_accuracy = optimizer.evaluate(
            data.validation_inputs, data.validation_targets
        )
    test_loss, test_accuracy = optimizer.evaluate(data.test_inputs, data.test_targets)
    return CycleRecord(
        **{**asdict(outcome), "layers": outcome.layers},
        validation_loss=validation_loss,
        validation_accuracy=validation_accuracy,
        test_loss=test_loss,
        test_accuracy=test_accuracy,
        evaluation_s=time.perf_counter() - started,
    )


def _on_device(data: Dataset, device: str) -> Dataset:
    moved: dict[str, Any] = {
        field.name: value.to(device)
        for field in fields(data)
        if isinstance(value := getattr(data, field.name), torch.Tensor)
    }
    return replace(data, **moved)
