"""Which images a visit sees.

The batches of a layer are disjoint and dealt again and again, so that what an engine computes
for a batch once, its statistics among it, serves every later visit that draws the same batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

Drawing = Literal["fresh", "with_replacement", "layer", "cycle"]


@dataclass(frozen=True, slots=True)
class Batches:
    """The batches of a layer's visits.

    Visit v sees the images `images[drawn[v]]`.
    """

    images: torch.Tensor
    """[n_batches, batch_size] int64: positions in the training set; no image is in two batches."""
    drawn: torch.Tensor
    """[n_visits] int64, each from 0 to n_batches - 1."""

    @property
    def batch_size(self) -> int:
        """Images in a batch."""
        return self.images.shape[1]

    def indices(self, visit: int) -> torch.Tensor:
        """[batch_size] int64: the images of one visit, without a copy."""
        return self.images[int(self.drawn[visit])]


class BatchDrawer:
    """Draws the batches of one layer after another.

    A shuffled training set is cut into n // batch_size whole batches; what is left over is left
    out until the next shuffle.

    * `fresh` (the authors' code): the training set is shuffled at the start of every layer and
      its batches are dealt in turn, one a visit, again and again.
    * `with_replacement` (the STMOZOO notebook): the training set is shuffled once, and every
      visit draws one of its batches.
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
        self._n_batches = n_images // batch_size
        self._generator = generator
        self._images: torch.Tensor | None = None
        self._n_dealt = 0

    def start_cycle(self) -> None:
        """Tells that the layers to come belong to a new cycle."""
        if self._drawing == "cycle":
            self._advance()

    def layer(self, n_visits: int) -> Batches:
        """The batches for the next layer's visits."""
        if self._drawing == "fresh":
            return Batches(self._shuffled(), torch.arange(n_visits) % self._n_batches)
        if self._drawing == "with_replacement":
            if self._images is None:
                self._images = self._shuffled()
            drawn = torch.randint(self._n_batches, (n_visits,), generator=self._generator)
            return Batches(self._images, drawn)
        if self._drawing == "layer":
            self._advance()
        assert self._images is not None, "start_cycle comes first"
        return Batches(self._images, torch.full((n_visits,), self._n_dealt - 1))

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` goes on from, beside the state of the generator."""
        return {"images": self._images, "n_dealt": self._n_dealt}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from the state of another drawer with the same arguments."""
        self._images, self._n_dealt = state["images"], state["n_dealt"]

    def _advance(self) -> None:
        if self._images is None or self._n_dealt == self._n_batches:
            self._images, self._n_dealt = self._shuffled(), 0
        self._n_dealt += 1

    def _shuffled(self) -> torch.Tensor:
        permutation = torch.randperm(self._n_images, generator=self._generator)
        n_whole = self._n_batches * self._batch_size
        return permutation[:n_whole].view(self._n_batches, self._batch_size)
