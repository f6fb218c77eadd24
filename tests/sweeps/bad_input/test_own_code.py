"""Users' own networks, optimisers and data sets, each with a fault."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

Refused = Callable[..., None]

_OUT = ("--executor", "inline", "--out", "out")


@pytest.fixture(autouse=True)
def _own_code(here: Path) -> None:
    shutil.copy(Path(__file__).parent / "refused_code.py", here)
    Path("raises.py").write_text("raise RuntimeError('at import')\n")
    Path("leaves.py").write_text("import sys\nsys.exit(4)\n")
    Path("no_python.py").write_text("def (\n")


_CANNOT_IMPORT = "run from the folder that holds it, or install it"

# beside the field; the message of a name that cannot be found ends with the place
BAD_NAMES = [
    (
        "nowhere:network",
        "names module 'nowhere', which cannot be imported (ModuleNotFoundError: No module named "
        f"'nowhere'), got 'nowhere:network'; {_CANNOT_IMPORT}",
    ),
    (
        "raises:network",
        "names module 'raises', which cannot be imported (RuntimeError: at import), "
        f"got 'raises:network'; {_CANNOT_IMPORT}",
    ),
    (
        "leaves:network",
        "names module 'leaves', which cannot be imported (SystemExit: 4), "
        f"got 'leaves:network'; {_CANNOT_IMPORT}",
    ),
    (
        "no_python:network",
        "names module 'no_python', which cannot be imported (SyntaxError: invalid syntax "
        f"(no_python.py, line 1)), got 'no_python:network'; {_CANNOT_IMPORT}",
    ),
    (
        "refused_code:absent",
        "must name a function of module 'refused_code', or a class, got 'refused_code:absent'",
    ),
    (
        "refused_code:number",
        "must name a function of module 'refused_code', or a class, got 'refused_code:number'",
    ),
]


@pytest.mark.parametrize(("name", "message"), BAD_NAMES, ids=[bad[0] for bad in BAD_NAMES])
@pytest.mark.parametrize("field", ["space.architecture", "space.optimizer", "data.name"])
def test_code_that_cannot_be_found_is_refused(
    refused: Refused, field: str, name: str, message: str
) -> None:
    override = f"{field}={name}"
    refused(
        ["run", "small.yaml", *_OUT, "--set", override], f"'{field}' {message} (--set {override})"
    )


_TAKES = "'architecture' must take inputs of shape [2, 1, 28, 28], but the network fails on them"
_GIVES = "'architecture' must give logits of shape [2, 10] for inputs of shape [2, 1, 28, 28]"

BAD_NETWORKS = [
    (
        "fails",
        "'architecture' names 'refused_code:fails', which fails when it is called to build the "
        "network (RuntimeError: no luck on two lines)",
    ),
    (
        "leaves",
        "'architecture' names 'refused_code:leaves', which fails when it is called to build the "
        "network (SystemExit: 3)",
    ),
    (
        "three_arguments",
        "'architecture' names 'refused_code:three_arguments', which fails when it is called to "
        "build the network (TypeError: three_arguments() missing 3 required positional ...",
    ),
    (
        "text",
        "'architecture' must name a function that returns a torch.nn.Module, "
        "got 'refused_code:text', which returns an object of type str",
    ),
    ("seven_logits", f"{_GIVES}, got shape [2, 7]"),
    ("tuple_of_logits", f"{_GIVES}, got an object of type tuple"),
    ("integer_logits", f"{_GIVES}, got torch.int64"),
    ("takes_vectors", f"{_TAKES} (RuntimeError: mat1 and mat2 shapes cannot be multiplied ..."),
    (
        "without_parameters",
        "'space.architecture' must be a network with parameters to train, "
        "got 'refused_code:without_parameters', which has none",
    ),
]


@pytest.mark.parametrize(("name", "message"), BAD_NETWORKS, ids=[bad[0] for bad in BAD_NETWORKS])
def test_a_network_that_does_not_fit_is_refused(refused: Refused, name: str, message: str) -> None:
    architecture = f"space.architecture=refused_code:{name}"
    refused(["run", "small.yaml", *_OUT, "--set", architecture], message)


_MEMBERS = (
    "Options, n_visits, run, state_dict, load_state_dict, prepare_evaluation_ and evaluate "
    "(see rso_core.optimizers.Optimizer)"
)
BAD_OPTIMIZERS = [
    (
        "text",
        f"'space.optimizer' must name a class with {_MEMBERS}, got 'refused_code:text' (...",
    ),
    (
        "NoOptions",
        f"'space.optimizer' must name a class with {_MEMBERS}, got 'refused_code:NoOptions' (...",
    ),
    (
        "CannotCount",
        "'optimizer' names 'refused_code:CannotCount', whose 'n_visits' fails "
        "(RuntimeError: no idea)",
    ),
    (
        "CountsInFractions",
        "'optimizer' names 'refused_code:CountsInFractions', whose 'n_visits' must give the "
        "number of weight visits in a cycle, 0 for a gradient method, got 0.5",
    ),
]


@pytest.mark.parametrize(
    ("name", "message"), BAD_OPTIMIZERS, ids=[bad[0] for bad in BAD_OPTIMIZERS]
)
def test_an_optimiser_that_is_none_is_refused(refused: Refused, name: str, message: str) -> None:
    space = f"space={{architecture: mlp(), batch_size: 25, optimizer: 'refused_code:{name}'}}"
    refused(["run", "small.yaml", *_OUT, "--set", space], message)


BAD_DATA = [
    (
        "three_tensors",
        "it must return train_inputs, train_targets, test_inputs, test_targets, got 3 values",
    ),
    ("with_nan", "train_inputs must be finite numbers within float32's range, got infinity or nan"),
    (
        "beyond_float32",
        "test_inputs must be finite numbers within float32's range, got infinity or nan",
    ),
    (
        "other_shape",
        "train_inputs and test_inputs must have one shape but for their number, "
        "got [200, 1, 28, 28] and [60, 1, 14, 28]",
    ),
    (
        "too_few_targets",
        "train_inputs and train_targets must be equally many, got 200 and 199",
    ),
    ("negative_targets", "train_targets must be class numbers from 0, got -1"),
    (
        "targets_of_floats",
        "train_targets must be class numbers of an integer type, got torch.float32",
    ),
    (
        "target_of_billions",
        "train_targets must be class numbers of at most 999999, got 5000000000",
    ),
]


@pytest.mark.parametrize(("name", "message"), BAD_DATA, ids=[bad[0] for bad in BAD_DATA])
def test_data_that_cannot_be_used_is_refused(refused: Refused, name: str, message: str) -> None:
    data = f"data.name=refused_code:{name}"
    refused(
        ["run", "small.yaml", *_OUT, "--set", data],
        f"'data.name' names 'refused_code:{name}': {message}",
    )


def test_each_tensor_that_is_none_has_a_line(refused: Refused) -> None:
    parts = ("train_inputs", "train_targets", "test_inputs", "test_targets")
    refused(
        ["check", "small.yaml", "--set", "data.name=refused_code:arrays"],
        *(
            f"'data.name' names 'refused_code:arrays': {part} must be a tensor, "
            "got an object of type ndarray"
            for part in parts
        ),
    )


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("fails_to_load", "KeyError: 'images'"),
        ("leaves_instead", "SystemExit: bye"),
        (
            "wants_an_argument",
            "TypeError: wants_an_argument() missing 1 required positional argument: 'folder'",
        ),
    ],
)
def test_data_that_fail_to_load_are_refused(refused: Refused, name: str, why: str) -> None:
    refused(
        ["train", "--set", f"data.name=refused_code:{name}"],
        f"'data.name' names 'refused_code:{name}', which fails when it is called with no "
        f"arguments ({why})",
    )


def test_a_batch_larger_than_the_user_s_data_is_refused(refused: Refused) -> None:
    own = ("--set", "data.name=refused_code:good", "--set", "data.train_size=null")
    refused(
        ["check", "small.yaml", *own, "--set", "space.batch_size=151"],
        "'space.batch_size' must be an integer from 1 to 150, the training images that "
        "'refused_code:good' leaves, got 151",
    )
    refused(
        ["check", "small.yaml", "--set", own[1], "--set", "data.train_size=190"],
        "'data.train_size' must be at most 150 (200 training images of refused_code:good less "
        "50 for validation), got 190",
    )
