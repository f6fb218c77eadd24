"""The networks: what they are made of, which names they have, and what a user's own may be."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from rso_core.errors import InvalidInput
from rso_core.networks import (
    NETWORKS,
    build_network,
    canonical_architecture,
    check_architecture,
    check_network,
    parse_architecture,
)

MNIST = (1, 28, 28)
CIFAR10 = (3, 32, 32)
SHAPES = {name: CIFAR10 if name == "paper_cifar10" else MNIST for name in NETWORKS}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("name", "n_parameters"),
    [
        ("paper_mnist", 12_016),
        ("paper_cifar10", 57_104),
        ("one_conv", 7_890),
        ("two_conv", 10_330),
        ("original", 12_122),
        ("mlp", 784 * 64 + 64 + 64 * 10 + 10),
        ("mlp(64,32)", 784 * 64 + 64 + 64 * 32 + 32 + 32 * 10 + 10),
        ("mlp()", 7_850),
    ],
)
def test_a_network_has_the_published_number_of_parameters(name: str, n_parameters: int) -> None:
    model = build_network(name, SHAPES[parse_architecture(name)[0]], 10)
    assert sum(parameter.numel() for parameter in model.parameters()) == n_parameters


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("input_shape", "n_classes"), [(MNIST, 10), (CIFAR10, 7), ((2, 9, 14), 3)])
def test_a_network_follows_the_input_shape_and_the_classes(
    name: str, input_shape: tuple[int, ...], n_classes: int
) -> None:
    model = build_network(name, input_shape, n_classes)
    assert model(torch.rand(5, *input_shape)).shape == (5, n_classes)
    check_network(model, input_shape, n_classes)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_can_be_traced_and_gives_the_same_logits(name: str) -> None:
    model = build_network(name, SHAPES[name], 10).eval()
    traced = torch.fx.symbolic_trace(model)
    inputs = torch.rand(3, *SHAPES[name])
    torch.testing.assert_close(traced(inputs), model(inputs), rtol=0, atol=0)


def test_paper_mnist_pools_before_batch_norm_and_has_no_bias() -> None:
    model = build_network("paper_mnist", MNIST, 10)
    kinds = [type(module) for module in model.children()]
    plain, pooled = (
        [nn.Conv2d, nn.BatchNorm2d, nn.ReLU],
        [nn.Conv2d, nn.AvgPool2d, nn.BatchNorm2d, nn.ReLU],
    )
    assert kinds == [
        *(plain + pooled) * 2,
        *plain * 2,
        nn.AdaptiveMaxPool2d,
        nn.Flatten,
        nn.Linear,
    ]
    biases = [name for name, _ in model.named_parameters() if name.endswith("bias")]
    assert biases == [f"batch_norm{block}.bias" for block in range(1, 7)]


def test_original_pools_after_relu_and_trains_biases() -> None:
    model = build_network("original", MNIST, 10)
    names = [name for name, _ in model.named_children()]
    assert names[3:8] == ["conv2", "batch_norm2", "relu2", "pool2", "conv3"]
    assert isinstance(model.get_submodule("pool4"), nn.AvgPool2d)
    assert isinstance(model.get_submodule("global_pool"), nn.AdaptiveAvgPool2d)
    assert {"conv1.bias", "linear.bias"} <= set(dict(model.named_parameters()))


def test_stmozoo_networks_name_their_parameters_by_layer() -> None:
    names = [name for name, _ in build_network("two_conv", MNIST, 10).named_parameters()]
    assert names == [
        f"{layer}.{kind}" for layer in ("conv1", "conv2", "linear") for kind in ("weight", "bias")
    ]


def test_paper_cifar10_registers_its_modules_in_the_order_of_the_signal() -> None:
    model = build_network("paper_cifar10", CIFAR10, 10)
    names = [name for name, _ in model.named_parameters()]
    expected = []
    for block in range(1, 10):
        expected.append(f"conv{block}.weight")
        if block == 5:
            expected += ["link_conv5.weight", "link_batch_norm5.weight", "link_batch_norm5.bias"]
        expected += [f"batch_norm{block}.weight", f"batch_norm{block}.bias"]
    assert names == [*expected, "linear.weight"]


@pytest.mark.parametrize("training", [True, False])
def test_paper_cifar10_computes_what_the_authors_code_does(training: bool) -> None:
    """The reference is written out link by link, in the order of the authors' `forward`."""
    model = build_network("paper_cifar10", CIFAR10, 10).train(training)
    for name, parameter in model.named_parameters():
        if "batch_norm" in name:  # at 1 and 0 they would hide where a link is added
            nn.init.normal_(parameter)
    inputs = torch.rand(4, *CIFAR10)

    def conv(x: torch.Tensor, layer: str) -> torch.Tensor:
        weight = model.get_parameter(f"{layer}.weight")
        return nn.functional.conv2d(x, weight, padding=weight.shape[-1] // 2)

    def norm(x: torch.Tensor, layer: str) -> torch.Tensor:
        module = model.get_submodule(layer)
        return nn.functional.batch_norm(
            x, torch.zeros_like(module.bias), torch.ones_like(module.bias),
            module.weight, module.bias, training=training,
        )  # fmt: skip

    def pool(x: torch.Tensor) -> torch.Tensor:
        return nn.functional.avg_pool2d(x, 2)

    b1 = norm(conv(inputs, "conv1"), "batch_norm1")
    b2 = norm(conv(b1.relu(), "conv2"), "batch_norm2")
    b3 = norm(pool(conv(b2.relu(), "conv3") + b1), "batch_norm3")
    b4 = norm(conv(b3.relu(), "conv4"), "batch_norm4")
    link = norm(conv(b3, "link_conv5"), "link_batch_norm5")
    b5 = norm(pool(conv(b4.relu(), "conv5") + link), "batch_norm5")
    b6 = norm(conv(b5.relu(), "conv6"), "batch_norm6")
    b7 = norm(conv(b6.relu(), "conv7") + b5, "batch_norm7")
    b8 = norm(conv(b7.relu(), "conv8"), "batch_norm8")
    b9 = norm(conv(b8.relu(), "conv9") + b7, "batch_norm9")
    expected = b9.relu().amax((2, 3)) @ model.get_parameter("linear.weight").T
    torch.testing.assert_close(model(inputs), expected)


@pytest.mark.parametrize(
    ("name", "parsed", "canonical"),
    [
        ("mlp", ("mlp", {}), "mlp"),
        ("mlp()", ("mlp", {"hidden_sizes": ()}), "mlp()"),
        (" mlp ( 64 , 32 ) ", ("mlp", {"hidden_sizes": (64, 32)}), "mlp(64,32)"),
        ("one_conv ", ("one_conv", {}), "one_conv"),
        ("my.nets:wide", ("my.nets:wide", {}), "my.nets:wide"),
    ],
)
def test_a_name_is_split_and_normalised(
    name: str, parsed: tuple[str, dict[str, object]], canonical: str
) -> None:
    assert parse_architecture(name) == parsed
    assert canonical_architecture(name) == canonical


@given(st.lists(st.integers(1, 10**9 - 1), max_size=5), st.sampled_from(["", " "]))
def test_every_list_of_hidden_sizes_survives_its_name(sizes: list[int], space: str) -> None:
    name = f"mlp({f',{space}'.join(map(str, sizes))})"
    canonical = canonical_architecture(name)
    assert canonical == name.replace(" ", "")
    assert parse_architecture(canonical) == ("mlp", {"hidden_sizes": tuple(sizes)})


def test_mlp_has_the_hidden_layers_of_its_name() -> None:
    model = build_network("mlp(6, 5)", (2, 4), 3)
    widths = [m.out_features for m in model.modules() if isinstance(m, nn.Linear)]
    assert widths == [6, 5, 3]
    assert [name for name, _ in model.named_parameters()][-1] == "linear.bias"


def test_options_win_over_the_sizes_of_the_name() -> None:
    model = build_network("mlp(6)", (4,), 3, hidden_sizes=(5,))
    assert model.get_submodule("linear1").out_features == 5


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(InvalidInput, match="did you mean 'hidden_sizes'"):
        build_network("mlp", (4,), 3, hiden_sizes=(5,))
    with pytest.raises(InvalidInput, match="'hidden_sizes' is not an option of network one_conv"):
        build_network("one_conv", MNIST, 3, hidden_sizes=(5,))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("one_cnv", "'net' must be a network, got 'one_cnv'; did you mean 'one_conv'?"),
        ("mpl(64)", "'net' must be a network, got 'mpl(64)'; did you mean 'mlp'?"),
        ("one_conv(3)", "'net' takes sizes with mlp alone, got 'one_conv(3)'; write 'one_conv'"),
        *(
            (
                bad,
                "'net' must give mlp its hidden sizes as integers of at least 1, "
                f"such as 'mlp(64,32)', got '{bad}'",
            )
            for bad in ("mlp(0)", "mlp(64", "mlp(64))", "mlp(64,)", "mlp(a)", "mlp(-1)", "mlp(6 4)")
        ),
    ],
)
def test_a_bad_name_is_refused_with_the_way_out(name: str, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_architecture(name, "net")
    assert str(caught.value) == message


@pytest.mark.parametrize("name", sorted(set(NETWORKS) - {"mlp"}))
@pytest.mark.parametrize("input_shape", [(1, 1, 1), (16,)])
def test_an_input_that_the_pools_use_up_is_refused(name: str, input_shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInput, match=rf"{name} needs images .* got inputs of shape"):
        build_network(name, input_shape, 10)


@pytest.fixture
def own_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a user's module, which can be imported while the test runs."""
    (tmp_path / "own_networks_for_test.py").write_text(
        textwrap.dedent(
            """
            import torch
            from torch import nn

            class Fixed(nn.Sequential):
                def __init__(self):
                    super().__init__(nn.Flatten(), nn.LazyLinear(10))

            def sized(input_shape, n_classes, width=8):
                n = torch.Size(input_shape).numel()
                return nn.Sequential(nn.Flatten(), nn.Linear(n, width), nn.Linear(width, n_classes))

            def needs_three(a, b, c):
                return nn.Flatten()

            def fails(input_shape, n_classes):
                raise KeyError("no\\nsuch width")

            def not_a_network(input_shape, n_classes):
                return "network"

            constant = 3
            """
        )
    )
    monkeypatch.syspath_prepend(tmp_path)
    return "own_networks_for_test"


def test_a_users_function_is_given_shape_and_classes(own_networks: str) -> None:
    check_architecture(f"{own_networks}:sized")
    model = build_network(f"{own_networks}:sized", (1, 3, 3), 4, width=5)
    assert model[1].weight.shape == (5, 9)
    check_network(model, (1, 3, 3), 4)


def test_a_users_class_may_take_no_arguments(own_networks: str) -> None:
    model = build_network(f"{own_networks}:Fixed", MNIST, 10)
    check_network(model, MNIST, 10)
    assert model[1].in_features == 784  # the check has initialised the lazy layer


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("needs_three", r"which fails when it is called to build the network \(TypeError"),
        ("fails", r"which fails when .* \(KeyError: 'no\\nsuch width'\)$"),
        ("not_a_network", r"returns a torch.nn.Module, got .* object of type str"),
        ("constant", "must name a function of module"),
        ("missing", "must name a function of module"),
    ],
)
def test_a_users_function_that_gives_no_network_is_refused(
    own_networks: str, function: str, message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        build_network(f"{own_networks}:{function}", MNIST, 10)


def test_a_users_module_that_is_not_there_is_refused() -> None:
    with pytest.raises(InvalidInput, match="cannot be imported"):
        check_architecture("no_such_module_at_all:net")


def test_the_check_names_the_logits_that_it_wants() -> None:
    model = build_network("mlp", (4,), 3)
    with pytest.raises(InvalidInput) as caught:
        check_network(model, (4,), 5, "net")
    assert str(caught.value) == (
        "'net' must give logits of shape [2, 5] for inputs of shape [2, 4], got shape [2, 3]"
    )


class _Returns(nn.Module):
    def __init__(self, value: object) -> None:
        super().__init__()
        self.value = value

    def forward(self, inputs: torch.Tensor) -> object:
        return self.value


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ((torch.zeros(2, 3),), "an object of type tuple"),
        (torch.zeros(2, 3, dtype=torch.int64), "torch.int64"),
        (torch.zeros(2, 3, 1), r"shape \[2, 3, 1\]"),
    ],
)
def test_the_check_refuses_what_are_no_logits(value: object, found: str) -> None:
    with pytest.raises(InvalidInput, match=f"got {found}$"):
        check_network(_Returns(value), (4,), 3)


def test_the_check_turns_a_failing_pass_into_one_line() -> None:
    model = nn.Sequential(nn.AvgPool2d(2), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(1, 10))
    with pytest.raises(InvalidInput, match=r"fails on them \(RuntimeError: .*") as caught:
        check_network(model, (1, 3, 3), 10)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("n_classes", [10, 11])
def test_the_check_leaves_modes_and_batch_statistics_alone(n_classes: int) -> None:
    model = build_network("paper_mnist", MNIST, 10)
    model.get_submodule("batch_norm2").eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    try:
        check_network(model, MNIST, n_classes)
    except InvalidInput:
        assert n_classes == 11
    assert {name for name, m in model.named_modules() if not m.training} == {"batch_norm2"}
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
