"""The data sets: their files, how they are split and scaled, and what a user's own may be."""

from __future__ import annotations

import errno
import gzip
import hashlib
import os
import pickle
import socket
import struct
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any, NoReturn
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rso_core import dataset_files
from rso_core.dataset_files import default_cache, read_mnist
from rso_core.datasets import (
    DATASETS,
    TRAINING_IMAGES,
    DataOptions,
    Dataset,
    channel_statistics,
    check_dataset_name,
    load_dataset,
    n_training_images,
    stratified_sample,
)
from rso_core.errors import InvalidInput


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder with MNIST in it; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("cache")
    read_mnist(folder)
    return folder


@pytest.fixture(scope="module")
def whole_mnist(cache: Path) -> Dataset:
    """MNIST with nothing held out and nothing scaled but to [0, 1]; tests leave it as it is."""
    return load_dataset(DataOptions(validation_size=0, standardise=False), cache)


# ---------------------------------------------------------------------------------------- MNIST


def test_mnist_is_the_published_data(whole_mnist: Dataset) -> None:
    assert whole_mnist.input_shape == (1, 28, 28)
    assert (whole_mnist.n_training_images, len(whole_mnist.test_inputs)) == (60_000, 10_000)
    assert whole_mnist.validation_inputs.shape == (0, 1, 28, 28)
    assert whole_mnist.validation_targets.shape == (0,)
    assert whole_mnist.n_classes == 10
    assert whole_mnist.train_targets[:5].tolist() == [5, 0, 4, 1, 9]
    assert whole_mnist.test_targets[:5].tolist() == [7, 2, 1, 0, 4]
    for inputs in (whole_mnist.train_inputs, whole_mnist.test_inputs):
        assert (inputs.dtype, inputs.min(), inputs.max()) == (torch.float32, 0.0, 1.0)
    assert whole_mnist.train_targets.dtype == torch.int64
    mean, std = channel_statistics(whole_mnist.train_inputs)
    assert mean.item() == pytest.approx(0.1307, abs=5e-5)
    assert std.item() == pytest.approx(0.3081, abs=5e-5)


def test_mnist_is_what_torchvision_reads(cache: Path) -> None:
    raw = dataset_files.read_mnist(cache)
    for is_train, inputs, targets in (
        (True, raw.train_inputs, raw.train_targets),
        (False, raw.test_inputs, raw.test_targets),
    ):
        published = torchvision.datasets.MNIST(cache / "mnist", train=is_train)
        assert torch.equal(inputs, published.data.unsqueeze(1))
        assert torch.equal(targets, published.targets)
        assert targets.dtype == published.targets.dtype


def test_standardised_parts_share_the_training_parts_statistics(
    cache: Path, whole_mnist: Dataset
) -> None:
    options = DataOptions(train_size=2000, validation_size=100, test_size=300)
    raw = load_dataset(options.model_copy(update={"standardise": False}), cache)
    data = load_dataset(options, cache)
    mean, std = channel_statistics(data.train_inputs)
    assert (mean.item(), std.item()) == (pytest.approx(0, abs=1e-6), pytest.approx(1, abs=1e-6))
    mean, std = channel_statistics(raw.train_inputs)
    for part in ("train_inputs", "validation_inputs", "test_inputs"):
        torch.testing.assert_close(getattr(data, part), (getattr(raw, part) - mean) / std)
    # the statistics are those of the kept images, not of all 60,000
    assert mean != channel_statistics(whole_mnist.train_inputs)[0]


def test_the_validation_set_does_not_depend_on_the_other_sizes(cache: Path) -> None:
    sizes = [{}, {"train_size": 50}, {"train_size": 7000, "test_size": 10}]
    parts = [
        load_dataset(DataOptions(validation_size=500, standardise=False, **size), cache)
        for size in sizes
    ]
    for part in parts[1:]:
        torch.testing.assert_close(part.validation_inputs, parts[0].validation_inputs)


