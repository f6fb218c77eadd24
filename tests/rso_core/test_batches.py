"""The four ways of drawing batches: which images every visit sees."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rso_core.batches import BatchDrawer, Batches, Drawing

DRAWINGS: tuple[Drawing, ...] = ("fresh", "with_replacement", "layer", "cycle")


@st.composite
def sizes(draw: st.DrawFn) -> tuple[int, int]:
    """Numbers of images, and of those in a batch: 1 and all of them among the latter."""
    n_images = draw(st.integers(1, 40))
    return n_images, draw(st.integers(1, n_images))


seeds = st.integers(0, 1000)
visits = st.integers(1, 60)


def drawer(drawing: Drawing, n_images: int, batch_size: int, seed: int = 0) -> BatchDrawer:
    generator = torch.Generator().manual_seed(seed)
    return BatchDrawer(drawing, n_images, batch_size, generator)


def drawn(
    drawing: Drawing, size: tuple[int, int], seed: int, n_visits: int, n_layers: int, n_cycles: int
) -> list[list[Batches]]:
    """The batches of some cycles' layers."""
    source = drawer(drawing, *size, seed)
    cycles = []
    for _ in range(n_cycles):
        source.start_cycle()
        cycles.append([source.layer(n_visits) for _ in range(n_layers)])
    return cycles


def seen(batches: Batches) -> list[list[int]]:
    """The images of every visit."""
    return [batches.indices(visit).tolist() for visit in range(len(batches.drawn))]


@pytest.mark.parametrize("drawing", DRAWINGS)
@given(size=sizes(), seed=seeds, n_visits=visits)
def test_every_batch_is_full_and_holds_no_image_twice(
    drawing: Drawing, size: tuple[int, int], seed: int, n_visits: int
) -> None:
    n_images, batch_size = size
    for layer in drawn(drawing, size, seed, n_visits, n_layers=2, n_cycles=1)[0]:
        assert layer.images.dtype == layer.drawn.dtype == torch.int64
        assert len(layer.drawn) == n_visits
        for images in seen(layer):
            assert len(set(images)) == len(images) == batch_size
            assert set(images) <= set(range(n_images))


