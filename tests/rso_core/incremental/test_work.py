"""What a cycle needs at least, against the figures of the project's notes and of paper and pen."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rso_core.incremental.graph import NetworkGraph
from rso_core.incremental.graph_reader import network_graph
from rso_core.incremental.work import (
    Work,
    candidate_work,
    cycle_flop,
    preparation_work,
)
from rso_core.networks import build_network
from rso_core.optimizers import RSOOptions
from rso_core.visited_layers import visited_layers

_IMAGE = (1, 28, 28)


def _graph(name: str) -> NetworkGraph:
    return network_graph(build_network(name, _IMAGE, 10), _IMAGE)


@pytest.mark.parametrize(
    ("layer", "multiply_adds"),
    [(1, 1.24e6), (2, 706e3), (3, 254e3), (4, 120e3), (5, 7e3)],
)
def test_a_candidate_of_a_layer_of_paper_mnist_takes_what_the_notes_say(
    layer: int, multiply_adds: float
) -> None:
    work = candidate_work(_graph("paper_mnist"), f"conv{layer}.weight")
    assert work.multiply_adds == pytest.approx(multiply_adds, rel=0.04)


def test_candidates_of_paper_mnist_s_last_layers_take_almost_nothing() -> None:
    graph = _graph("paper_mnist")
    assert candidate_work(graph, "conv6.weight").multiply_adds == 49 + 10
    assert candidate_work(graph, "linear.weight") == Work(multiply_adds=1, operations=2)


def test_the_candidates_of_a_cycle_of_paper_mnist_take_16_gflop_an_image() -> None:
    model = build_network("paper_mnist", _IMAGE, 10)
    graph = network_graph(model, _IMAGE)
    works = {
        layer.name: (layer.n_weights, candidate_work(graph, layer.name))
        for layer in visited_layers(model, RSOOptions())
    }
    kernels = [pair for name, pair in works.items() if name.startswith("conv")]
    assert sum(3 * n * 2 * work.multiply_adds for n, work in kernels) == pytest.approx(
        16.1e9, rel=0.01
    )
    # with the batch norms' own parameters, and what goes through norms, functions and pools
    assert sum(3 * n * work.flop for n, work in works.values()) == pytest.approx(16e9, rel=0.06)


@pytest.mark.parametrize("name", ["conv2.weight", "batch_norm2.weight", "batch_norm2.bias"])
def test_a_batch_norm_s_parameters_take_as_much_as_the_convolution_before(name: str) -> None:
    graph = _graph("paper_mnist")
    convolutions = candidate_work(graph, "conv3.weight").multiply_adds - 196
    share = 9 * 16 * 196
    from_conv4_on = convolutions - 9 * 16 * 196 + 9 * 16 * 16 * 196
    own = 784 if name == "conv2.weight" else 0
    assert candidate_work(graph, name).multiply_adds == own + share + from_conv4_on


def test_biases_enter_where_the_weights_of_their_layer_do() -> None:
    graph = _graph("two_conv")
    for layer in ("conv1", "conv2", "linear"):
        weight, bias = (candidate_work(graph, f"{layer}.{kind}") for kind in ("weight", "bias"))
        assert weight == bias


def test_a_candidate_of_one_conv_by_paper_and_pen() -> None:
    # the channel's 784 pixels; ReLU and pool over them; 196 pooled pixels into 10 logits; 10
    # exponentials and a logarithm
    work = candidate_work(_graph("one_conv"), "conv1.weight")
    assert work == Work(multiply_adds=784 + 1960, operations=2 * 784 + 11)


def test_what_is_prepared_goes_up_to_the_convolution_after_the_visited_one() -> None:
    graph = _graph("two_conv")
    conv1, conv2, linear = 9 * 16 * 784, 9 * 16 * 16 * 196, 10 * 784
    relu_and_pool1 = 2 * 16 * 784
    assert preparation_work(graph, "conv1.weight") == Work(conv1 + conv2, relu_and_pool1)
    assert preparation_work(graph, "conv2.weight").multiply_adds == conv1 + conv2 + linear
    # the last layer's visits start from the logits
    assert preparation_work(graph, "linear.bias") == preparation_work(graph, "conv2.bias")


def test_an_image_is_prepared_once_a_layer_however_often_it_is_dealt() -> None:
    graph = _graph("mlp(8)")
    candidate = candidate_work(graph, "linear.weight").flop
    preparation = preparation_work(graph, "linear.weight").flop

    def flop(n_visits: int) -> float:
        return cycle_flop(graph, {"linear.weight": n_visits}, batch_size=30, n_images=100)

    assert flop(2) == 2 * 3 * 30 * candidate + 60 * preparation
    # 10 images are left over by the whole batches
    assert flop(7) == 7 * 3 * 30 * candidate + 90 * preparation


def test_the_work_of_a_cycle_is_that_of_its_layers() -> None:
    graph = _graph("one_conv")
    visited = {"linear.weight": 7840, "conv1.bias": 4}
    alone = [cycle_flop(graph, {name: n}, 100, 60_000) for name, n in visited.items()]
    assert cycle_flop(graph, visited, 100, 60_000) == sum(alone)


class _Residual(nn.Module):
    """A link from before a convolution, through another one, to after it."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 2, 1)
        self.second = nn.Conv2d(2, 3, 1)
        self.link = nn.Conv2d(1, 3, 1)
        self.last = nn.Linear(3 * 16, 5)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        added = self.second(self.first(inputs)) + self.link(inputs)
        return self.last(added.flatten(1))  # type: ignore[no-any-return]


def test_a_link_that_does_not_change_is_prepared_and_not_computed_again() -> None:
    graph = network_graph(_Residual(), (1, 4, 4))
    first, second, link, last = 2 * 16, 2 * 3 * 16, 3 * 16, 5 * 3 * 16
    work = candidate_work(graph, "first.weight")
    assert work == Work(16 + 3 * 16 + last, operations=3 * 16 + 6)
    assert preparation_work(graph, "first.weight").multiply_adds == first + second + link
    work = candidate_work(graph, "link.weight")
    assert work == Work(16 + 5 * 16, operations=16 + 6)
    assert preparation_work(graph, "link.weight").multiply_adds == first + second + link + last