def test_the_test_set_does_not_depend_on_the_other_sizes(cache: Path) -> None:
    sizes = [{}, {"validation_size": 0}, {"validation_size": 59_000, "train_size": 500}]
    parts = [load_dataset(DataOptions(test_size=50, standardise=False, **s), cache) for s in sizes]
    for part in parts[1:]:
        torch.testing.assert_close(part.test_inputs, parts[0].test_inputs)


def test_another_seed_holds_out_other_images(cache: Path) -> None:
    first, second = (
        load_dataset(DataOptions(train_size=10, validation_size=100, split_seed=seed), cache)
        for seed in (0, 1)
    )
    assert not torch.equal(first.validation_inputs, second.validation_inputs)


@pytest.mark.parametrize(
    "damage", [b"", b"garbage", None], ids=["empty", "overwritten", "one flipped byte"]
)
def test_a_damaged_file_in_the_cache_is_healed(tmp_path: Path, damage: bytes | None) -> None:
    folder = tmp_path / "mnist" / "MNIST" / "raw"
    folder.mkdir(parents=True)
    content = _packed("t10k-labels-idx1-ubyte")
    damaged = bytes([*content[:-1], content[-1] ^ 1]) if damage is None else damage
    (folder / "t10k-labels-idx1-ubyte").write_bytes(damaged)
    assert read_mnist(tmp_path).test_targets[-1] == 6
    assert (folder / "t10k-labels-idx1-ubyte").read_bytes() == content


def test_whole_files_in_the_cache_are_not_written_again(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", _no_space)
    read_mnist(cache)


def test_a_full_disk_names_the_folder_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", _no_space)
    with pytest.raises(InvalidInput, match="No space left on device") as caught:
        load_dataset(DataOptions(), tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "RSO_SWEEP_CACHE" in str(caught.value)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_cache_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InvalidInput, match="RSO_SWEEP_CACHE") as caught:
        load_dataset(DataOptions(), tmp_path / "file")
    assert str(tmp_path / "file") in str(caught.value)


def test_a_damaged_package_says_to_install_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gzip, "decompress", lambda _: b"something else")
    with pytest.raises(InvalidInput, match=r"its checksum is wrong.*install rso-sweep again"):
        load_dataset(DataOptions(), tmp_path)


