"""The gradient baselines, SGD and Adam, with the same entry point and the same records."""

from __future__ import annotations

import copy
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import nn
from torch.nn import functional
from torch.optim import lr_scheduler

from rso_core.errors import InvalidInput, TrainingDiverged
from rso_core.evaluation import evaluate, module_modes_restored
from rso_core.initialisation import Initialisation, initialise_
from rso_core.optimizers.interface import (
    PROGRESS_INTERVAL_S,
    ProgressCallback,
    check_batch_size,
)
from rso_core.records import CycleOutcome, Progress
from rso_core.torch_state import random_state, set_random_state


class GradientOptions(BaseModel):
    """What all gradient methods share."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    learning_rate: float = Field(default=0.01, gt=0, description="Step size at the start.")
    weight_decay: float = Field(default=0.0, ge=0, description="L2 penalty added to the gradient.")
    schedule: Literal["constant", "cosine", "step"] = Field(
        default="constant", description="cosine: to 0 over the run; step: falls every few cycles."
    )
    step_cycles: int = Field(default=5, ge=1, description="For step: cycles between two falls.")
    step_factor: float = Field(
        default=0.1, gt=0, le=1, description="For step: the factor of a fall."
    )
    initialisation: Initialisation = Field(
        default="model", description="model: as torch made it; he: by fan-in; glorot: uniform."
    )


class SGDOptions(GradientOptions):
    """The options of SGD; the defaults are the STMOZOO notebook's (plain, 0.01)."""

    momentum: float = Field(default=0.0, ge=0, lt=1)
    nesterov: bool = Field(default=False, description="Nesterov's form; needs a momentum.")

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> SGDOptions:
        if self.nesterov and self.momentum == 0:
            raise ValueError("'nesterov' needs a 'momentum' of more than 0")
        return self


class AdamOptions(GradientOptions):
    """The options of Adam; the defaults are torch's (Kingma & Ba 2015)."""

    learning_rate: float = Field(default=0.001, gt=0, description="Step size at the start.")
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)


