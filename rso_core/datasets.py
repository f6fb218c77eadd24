"""The data sets, looked up by name in this one place: split, scaled and ready for training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch
from pydantic import BaseModel, ConfigDict, Field

from rso_core.dataset_files import (
    RawData,
    default_cache,
    read_cifar10,
    read_fashion_mnist,
    read_mnist,
)
from rso_core.errors import InvalidInput, nearest
from rso_core.own_dataset import read_own
from rso_core.references import resolve


@dataclass(frozen=True, eq=False)
class Dataset:
    """Three parts that share no image; inputs are float32 [n, *input_shape], targets int64 [n]."""

    name: str
    train_inputs: torch.Tensor
    train_targets: torch.Tensor
    validation_inputs: torch.Tensor
    """May hold no image."""
    validation_targets: torch.Tensor
    test_inputs: torch.Tensor
    test_targets: torch.Tensor
    n_classes: int
    """Targets run from 0 to n_classes - 1; a part may lack some of them."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input, without the batch: (channels, height, width) for images."""
        return tuple(self.train_inputs.shape[1:])

    @property
    def n_training_images(self) -> int:
        """The largest batch that can be drawn."""
        return len(self.train_inputs)


class DataOptions(BaseModel):
    """Which data, and how it is split. The same options always give the same parts."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        use_attribute_docstrings=True,  # for the sweep file's JSON schema
    )

    name: str = "mnist"
    """One of `DATASETS`, or a user's `package.module:function`; see `load_dataset`."""
    train_size: int | None = Field(default=None, ge=1)
    """Images kept for training; None: all that the validation part leaves."""
    validation_size: int = Field(default=5000, ge=0)
    """Images held out of the published training set; which ones does not depend on train_size."""
    test_size: int | None = Field(default=None, ge=1)
    """Images kept of the published test set; None: all."""
    standardise: bool = True
    """Subtract the mean and divide by the standard deviation of each channel (Tripathi & Singh
    2020, Algorithm 1, step 1), taken over the training part."""
    split_seed: int = Field(default=0, ge=0, le=2**63 - 1)
    """Of the draw that says which images each part gets; a run's own seed does not change it."""


def load_dataset(options: DataOptions, cache: Path | None = None) -> Dataset:
    """Loads, splits and scales a data set.

    Pixels are scaled to [0, 1], then standardised if the options say so. Validation, training and
    test images are drawn stratified by class: each class has its proportional share, rounded up or
    down. Within a part the images keep the published order.

    Args:
        options: which data and how it is split. A user's function takes no arguments and returns
            (train_inputs, train_targets, test_inputs, test_targets): inputs uint8 (divided by 255)
            or floating point (taken as they are) [n, *input_shape], channels first; targets
            integers from 0, [n]. Its tensors are not changed.
        cache: the folder for unpacked and downloaded files; None: `default_cache()`.

    Raises:
        InvalidInput: unknown name, sizes that do not fit the data, a cache folder that cannot be
            used, a failed download, or data of a user's function that is not as above.
    """
    check_dataset_name(options.name)
    if options.name in _READERS:
        raw = _READERS[options.name](default_cache() if cache is None else cache)
    else:
        raw = read_own(options.name)
    _check_sizes(options, len(raw.train_targets), len(raw.test_targets))

    train, validation, test = _split(raw.train_targets, raw.test_targets, options)
    parts = [
        _unit_scale(raw.train_inputs, train),
        _unit_scale(raw.train_inputs, validation),
        _unit_scale(raw.test_inputs, test),
    ]
    if options.standardise:
        mean, std = channel_statistics(parts[0])
        for part in parts:
            part.sub_(mean).div_(std)
    return Dataset(
        name=options.name,
        train_inputs=parts[0],
        train_targets=raw.train_targets[train],
        validation_inputs=parts[1],
        validation_targets=raw.train_targets[validation],
        test_inputs=parts[2],
        test_targets=raw.test_targets[test],
        n_classes=raw.n_classes,
    )


def check_dataset_name(name: str, field: str = "data.name") -> None:
    """Finds out whether there is a data set of that name, without loading it.

    Args:
        name: a key of `DATASETS` or `package.module:function`, whose module is imported.
        field: the option that holds the name, for the message.

    Raises:
        InvalidInput: there is none.
    """
    if ":" in name:
        resolve(name, field)
    elif name not in _READERS:
        raise InvalidInput(f"'{field}' must be a data set, got '{name}'; {nearest(name, DATASETS)}")


def n_training_images(options: DataOptions) -> int | None:
    """How many training images the options give, without loading the data.

    Returns:
        The number, or None for a user's own data with no train_size, or of another name.

    Raises:
        InvalidInput: sizes that do not fit a built-in data set.
    """
    n_published = TRAINING_IMAGES.get(options.name)
    if n_published is None:
        return options.train_size
    _check_sizes(options, n_published, _TEST_IMAGES)
    return options.train_size or n_published - options.validation_size