def test_several_processes_may_unpack_at_once(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from rso_core.dataset_files import read_mnist; "
        "raw = read_mnist(Path(sys.argv[1])); print(len(raw.train_inputs), raw.train_targets[0])"
    )
    root = Path(dataset_files.__file__).parents[1]
    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path)]
    processes = [
        subprocess.Popen(
            command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    for process in processes:
        output, errors = process.communicate(timeout=120)
        assert (process.returncode, output, errors) == (0, "60000 tensor(5)\n", "")
    folder = tmp_path / "mnist" / "MNIST" / "raw"
    assert sorted(path.name for path in folder.iterdir()) == [
        f"{part}-{kind}-ubyte"
        for part in ("t10k", "train")
        for kind in ("images-idx3", "labels-idx1")
    ]


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RSO_SWEEP_CACHE", "/own")
    monkeypatch.setenv("XDG_CACHE_HOME", "/shared")
    assert default_cache() == Path("/own")
    monkeypatch.setenv("RSO_SWEEP_CACHE", "")
    assert default_cache() == Path("/shared/rso-sweep")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert default_cache() == Path("/home/somebody/.cache/rso-sweep")


# ---------------------------------------------------------------------- the downloaded data sets


def test_fashion_mnist_is_read_from_files_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write_fashion_mnist(tmp_path)
    monkeypatch.setattr(urllib.request, "urlopen", _no_network)
    options = DataOptions(name="fashion_mnist", validation_size=10, standardise=False)
    data = load_dataset(options, tmp_path)
    assert data.train_inputs.shape == (20, 1, 28, 28)
    assert data.test_targets.tolist() == [index % 10 for index in range(20)]
    assert data.test_inputs[7].unique().item() == pytest.approx(7 / 255)


def test_a_half_unpacked_fashion_mnist_is_unpacked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _write_fashion_mnist(tmp_path)
    resources = []
    for name, _ in torchvision.datasets.FashionMNIST.resources:
        packed = gzip.compress((folder / name).with_suffix("").read_bytes())
        (folder / name).write_bytes(packed)
        resources.append((name, hashlib.md5(packed).hexdigest()))
    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "resources", resources)
    monkeypatch.setattr(urllib.request, "urlopen", _no_network)
    unpacked = folder / "train-images-idx3-ubyte"
    whole = unpacked.read_bytes()
    unpacked.write_bytes(whole[:1000])
    data = load_dataset(DataOptions(name="fashion_mnist", validation_size=0), tmp_path)
    assert data.n_training_images == 30
    assert unpacked.read_bytes() == whole


def test_cifar10_is_read_from_files_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = _write_cifar10(tmp_path, monkeypatch)
    monkeypatch.setattr(urllib.request, "urlopen", _no_network)
    options = DataOptions(name="cifar10", validation_size=0, standardise=False)
    data = load_dataset(options, tmp_path)
    assert data.train_inputs.shape == (50, 3, 32, 32)
    assert data.train_inputs.is_contiguous()
    torch.testing.assert_close(data.test_inputs, torch.from_numpy(images[-1]).float() / 255)
    assert data.test_targets.tolist() == list(range(10))
    standardised = load_dataset(options.model_copy(update={"standardise": True}), tmp_path)
    mean, std = channel_statistics(standardised.train_inputs)
    torch.testing.assert_close(mean, torch.zeros(3, 1, 1), atol=1e-5, rtol=0)
    torch.testing.assert_close(std, torch.ones(3, 1, 1), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("name", "folder", "file"),
    [
        ("fashion_mnist", "fashion_mnist/FashionMNIST/raw", "t10k-labels-idx1-ubyte.gz"),
        ("cifar10", "cifar10", "cifar-10-python.tar.gz"),
    ],
)
def test_without_a_network_the_message_says_where_files_can_be_put(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    name: str,
    folder: str,
    file: str,
) -> None:
    monkeypatch.setattr(urllib.request, "urlopen", _no_network)
    with pytest.raises(InvalidInput) as caught:
        load_dataset(DataOptions(name=name), tmp_path)
    message = str(caught.value)
    assert message.startswith(f"'data.name' {name} cannot be downloaded (")
    assert "no route to host" in message
    assert f"{file} into the folder '{tmp_path / folder}'" in message
    assert "\n" not in message
    assert capfd.readouterr() == ("", "")
    assert socket.getdefaulttimeout() is None


def test_a_download_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timeouts = []

    def look(*args: object, **kwargs: object) -> NoReturn:
        timeouts.append(socket.getdefaulttimeout())
        raise TimeoutError("timed out")

    monkeypatch.setattr(urllib.request, "urlopen", look)
    with pytest.raises(InvalidInput, match="timed out"):
        load_dataset(DataOptions(name="cifar10"), tmp_path)
    assert all(timeouts)


# -------------------------------------------------------------------------------- names and sizes


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(InvalidInput) as caught:
        check_dataset_name("minst")
    assert str(caught.value) == (
        "'data.name' must be a data set, got 'minst'; did you mean 'mnist'?"
    )
    with pytest.raises(InvalidInput, match="did you mean 'cifar10'"):
        load_dataset(DataOptions(name="cifar-10"))


def test_every_built_in_name_is_accepted_and_has_a_known_size() -> None:
    for name in DATASETS:
        check_dataset_name(name)
        assert n_training_images(DataOptions(name=name)) == TRAINING_IMAGES[name] - 5000
        assert n_training_images(DataOptions(name=name, train_size=7)) == 7


def test_the_size_of_a_users_data_is_not_known_without_loading() -> None:
    assert n_training_images(DataOptions(name="my.data:load")) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"train_size": 55_001},
            "'data.train_size' must be at most 55000 (60000 training images of mnist less 5000 "
            "for validation), got 55001",
        ),
        (
            {"validation_size": 60_000},
            "'data.validation_size' must be at most 59999, to leave one of the 60000 training "
            "images of mnist, got 60000",
        ),
        (
            {"test_size": 10_001},
            "'data.test_size' must be at most 10000, the test images of mnist, got 10001",
        ),
    ],
)
def test_sizes_that_do_not_fit_are_refused_loaded_or_not(
    cache: Path, options: dict[str, Any], message: str
) -> None:
    for refuse in (n_training_images, lambda options: load_dataset(options, cache)):
        with pytest.raises(InvalidInput) as caught:
            refuse(DataOptions(**options))
        assert str(caught.value) == message


