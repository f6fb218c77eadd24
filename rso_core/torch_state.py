"""Torch's global state, set for a while and put back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch


@contextmanager
def own_torch_state(n_threads: int, seed: int, device: str = "cpu") -> Iterator[None]:
    """Within it torch has the thread count and a global random state of the run's own."""
    threads_before = torch.get_num_threads()
    # a run on the CPU must not start up the machine's GPUs, nor seed them
    is_on_cpu = torch.device(device).type == "cpu"
    with torch.random.fork_rng([] if is_on_cpu else None):
        (torch.default_generator if is_on_cpu else torch.random).manual_seed(seed)
        torch.set_num_threads(n_threads)
        try:
            yield
        finally:
            torch.set_num_threads(threads_before)


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """Torch's global random state on the CPU and, if it is another, on a device."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_random_state(state: Mapping[str, torch.Tensor]) -> None:
    """Puts back what `random_state` gave."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