def stratified_sample(targets: torch.Tensor, size: int, generator: torch.Generator) -> torch.Tensor:
    """Draws positions without replacement, each class with its proportional share.

    Shares are rounded by the method of the largest remainder: a class has its share rounded up or
    down, and the counts add up to `size`.

    Args:
        targets: int64 [n].
        size: from 0 to n.
        generator: advanced by an amount that depends on the targets, not on `size`.

    Returns:
        int64 [size], ascending.
    """
    classes, counts = torch.unique(targets, return_counts=True)
    shares = [divmod(size * count, len(targets)) for count in counts.tolist()]
    n_left = size - sum(whole for whole, _ in shares)
    by_remainder = sorted(range(len(shares)), key=lambda index: -shares[index][1])
    rounded_up = set(by_remainder[:n_left])
    drawn = [torch.empty(0, dtype=torch.int64)]
    for index, label in enumerate(classes.tolist()):
        positions = torch.nonzero(targets == label).flatten()
        shuffled = positions[torch.randperm(len(positions), generator=generator)]
        drawn.append(shuffled[: shares[index][0] + (index in rounded_up)])
    return torch.cat(drawn).sort().values


def channel_statistics(inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and (population) standard deviation of each channel, computed in float64.

    Args:
        inputs: float32 [n, channels, ...] with n at least 1.

    Returns:
        Both float32 [channels, 1, ...], to be broadcast over an input; the standard deviation of a
        channel that is constant is given as 1, so that it can be divided by.
    """
    over = [dim for dim in range(inputs.dim()) if dim != 1]
    n_values = inputs[:, 0].numel()
    total = torch.zeros(1, dtype=torch.float64)
    for chunk in torch.split(inputs, 4096):  # so that there is never a float64 copy of the whole
        total = total + chunk.double().sum(over, keepdim=True)
    mean = total / n_values
    squares = torch.zeros(1, dtype=torch.float64)
    for chunk in torch.split(inputs, 4096):
        squares = squares + (chunk.double() - mean).square_().sum(over, keepdim=True)
    std = (squares / n_values).sqrt()
    # rounding makes a constant channel's std tiny rather than 0
    constant = inputs.amin(over, keepdim=True) == inputs.amax(over, keepdim=True)
    std = torch.where(constant, 1.0, std)
    return mean[0].float(), std[0].float()


_READERS: Mapping[str, Callable[[Path], RawData]] = MappingProxyType(
    {"mnist": read_mnist, "fashion_mnist": read_fashion_mnist, "cifar10": read_cifar10}
)

DATASETS: tuple[str, ...] = tuple(_READERS)

TRAINING_IMAGES: Mapping[str, int] = MappingProxyType(
    {"mnist": 60_000, "fashion_mnist": 60_000, "cifar10": 50_000}
)
"""Published training images, before any are held out."""

_TEST_IMAGES = 10_000
"""Published test images of each."""


def _check_sizes(options: DataOptions, n_train: int, n_test: int) -> None:
    problems = []
    n_left = n_train - options.validation_size
    if n_left < 1:
        problems.append(
            f"'data.validation_size' must be at most {n_train - 1}, to leave one of the "
            f"{n_train} training images of {options.name}, got {options.validation_size}"
        )
    elif options.train_size is not None and options.train_size > n_left:
        problems.append(
            f"'data.train_size' must be at most {n_left} ({n_train} training images of "
            f"{options.name} less {options.validation_size} for validation), "
            f"got {options.train_size}"
        )
    if options.test_size is not None and options.test_size > n_test:
        problems.append(
            f"'data.test_size' must be at most {n_test}, the test images of {options.name}, "
            f"got {options.test_size}"
        )
    if problems:
        raise InvalidInput(*problems)


def _split(
    train_targets: torch.Tensor, test_targets: torch.Tensor, options: DataOptions
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Positions of the training and validation part in the one, of the test part in the other."""
    generator = torch.Generator().manual_seed(options.split_seed)
    # in this order, a part depends on no other's size, but for training on validation
    validation = stratified_sample(train_targets, options.validation_size, generator)
    n_test = len(test_targets) if options.test_size is None else options.test_size
    test = stratified_sample(test_targets, n_test, generator)
    is_left = torch.ones(len(train_targets), dtype=torch.bool)
    is_left[validation] = False
    left = torch.nonzero(is_left).flatten()
    n_train = len(left) if options.train_size is None else options.train_size
    train = left[stratified_sample(train_targets[left], n_train, generator)]
    return train, validation, test


def _unit_scale(inputs: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """A new contiguous float32 tensor of the inputs at those positions; uint8 over 255."""
    part = inputs[positions].float().contiguous()  # indexing copies
    return part.div_(255) if inputs.dtype == torch.uint8 else part
