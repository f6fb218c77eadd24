"""Small data and networks on which a whole run takes a fraction of a second."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import nn

from rso_core.datasets import Dataset
from rso_core.peers import Listener, Peers


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """The tensors are so small that threads would only wait for each other."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


def _images(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise with a bright corner that tells the class: easy, but not solved by chance."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(n) % 3
    inputs = torch.randn(n, 1, 6, 6, generator=generator) * 0.5
    inputs[targets == 0, :, :3, :3] += 1
    inputs[targets == 1, :, 3:, 3:] += 1
    return inputs, targets


@pytest.fixture
def small_data() -> Dataset:
    """120 training, 30 validation and 60 test images of 1 x 6 x 6 in three classes."""
    return Dataset(
        name="small",
        train_inputs=_images(120, 0)[0],
        train_targets=_images(120, 0)[1],
        validation_inputs=_images(30, 1)[0],
        validation_targets=_images(30, 1)[1],
        test_inputs=_images(60, 2)[0],
        test_targets=_images(60, 2)[1],
        n_classes=3,
    )


@pytest.fixture
def small_network() -> nn.Module:
    """A convolution with batch norm, and a linear layer: every kind of parameter."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 2, 3),
        nn.BatchNorm2d(2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(8, 3),
    )


Work = Callable[[Peers], Any]


@pytest.fixture
def in_group() -> Iterator[Callable[[int, Work], list[Any]]]:
    """Calls a function with the peers of each of so many workers, which are threads.

    Gives what it returned, or the exception that it raised, for every rank. A worker that is done
    or has raised leaves the others.
    """
    # a thread that waits for Python's lock is a worker that the others wait for
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield _run_in_group
    sys.setswitchinterval(interval_s)


def _run_in_group(size: int, work: Work) -> list[Any]:
    listeners = [Listener() for _ in range(size)]
    addresses = [listener.address for listener in listeners]

    def one(rank: int) -> Any:
        peers = listeners[rank].connect(rank, addresses, b"the key of a test")
        try:
            return work(peers)
        except Exception as error:
            return error
        finally:
            peers.close()

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(one, range(size), timeout=120))