class _GradientDescent(ABC):
    """Epochs over shuffled mini-batches; the arguments are those of `RSO`.

    The last batch of an epoch may be smaller than the others.

    Raises:
        TrainingDiverged: in `run`: the loss of a batch is not finite.
    """

    Options: ClassVar[type[BaseModel]]

    def __init__(
        self,
        model: nn.Module,
        inputs: torch.Tensor,
        targets: torch.Tensor,
        *,
        batch_size: int,
        cycles: int,
        options: BaseModel | None = None,
        generator: torch.Generator,
        on_progress: ProgressCallback | None = None,
    ) -> None:
        options = self.Options() if options is None else options
        assert isinstance(options, GradientOptions)
        check_batch_size(batch_size, len(targets))
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise InvalidInput("the network has no parameter to train")
        self._model = model
        self._inputs = inputs
        self._targets = targets
        self._batch_size = batch_size
        self._cycles = cycles
        self._generator = generator
        self._on_progress = on_progress
        initialise_(model, options.initialisation, generator)
        self._optimizer = self._torch_optimizer(options)
        n_batches = -(-len(targets) // batch_size)
        self._n_steps = n_batches * cycles
        self._scheduler = _scheduler(self._optimizer, options, n_batches, cycles)
        self._epoch = _Epoch(1, generator.get_state())
        self._random: Mapping[str, torch.Tensor] | None = None

    @abstractmethod
    def _torch_optimizer(self, options: GradientOptions) -> torch.optim.Optimizer: ...

    @staticmethod
    def n_visits(model: nn.Module, options: BaseModel) -> int:
        """None: a gradient method moves all weights at once."""
        return 0

    def run(self) -> Iterator[CycleOutcome]:
        """Passes over the data once a cycle; yields what happened after each."""
        while self._epoch.number <= self._cycles:
            outcome = self._finish_epoch()
            self._epoch = _Epoch(outcome.cycle + 1, self._generator.get_state())
            yield outcome

    def state_dict(self) -> dict[str, Any]:
        """See `Optimizer.state_dict`."""
        return copy.deepcopy(
            {
                "model": self._model.state_dict(),
                "optimizer": self._optimizer.state_dict(),
                "scheduler": self._scheduler.state_dict(),
                "random": random_state(self._inputs.device),
                "n_done": self._epoch.n_batches,
                "epoch": asdict(self._epoch),
            }
        )

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Optimizer.load_state_dict`; a cosine follows this one's cycles from the next step.

        Its learning rate is then that of a cosine over all of them.
        """
        self._model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scheduler.load_state_dict(state["scheduler"])
        if isinstance(self._scheduler, lr_scheduler.CosineAnnealingLR):
            _stretch_(self._scheduler, self._n_steps)
        self._epoch = _Epoch(**state["epoch"])
        self._random = state["random"]

    def prepare_evaluation_(self) -> None:  # noqa: B027  (doing nothing is the behaviour)
        """Nothing: the moving statistics were kept up during training."""

    def evaluate(self, inputs: torch.Tensor, targets: torch.Tensor) -> tuple[float, float]:
        """Mean cross entropy (nats) and accuracy of the model; see `rso_core.evaluation`."""
        return evaluate(self._model, inputs, targets)

    def _finish_epoch(self) -> CycleOutcome:
        epoch, n_images = self._epoch, len(self._targets)
        last_progress = time.perf_counter()
        started = last_progress - epoch.seconds
        self._generator.set_state(epoch.generator)
        order = torch.randperm(n_images, generator=self._generator).to(self._inputs.device)
        batches = torch.split(order, self._batch_size)
        if epoch.n_batches > 0 and self._random is not None:  # dropout draws random numbers
            set_random_state(self._random)
        with module_modes_restored(self._model):
            self._model.train()
            for images in batches[epoch.n_batches :]:
                loss = self._step(images)
                if not math.isfinite(loss):
                    raise TrainingDiverged(
                        f"the loss in cycle {epoch.number} is {loss} "
                        f"at batch {epoch.n_batches + 1} of {len(batches)}"
                    )
                epoch.loss_sum += loss * len(images)
                epoch.n_batches += 1
                now = time.perf_counter()
                if self._on_progress is not None and now - last_progress > PROGRESS_INTERVAL_S:
                    last_progress, epoch.seconds = now, now - started
                    self._on_progress(Progress(epoch.number, epoch.n_batches, len(batches)))
        return CycleOutcome(
            cycle=epoch.number,
            training_loss=epoch.loss_sum / n_images,
            n_visited=0,
            n_accepted=0,
            n_images_passed=n_images,
            training_s=time.perf_counter() - started,
        )

    def _step(self, images: torch.Tensor) -> float:
        """One update; returns the batch's mean loss before it."""
        self._optimizer.zero_grad()
        logits = self._model(self._inputs.index_select(0, images))
        loss = functional.cross_entropy(logits, self._targets[images])
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._scheduler.step()
        return loss.item()


@dataclass(slots=True)
class _Epoch:
    """How far an epoch has come."""

    number: int
    """From 1."""
    generator: torch.Tensor
    """The generator's state at its beginning, from which the order of the images is drawn."""
    n_batches: int = 0
    """Of it that are done."""
    loss_sum: float = 0.0
    """Over their images."""
    seconds: float = 0.0
    """That it took until progress was last told."""


class SGD(_GradientDescent):
    """Stochastic gradient descent."""

    Options: ClassVar[type[BaseModel]] = SGDOptions

    def _torch_optimizer(self, options: GradientOptions) -> torch.optim.Optimizer:
        assert isinstance(options, SGDOptions)
        return torch.optim.SGD(
            self._model.parameters(),
            lr=options.learning_rate,
            momentum=options.momentum,
            nesterov=options.nesterov,
            weight_decay=options.weight_decay,
        )


class Adam(_GradientDescent):
    """Adam (Kingma & Ba 2015)."""

    Options: ClassVar[type[BaseModel]] = AdamOptions

    def _torch_optimizer(self, options: GradientOptions) -> torch.optim.Optimizer:
        assert isinstance(options, AdamOptions)
        return torch.optim.Adam(
            self._model.parameters(),
            lr=options.learning_rate,
            betas=(options.beta1, options.beta2),
            weight_decay=options.weight_decay,
        )


def _scheduler(
    optimizer: torch.optim.Optimizer, options: GradientOptions, n_batches: int, cycles: int
) -> lr_scheduler.LRScheduler:
    if options.schedule == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimizer, T_max=n_batches * cycles)
    if options.schedule == "step":
        return lr_scheduler.StepLR(
            optimizer, step_size=n_batches * options.step_cycles, gamma=options.step_factor
        )
    return lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)


def _stretch_(cosine: lr_scheduler.CosineAnnealingLR, n_steps: int) -> None:
    """Makes it one over so many steps, if it is one over fewer."""
    if n_steps == cosine.T_max:
        return  # torch's rate comes from the one before, and differs from this in the last bits
    cosine.T_max = n_steps
    factor = (1 + math.cos(math.pi * cosine.last_epoch / n_steps)) / 2
    for group, rate in zip(cosine.optimizer.param_groups, cosine.base_lrs, strict=True):
        group["lr"] = rate * factor
