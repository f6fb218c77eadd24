"""A user's own data set, checked before anything depends on it."""

from __future__ import annotations

import torch

from rso_core.dataset_files import RawData
from rso_core.errors import InvalidInput, reason
from rso_core.references import resolve


def read_own(name: str, field: str = "data.name") -> RawData:
    """Calls a user's function with no arguments and checks the four tensors that it returns.

    They are train_inputs, train_targets, test_inputs, test_targets: inputs uint8 or floating point
    [n, *input_shape], finite; targets of any integer type [n], from 0. They are not changed.

    Args:
        name: `package.module:function`.
        field: the option that holds the name, for the message.

    Returns:
        The data on the CPU: inputs uint8 or float32, targets int64, n_classes one more than the
        largest target.

    Raises:
        InvalidInput: the function fails, or what it returns is not as above.
    """
    function = resolve(name, field)
    try:
        returned = function()
    except (Exception, SystemExit) as error:  # a user's function may raise anything
        raise InvalidInput(
            f"'{field}' names '{name}', which fails when it is called with no arguments "
            f"({reason(error)})"
        ) from error
    if not isinstance(returned, tuple | list) or len(returned) != len(_PARTS):
        problems = [f"it must return {', '.join(_PARTS)}, got {_kind(returned)}"]
    else:
        problems = _faults(list(returned))
    if problems:
        raise InvalidInput(*(f"'{field}' names '{name}': {problem}" for problem in problems))
    train_inputs, train_targets, test_inputs, test_targets = (t.detach().cpu() for t in returned)
    return RawData(
        train_inputs=_uint8_or_float32(train_inputs),
        train_targets=train_targets.long(),
        test_inputs=_uint8_or_float32(test_inputs),
        test_targets=test_targets.long(),
        n_classes=int(max(train_targets.max(), test_targets.max())) + 1,
    )


_PARTS = ("train_inputs", "train_targets", "test_inputs", "test_targets")

_MOST_CLASSES = 1_000_000
"""More, of which each has a logit, are taken for a slip."""

_INTEGERS = frozenset({torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64})


def _faults(returned: list[object]) -> list[str]:
    """What keeps the four from being a data set: of each alone, else of one beside another."""
    faults = []
    for part, value in zip(_PARTS, returned, strict=True):
        fault = _inputs_fault(value) if part.endswith("inputs") else _targets_fault(value)
        if fault:
            faults.append(f"{part} must {fault}")
    if faults:
        return faults
    train_inputs, train_targets, test_inputs, test_targets = (
        value for value in returned if isinstance(value, torch.Tensor)
    )
    if len(train_inputs) != len(train_targets):
        faults.append(_lengths_fault("train", train_inputs, train_targets))
    if len(test_inputs) != len(test_targets):
        faults.append(_lengths_fault("test", test_inputs, test_targets))
    if train_inputs.shape[1:] != test_inputs.shape[1:]:
        faults.append(
            "train_inputs and test_inputs must have one shape but for their number, "
            f"got {list(train_inputs.shape)} and {list(test_inputs.shape)}"
        )
    if (train_inputs.dtype == torch.uint8) != (test_inputs.dtype == torch.uint8):
        faults.append(
            "train_inputs and test_inputs must be both uint8 (divided by 255) or both floating "
            f"point, got {train_inputs.dtype} and {test_inputs.dtype}"
        )
    return faults


def _inputs_fault(value: object) -> str | None:
    if not isinstance(value, torch.Tensor):
        return f"be a tensor, got {_kind(value)}"
    if value.dtype != torch.uint8 and not value.is_floating_point():
        return f"be uint8 (divided by 255) or floating point, got {value.dtype}"
    if value.dim() < 2 or value.numel() == 0:
        return f"have the shape [n, *input_shape] with n at least 1, got {list(value.shape)}"
    if value.is_floating_point() and not _uint8_or_float32(value).isfinite().all():
        return "be finite numbers within float32's range, got infinity or nan"
    return None


def _targets_fault(value: object) -> str | None:
    if not isinstance(value, torch.Tensor):
        return f"be a tensor, got {_kind(value)}"
    if value.dtype not in _INTEGERS:
        return f"be class numbers of an integer type, got {value.dtype}"
    if value.dim() != 1 or value.numel() == 0:
        return f"have the shape [n] with n at least 1, got {list(value.shape)}"
    if value.min() < 0:
        return f"be class numbers from 0, got {int(value.min())}"
    if value.max() >= _MOST_CLASSES:
        return f"be class numbers of at most {_MOST_CLASSES - 1}, got {int(value.max())}"
    return None


def _lengths_fault(part: str, inputs: torch.Tensor, targets: torch.Tensor) -> str:
    return (
        f"{part}_inputs and {part}_targets must be equally many, "
        f"got {len(inputs)} and {len(targets)}"
    )


def _uint8_or_float32(inputs: torch.Tensor) -> torch.Tensor:
    return inputs if inputs.dtype == torch.uint8 else inputs.float()


def _kind(value: object) -> str:
    if isinstance(value, tuple | list):
        return f"{len(value)} values"
    return f"an object of type {type(value).__name__}"
