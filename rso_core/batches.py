"""Which images a visit sees.

A batch is a window of a shuffled order of the training set, so that an engine may lay the data
out in that order once and read every batch where it lies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

Drawing = Literal["fresh", "with_replacement", "layer", "cycle"]


@dataclass(frozen=True, slots=True)
class Batches:
    """The batches of a layer's visits.

    Visit v sees the images `order[starts[v] : starts[v] + batch_size]`.
    """

    order: torch.Tensor
    """[n + batch_size - 1] int64: a permutation of the n training images, then its beginning
    once more, so that a window that wraps round is contiguous."""
    starts: torch.Tensor
    """[n_visits] int64, each from 0 to n - 1."""
    batch_size: int

    def indices(self, visit: int) -> torch.Tensor:
        """[batch_size] int64: the images of one visit, without a copy."""
        start = int(self.starts[visit])
        return self.order[start : start + self.batch_size]


class BatchDrawer:
    """Draws the batches of one layer after another.

    * `fresh` (the authors' code): the training set is shuffled at the start of every layer and
      dealt in consecutive batches, one a visit, wrapping round.
    * `with_replacement` (the STMOZOO notebook): the training set is shuffled once and cut into
      n // batch_size fixed batches, of which every visit draws one.
    * `layer`: one batch for all the visits of a layer, from the pass that goes on through the
      layers and is shuffled anew when it has been dealt.
    * `cycle`: the same, with one batch for all the visits of a cycle.

    Args:
        drawing: one of the above.
        n_images: size of the training set.
        batch_size: from 1 to n_images.
        generator: on the CPU; advanced by every draw.
    """

    def __init__(
        self, drawing: Drawing, n_images: int, batch_size: int, generator: torch.Generator
    ) -> None:
        self._drawing = drawing
        self._n_images = n_images
        self._batch_size = batch_size
        self._generator = generator
        self._order: torch.Tensor | None = None
        self._next_batch = 0

    def start_cycle(self) -> None:
        """Tells that the layers to come belong to a new cycle."""
        if self._drawing == "cycle":
            self._advance()

    def layer(self, n_visits: int) -> Batches:
        """The batches for the next layer's visits."""
        visits = torch.arange(n_visits)
        if self._drawing == "fresh":
            return self._batches(self._shuffled(), visits * self._batch_size % self._n_images)
        if self._drawing == "with_replacement":
            if self._order is None:
                self._order = self._shuffled()
            drawn = torch.randint(
                self._n_images // self._batch_size, (n_visits,), generator=self._generator
            )
            return self._batches(self._order, drawn * self._batch_size)
        if self._drawing == "layer":
            self._advance()
        assert self._order is not None, "start_cycle comes first"
        start = (self._next_batch - 1) * self._batch_size
        return self._batches(self._order, torch.full((n_visits,), start))

    def _advance(self) -> None:
        if self._order is None or self._next_batch == self._n_images // self._batch_size:
            self._order, self._next_batch = self._shuffled(), 0
        self._next_batch += 1

    def _shuffled(self) -> torch.Tensor:
        permutation = torch.randperm(self._n_images, generator=self._generator)
        return torch.cat([permutation, permutation[: self._batch_size - 1]])

    def _batches(self, order: torch.Tensor, starts: torch.Tensor) -> Batches:
        return Batches(order=order, starts=starts, batch_size=self._batch_size)