@pytest.mark.parametrize("drawing", DRAWINGS)
@given(size=sizes(), seed=seeds)
def test_the_batches_of_a_layer_are_as_many_as_fit_and_disjoint(
    drawing: Drawing, size: tuple[int, int], seed: int
) -> None:
    n_images, batch_size = size
    [[layer]] = drawn(drawing, size, seed, n_visits=3, n_layers=1, n_cycles=1)
    assert layer.images.shape == (n_images // batch_size, batch_size)
    assert layer.batch_size == batch_size
    images = layer.images.flatten().tolist()
    assert len(set(images)) == len(images)


@pytest.mark.parametrize("drawing", DRAWINGS)
@given(size=sizes(), seed=seeds, n_visits=visits)
def test_equal_generators_draw_equal_batches(
    drawing: Drawing, size: tuple[int, int], seed: int, n_visits: int
) -> None:
    once, again = (
        [
            seen(layer)
            for cycle in drawn(drawing, size, seed, n_visits, n_layers=2, n_cycles=2)
            for layer in cycle
        ]
        for _ in range(2)
    )
    assert once == again


@pytest.mark.parametrize("drawing", DRAWINGS)
def test_other_generators_draw_other_batches(drawing: Drawing) -> None:
    once, other = (
        drawn(drawing, (1000, 10), seed, n_visits=4, n_layers=1, n_cycles=1)[0][0]
        for seed in (0, 1)
    )
    assert seen(once) != seen(other)


@pytest.mark.parametrize("drawing", DRAWINGS)
def test_the_global_random_state_is_not_drawn_from(drawing: Drawing) -> None:
    before = torch.get_rng_state()
    drawn(drawing, (10, 3), 0, n_visits=4, n_layers=2, n_cycles=2)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("drawing", DRAWINGS)
def test_a_batch_of_all_images_holds_each_of_them(drawing: Drawing) -> None:
    for layer in drawn(drawing, (12, 12), 0, n_visits=5, n_layers=2, n_cycles=1)[0]:
        assert all(sorted(images) == list(range(12)) for images in seen(layer))


# ---------------------------------------------------------------------------------------- fresh


@given(size=sizes(), seed=seeds, n_visits=visits)
def test_fresh_deals_the_batches_in_turn_again_and_again(
    size: tuple[int, int], seed: int, n_visits: int
) -> None:
    n_images, batch_size = size
    layer = drawer("fresh", *size, seed).layer(n_visits)
    n_batches = n_images // batch_size
    assert layer.drawn.tolist() == [visit % n_batches for visit in range(n_visits)]


def test_fresh_shuffles_anew_for_every_layer() -> None:
    source = drawer("fresh", 1000, 10)
    orders = [tuple(source.layer(5).images.flatten().tolist()) for _ in range(4)]
    assert len(set(orders)) == 4


# ----------------------------------------------------------------------------- with_replacement


@given(size=sizes(), seed=seeds)
def test_with_replacement_draws_from_disjoint_batches_that_stay_the_same(
    size: tuple[int, int], seed: int
) -> None:
    n_images, batch_size = size
    layers = drawn("with_replacement", size, seed, n_visits=50, n_layers=3, n_cycles=2)
    batches = {tuple(images) for cycle in layers for layer in cycle for images in seen(layer)}
    assert len(batches) <= n_images // batch_size
    images = [image for batch in batches for image in batch]
    assert len(set(images)) == len(images)


def test_with_replacement_draws_every_batch_about_equally_often() -> None:
    drawn = drawer("with_replacement", 43, 10).layer(40_000).drawn
    batches, counts = drawn.unique(return_counts=True)
    assert batches.tolist() == [0, 1, 2, 3]
    # five standard deviations of a binomial count
    assert (counts - 10_000).abs().max() < 5 * (40_000 * 0.25 * 0.75) ** 0.5


def test_with_replacement_draws_independently_for_every_visit_and_layer() -> None:
    source = drawer("with_replacement", 100, 10)
    first, second = source.layer(200).drawn, source.layer(200).drawn
    assert not torch.equal(first, second)
    assert (torch.diff(first) == 0).any()


# ------------------------------------------------------------------------------ layer and cycle


@given(size=sizes(), seed=seeds, n_visits=visits, n_layers=st.integers(1, 12))
def test_layer_gives_all_visits_of_a_layer_the_same_batch(
    size: tuple[int, int], seed: int, n_visits: int, n_layers: int
) -> None:
    for layer in drawn("layer", size, seed, n_visits, n_layers, n_cycles=1)[0]:
        assert len({tuple(images) for images in seen(layer)}) == 1


@given(size=sizes(), seed=seeds, n_layers=st.integers(1, 6), n_cycles=st.integers(1, 4))
def test_layer_deals_disjoint_batches_to_successive_layers_then_shuffles(
    size: tuple[int, int], seed: int, n_layers: int, n_cycles: int
) -> None:
    cycles = drawn("layer", size, seed, 2, n_layers, n_cycles)
    _is_dealt_in_passes([layer for cycle in cycles for layer in cycle], size)


@given(size=sizes(), seed=seeds, n_visits=visits, n_layers=st.integers(1, 5))
def test_cycle_gives_all_layers_of_a_cycle_the_same_batch(
    size: tuple[int, int], seed: int, n_visits: int, n_layers: int
) -> None:
    for cycle in drawn("cycle", size, seed, n_visits, n_layers, n_cycles=3):
        assert len({tuple(images) for layer in cycle for images in seen(layer)}) == 1


@given(size=sizes(), seed=seeds, n_cycles=st.integers(1, 12))
def test_cycle_deals_disjoint_batches_to_successive_cycles_then_shuffles(
    size: tuple[int, int], seed: int, n_cycles: int
) -> None:
    cycles = drawn("cycle", size, seed, 2, 2, n_cycles)
    _is_dealt_in_passes([cycle[0] for cycle in cycles], size)


@pytest.mark.parametrize("drawing", ["layer", "cycle"])
def test_a_new_pass_has_a_new_order(drawing: Drawing) -> None:
    cycles = drawn(drawing, (100, 40), 0, 1, n_layers=1, n_cycles=4)
    orders = [cycle[0].images.tolist() for cycle in cycles]
    assert orders[0] == orders[1] != orders[2] == orders[3]


def _is_dealt_in_passes(dealt: list[Batches], size: tuple[int, int]) -> None:
    """Whether each run of n_images // batch_size batches lies disjoint in one order."""
    n_images, batch_size = size
    n_in_a_pass = n_images // batch_size
    for first in range(0, len(dealt), n_in_a_pass):
        a_pass = dealt[first : first + n_in_a_pass]
        images = [image for batch in a_pass for image in batch.indices(0).tolist()]
        assert len(set(images)) == len(images)
        assert all(torch.equal(batch.images, a_pass[0].images) for batch in a_pass)