def test_all_sizes_that_do_not_fit_are_listed_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        n_training_images(DataOptions(train_size=60_000, test_size=60_000))
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    "options",
    [
        {"train_size": 0},
        {"validation_size": -1},
        {"test_size": 0},
        {"split_seed": -1},
        {"split_seed": 2**63},
        {"standardize": True},
        {"train_size": True},
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DataOptions(**options)


# -------------------------------------------------------------------------------------- splitting

targets_lists = st.lists(st.integers(0, 5), min_size=1, max_size=200)


@given(targets=targets_lists, share=st.floats(0, 1), seed=st.integers(0, 2**63 - 1))
def test_a_stratified_sample_is_exact_proportional_and_repeatable(
    targets: list[int], share: float, seed: int
) -> None:
    labels = torch.tensor(targets)
    size = round(share * len(targets))

    def draw() -> torch.Tensor:
        return stratified_sample(labels, size, torch.Generator().manual_seed(seed))

    sample = draw()
    assert sample.dtype == torch.int64
    assert len(sample) == size
    assert sample.tolist() == sorted(set(sample.tolist()))
    exact = labels.bincount() * size / len(labels)
    assert ((labels[sample].bincount(minlength=len(exact)) - exact).abs() < 1).all()
    assert torch.equal(sample, draw())


@given(targets=targets_lists, seed=st.integers(0, 2**63 - 1), size=st.integers(0, 200))
def test_a_stratified_sample_advances_the_generator_alike_whatever_its_size(
    targets: list[int], seed: int, size: int
) -> None:
    generators = [torch.Generator().manual_seed(seed) for _ in range(2)]
    stratified_sample(torch.tensor(targets), min(size, len(targets)), generators[0])
    stratified_sample(torch.tensor(targets), 0, generators[1])
    assert torch.equal(generators[0].get_state(), generators[1].get_state())


def test_every_image_of_a_class_can_be_drawn() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = {stratified_sample(torch.zeros(5), 1, generator).item() for _ in range(100)}
    assert drawn == {0, 1, 2, 3, 4}


def test_the_parts_share_no_image_and_lose_none(own_data: str) -> None:
    options = DataOptions(name=f"{own_data}:numbered", validation_size=40, standardise=False)
    data = load_dataset(options)
    numbers = [data.train_inputs.flatten().tolist(), data.validation_inputs.flatten().tolist()]
    assert [len(part) for part in numbers] == [60, 40]
    assert sorted(numbers[0] + numbers[1]) == list(range(100))
    assert data.test_inputs.flatten().tolist() == list(range(100, 110))
    for part in numbers:
        assert part == sorted(part)
    # a target goes with its input
    assert data.validation_targets.tolist() == [number % 3 for number in numbers[1]]
    assert data.validation_targets.bincount().tolist() == [14, 13, 13]
    kept = load_dataset(options.model_copy(update={"train_size": 30}))
    assert kept.train_targets.bincount().tolist() == [10, 10, 10]
    assert set(kept.train_inputs.flatten().tolist()) <= set(numbers[0])


# ---------------------------------------------------------------------------------------- scaling


def test_statistics_are_those_of_each_channel() -> None:
    inputs = torch.rand(5000, 3, 2, 2, generator=torch.Generator().manual_seed(0)) * 7 + 100
    mean, std = channel_statistics(inputs)
    by_channel = inputs.double().transpose(0, 1).flatten(1)
    torch.testing.assert_close(mean.flatten(), by_channel.mean(1).float())
    torch.testing.assert_close(std.flatten(), by_channel.std(1, correction=0).float())


def test_a_constant_channel_is_divided_by_one(own_data: str) -> None:
    data = load_dataset(DataOptions(name=f"{own_data}:constant_channel", validation_size=0))
    assert torch.equal(data.train_inputs[:, 0], torch.zeros(9, 2))
    torch.testing.assert_close(data.test_inputs[:, 0], torch.full((2, 2), 0.5 - 0.1))
    assert data.train_inputs[:, 1].std(correction=0).item() == pytest.approx(1)


# ------------------------------------------------------------------------------------ a user's own


@pytest.fixture
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a user's module, which can be imported while the test runs."""
    (tmp_path / "own_data_for_test.py").write_text(
        "import torch\n"
        "x, y = torch.rand(6, 1, 2, 2), torch.tensor([0, 1, 2, 0, 1, 2])\n"
        "def good(): return x, y, x[:2], y[:2]\n"
        "def bytes_(): return (255 * x.round()).byte(), y.byte(), torch.ones_like(x).byte(), y\n"
        "def numbered():\n"
        "    numbers = torch.arange(110.).reshape(-1, 1, 1, 1)\n"
        "    labels = torch.arange(110) % 3\n"
        "    return numbers[:100], labels[:100], numbers[100:], labels[100:]\n"
        "def constant_channel():\n"
        "    train = torch.stack([torch.full((9, 2), 0.1), torch.rand(9, 2)], dim=1)\n"
        "    return train, torch.arange(9), torch.full((2, 2, 2), 0.5), torch.arange(2)\n"
        "def fails(): raise OSError('no such\\nfile')\n"
        "def needs_a_path(path): pass\n"
        "def three(): return x, y, x\n"
        "def nothing(): pass\n"
        "def arrays(): return x.numpy(), y, x, y\n"
        "def integers(): return x.int(), y, x.int(), y\n"
        "def no_shape(): return y.float(), y, y.float(), y\n"
        "def empty(): return x, y, x[:0], y[:0]\n"
        "def infinite(): return x / 0, y, x, y\n"
        "def too_large(): return x, y, torch.full_like(x, 1e300, dtype=torch.float64), y\n"
        "def float_targets(): return x, y.float(), x, y\n"
        "def one_hot(): return x, y, x, torch.eye(3)[y].long()\n"
        "def negative(): return x, y - 1, x, y\n"
        "def unequal(): return x, y[:5], x[:2], y\n"
        "def two_shapes(): return x, y, x[..., :1], y\n"
        "def two_types(): return x, y, x.byte(), y\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_data_for_test", raising=False)
    return "own_data_for_test"


@pytest.mark.parametrize("standardise", [True, False])
def test_a_users_tensors_are_loaded_and_not_changed(own_data: str, standardise: bool) -> None:
    options = DataOptions(name=f"{own_data}:good", validation_size=0, standardise=standardise)
    check_dataset_name(options.name)
    x = sys.modules[own_data].x
    before = x.clone()
    data = load_dataset(options)
    assert (data.name, data.n_classes, data.input_shape) == (options.name, 3, (1, 2, 2))
    assert torch.equal(x, before)
    assert data.train_inputs.data_ptr() != x.data_ptr()
    assert torch.equal(data.train_inputs, before) is not standardise


def test_bytes_are_divided_by_255(own_data: str) -> None:
    data = load_dataset(
        DataOptions(name=f"{own_data}:bytes_", validation_size=0, standardise=False)
    )
    assert set(data.train_inputs.unique().tolist()) <= {0.0, 1.0}
    assert data.test_inputs.unique().item() == pytest.approx(1 / 255)
    assert data.train_targets.dtype == torch.int64


def test_the_default_validation_size_may_not_fit_a_users_data(own_data: str) -> None:
    with pytest.raises(InvalidInput, match=r"must be at most 5, to leave one of the 6 .* got 5000"):
        load_dataset(DataOptions(name=f"{own_data}:good"))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("fails", r"fails when it is called with no arguments \(OSError: no such file\)"),
        ("needs_a_path", r"fails when it is called with no arguments \(TypeError"),
        ("three", "must return train_inputs, .*, test_targets, got 3 values"),
        ("nothing", "must return .* got an object of type NoneType"),
        ("arrays", "train_inputs must be a tensor, got an object of type ndarray"),
        ("integers", "train_inputs must be uint8 .* or floating point, got torch.int32"),
        ("no_shape", r"train_inputs must have the shape \[n, \*input_shape\] .* got \[6\]"),
        ("empty", r"test_inputs must have the shape .* got \[0, 1, 2, 2\]"),
        ("infinite", "train_inputs must be finite"),
        ("too_large", "test_inputs must be finite numbers within float32's range"),
        ("float_targets", "train_targets must be class numbers .* got torch.float32"),
        ("one_hot", r"test_targets must have the shape \[n\] .* got \[6, 3\]"),
        ("negative", "train_targets must be class numbers from 0, got -1"),
        ("unequal", "train_inputs and train_targets must be equally many, got 6 and 5"),
        ("two_shapes", r"must have one shape .* got \[6, 1, 2, 2\] and \[6, 1, 2, 1\]"),
        ("two_types", "must be both uint8 .* got torch.float32 and torch.uint8"),
        ("missing", "must name a function of module"),
    ],
)
def test_a_users_data_that_cannot_be_used_is_refused(
    own_data: str, function: str, message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        load_dataset(DataOptions(name=f"{own_data}:{function}", validation_size=0))


def test_all_faults_of_a_users_data_are_listed_at_once(own_data: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        load_dataset(DataOptions(name=f"{own_data}:unequal", validation_size=0))
    assert len(caught.value.problems) == 2


# ------------------------------------------------------------------------------- making the files


def _packed(name: str) -> bytes:
    return gzip.decompress(
        (Path(dataset_files.__file__).parent / "mnist" / f"{name}.gz").read_bytes()
    )


def _write_fashion_mnist(cache: Path) -> Path:
    folder = cache / "fashion_mnist" / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    for part, n in (("train", 30), ("t10k", 20)):
        labels = np.arange(n, dtype=np.uint8) % 10
        images = np.repeat(labels, 28 * 28)
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(
            struct.pack(">II", 0x801, n) + labels.tobytes()
        )
        (folder / f"{part}-images-idx3-ubyte").write_bytes(
            struct.pack(">IIII", 0x803, n, 28, 28) + images.tobytes()
        )
    return folder


def _write_cifar10(cache: Path, monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Six files of ten images in CIFAR-10's format; the last is the test batch."""
    dataset = torchvision.datasets.CIFAR10
    folder = cache / "cifar10" / dataset.base_folder
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 256, (10, 3, 32, 32), dtype=np.uint8) for _ in range(6)]
    digests = []
    names = [name for name, _ in dataset.train_list + dataset.test_list]
    for name, batch in zip(names, images, strict=True):
        content = pickle.dumps({"data": batch.reshape(10, -1), "labels": list(range(10))})
        (folder / name).write_bytes(content)
        digests.append([name, hashlib.md5(content).hexdigest()])
    content = pickle.dumps({"label_names": [str(label) for label in range(10)]})
    (folder / "batches.meta").write_bytes(content)
    monkeypatch.setattr(dataset, "train_list", digests[:5])
    monkeypatch.setattr(dataset, "test_list", digests[5:])
    monkeypatch.setattr(dataset, "meta", {**dataset.meta, "md5": hashlib.md5(content).hexdigest()})
    return images


def _no_network(*args: object, **kwargs: object) -> NoReturn:
    raise URLError("no route to host")


def _no_space(descriptor: int) -> NoReturn:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
