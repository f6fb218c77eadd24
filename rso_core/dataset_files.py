"""The built-in data sets as they lie in the cache folder: unpacked, or downloaded, and read."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import os
import socket
import uuid
import warnings
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from filelock import FileLock

from rso_core.errors import InvalidInput, reason


@dataclass(frozen=True, eq=False)
class RawData:
    """A data set as it is published; inputs in [0, 255] where they are uint8."""

    train_inputs: torch.Tensor
    """uint8 or float32 [n, *input_shape]."""
    train_targets: torch.Tensor
    """int64 [n], from 0 to n_classes - 1."""
    test_inputs: torch.Tensor
    test_targets: torch.Tensor
    n_classes: int


_MNIST_SHA256: Mapping[str, str] = MappingProxyType(
    {
        "train-images-idx3-ubyte": (
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
        ),
        "train-labels-idx1-ubyte": (
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
        ),
        "t10k-images-idx3-ubyte": (
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
        ),
        "t10k-labels-idx1-ubyte": (
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
        ),
    }
)
"""Of the unpacked files."""

_DOWNLOAD_TIMEOUT_S = 30.0
"""Without an answer for so long, a download has failed; torchvision alone would wait for ever."""


def read_mnist(cache: Path) -> RawData:
    """Reads MNIST (inputs [n, 1, 28, 28]), which ships with the package and is unpacked once.

    Args:
        cache: the files go to `mnist/MNIST/raw` below it. Several processes may call this at once,
            and one may be killed at any instant: a file is moved into place when it is whole, and a
            file that is not what it should be is unpacked again.

    Raises:
        InvalidInput: the folder cannot be written to, or the package is damaged.
    """
    root = cache / "mnist"
    folder = root / "MNIST" / "raw"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        contents = [_unpacked(name, digest, folder) for name, digest in _MNIST_SHA256.items()]
    except OSError as error:
        raise InvalidInput(
            f"'data.name' mnist must be unpacked into the folder '{folder}', which fails "
            f"({reason(error)}); set RSO_SWEEP_CACHE to a folder with room that you can write to"
        ) from error
    # torchvision would read the same, but its import takes longer than all of this
    train_inputs, train_targets, test_inputs, test_targets = map(_idx_values, contents)
    return RawData(
        train_inputs=train_inputs.reshape(-1, 1, 28, 28),
        train_targets=train_targets.to(torch.int64),
        test_inputs=test_inputs.reshape(-1, 1, 28, 28),
        test_targets=test_targets.to(torch.int64),
        n_classes=10,
    )


def read_fashion_mnist(cache: Path) -> RawData:
    """Reads Fashion-MNIST (inputs [n, 1, 28, 28]), downloaded once into `fashion_mnist` of `cache`.

    Raises:
        InvalidInput: it is not there and cannot be downloaded.
    """
    root = cache / "fashion_mnist"
    dataset = _torchvision().FashionMNIST
    folder = root / "FashionMNIST" / "raw"
    files = [name for name, _ in dataset.resources]
    return _grey_images(*_download("fashion_mnist", dataset, root, folder, files))


def read_cifar10(cache: Path) -> RawData:
    """Reads CIFAR-10 (inputs [n, 3, 32, 32]), downloaded once into `cifar10` of `cache`.

    Raises:
        InvalidInput: it is not there and cannot be downloaded.
    """
    root = cache / "cifar10"
    dataset = _torchvision().CIFAR10
    train, test = _download("cifar10", dataset, root, root, [dataset.filename])
    return RawData(
        # torchvision gives height, width, channels
        train_inputs=torch.from_numpy(train.data).permute(0, 3, 1, 2),
        train_targets=torch.tensor(train.targets, dtype=torch.int64),
        test_inputs=torch.from_numpy(test.data).permute(0, 3, 1, 2),
        test_targets=torch.tensor(test.targets, dtype=torch.int64),
        n_classes=10,
    )


def default_cache() -> Path:
    """$RSO_SWEEP_CACHE, else `rso-sweep` in $XDG_CACHE_HOME, else in `~/.cache`."""
    own = os.environ.get("RSO_SWEEP_CACHE")
    if own:
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "rso-sweep"


def _torchvision() -> Any:
    # its import takes a second, and of a sweep's processes only the driver reads files
    import torchvision.datasets

    return torchvision.datasets


def _unpacked(name: str, digest: str, folder: Path) -> bytes:
    """The file `name`, left in `folder` whole and right, whatever was there before."""
    path = folder / name
    if path.is_file():
        present = path.read_bytes()
        if _sha256(present) == digest:
            return present
    try:
        packed = resources.files("rso_core.mnist").joinpath(f"{name}.gz").read_bytes()
        content = gzip.decompress(packed)
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(name, reason(error)) from error
    if _sha256(content) != digest:
        raise _damaged(name, "its checksum is wrong")
    # a name of its own for every writer; not from tempfile, whose files only their owner can read
    temporary = folder / f".{name}.{uuid.uuid4().hex}.tmp"
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return content


def _idx_values(content: bytes) -> torch.Tensor:
    """The values of an idx file of bytes, uint8 [n], in a tensor that can be written to."""
    n_dimensions = content[3]
    header = 4 + 4 * n_dimensions
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=header)


def _damaged(name: str, fault: str) -> InvalidInput:
    return InvalidInput(
        f"'data.name' mnist cannot be read: '{name}.gz' of the installed package rso_core.mnist "
        f"is damaged ({fault}); install rso-sweep again"
    )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _download(name: str, dataset: Any, root: Path, folder: Path, files: list[str]) -> Any:
    """Training and test part of a torchvision data set, downloaded if they are not there.

    `folder` and `files` say where a file is looked for before it is downloaded.
    """
    # without the lock first: a complete data set may lie in a folder that cannot be written to
    with contextlib.suppress(Exception):
        return _open(dataset, root, download=False)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / ".lock"):
            with contextlib.suppress(Exception):  # another process may have been at it
                return _open(dataset, root, download=False)
            # torchvision takes a half-unpacked idx file for a whole one
            for unpacked in folder.glob("*-ubyte"):
                unpacked.unlink()
            return _open(dataset, root, download=True)
    except Exception as error:  # torchvision and the network raise many kinds
        raise InvalidInput(
            f"'data.name' {name} cannot be downloaded ({reason(error)}); "
            f"put {', '.join(files)} into the folder '{folder}' by hand, "
            "or set RSO_SWEEP_CACHE to a cache folder that has them"
        ) from error


def _open(dataset: Any, root: Path, *, download: bool) -> tuple[Any, Any]:
    with _quiet():
        return (
            dataset(root, train=True, download=download),
            dataset(root, train=False, download=download),
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars, no warnings about old pickles, and no waiting for ever."""
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_DOWNLOAD_TIMEOUT_S)
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        socket.setdefaulttimeout(timeout)


def _grey_images(train: Any, test: Any) -> RawData:
    return RawData(
        train_inputs=train.data.unsqueeze(1),
        train_targets=train.targets,
        test_inputs=test.data.unsqueeze(1),
        test_targets=test.targets,
        n_classes=10,
    )
