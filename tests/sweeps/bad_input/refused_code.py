"""Networks, optimisers and data sets of a user, each with a fault."""

from __future__ import annotations

import sys
from typing import Any

import torch
from pydantic import BaseModel
from torch import nn

number = 3


class _Answer(nn.Module):
    """Gives what it is told to, whatever its inputs are."""

    def __init__(self, answer: Any, n_parameters: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_parameters)) if n_parameters else None
        self._answer = answer

    def forward(self, inputs: torch.Tensor) -> Any:
        return self._answer(len(inputs))


def fails(input_shape: Any, n_classes: int) -> nn.Module:
    raise RuntimeError("no luck\non two lines")


def leaves(input_shape: Any, n_classes: int) -> nn.Module:
    sys.exit(3)


def text(input_shape: Any, n_classes: int) -> str:
    return "a network"


def three_arguments(a: Any, b: Any, c: Any) -> None: ...


def seven_logits(input_shape: Any, n_classes: int) -> nn.Module:
    return _Answer(lambda n: torch.zeros(n, 7))


def tuple_of_logits(input_shape: Any, n_classes: int) -> nn.Module:
    return _Answer(lambda n: (torch.zeros(n, n_classes),))


def integer_logits(input_shape: Any, n_classes: int) -> nn.Module:
    return _Answer(lambda n: torch.zeros(n, n_classes, dtype=torch.int64))


def without_parameters(input_shape: Any, n_classes: int) -> nn.Module:
    return _Answer(lambda n: torch.zeros(n, n_classes), n_parameters=0)


def takes_vectors(input_shape: Any, n_classes: int) -> nn.Module:
    return nn.Linear(784, n_classes)


class NoOptions:
    def run(self) -> None: ...


class CannotCount:
    class Options(BaseModel):
        pass

    @staticmethod
    def n_visits(model: nn.Module, options: BaseModel) -> int:
        raise RuntimeError("no idea")

    run = state_dict = load_state_dict = prepare_evaluation_ = evaluate = None


class CountsInFractions(CannotCount):
    @staticmethod
    def n_visits(model: nn.Module, options: BaseModel) -> int:
        return 0.5  # type: ignore[return-value]


Data = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def good() -> Data:
    generator = torch.Generator().manual_seed(0)
    train, test = (torch.rand(n, 1, 28, 28, generator=generator) for n in (200, 60))
    return train, torch.arange(200) % 10, test, torch.arange(60) % 10


def three_tensors() -> Any:
    return good()[:3]


def arrays() -> Any:
    return tuple(tensor.numpy() for tensor in good())


def with_nan() -> Data:
    train, train_targets, test, test_targets = good()
    train[3] = float("nan")
    return train, train_targets, test, test_targets


def beyond_float32() -> Any:
    train, train_targets, test, test_targets = good()
    return train, train_targets, test.double() * 1e39, test_targets


def other_shape() -> Data:
    train, train_targets, test, test_targets = good()
    return train, train_targets, test[:, :, :14], test_targets


def too_few_targets() -> Data:
    train, train_targets, test, test_targets = good()
    return train, train_targets[:-1], test, test_targets


def no_images() -> Data:
    train, train_targets, test, test_targets = good()
    return train, train_targets, test[:0], test_targets[:0]


def negative_targets() -> Data:
    train, train_targets, test, test_targets = good()
    return train, train_targets - 1, test, test_targets


def targets_of_floats() -> Data:
    train, train_targets, test, test_targets = good()
    return train, train_targets.float(), test, test_targets


def target_of_billions() -> Data:
    train, train_targets, test, test_targets = good()
    train_targets[7] = 5_000_000_000
    return train, train_targets, test, test_targets


def fails_to_load() -> Data:
    raise KeyError("images")


def leaves_instead() -> Data:
    sys.exit("bye")


def wants_an_argument(folder: str) -> None: ...
