"""How much faster several workers train one run than one does, on this machine.

The workers are processes. Three things are measured in turns, since a shared machine is not equally
fast at all times: one worker on whole batches, all of them on shares of the same batches, and, as a
bound, all of them side by side, each alone on batches as small as a share.
"""

from __future__ import annotations

import copy
import multiprocessing
import secrets
import signal
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Literal

import numpy as np
import torch

from rso_core.cycle_bench import CycleBench, bench_drawer, bench_layers, initialised
from rso_core.datasets import DataOptions, Dataset, load_dataset
from rso_core.incremental.engine import IncrementalEngine
from rso_core.networks import build_network
from rso_core.peers import ALONE, Listener, PeerLost, Peers, share_of
from rso_core.torch_state import own_torch_state

_Mode = Literal["alone", "group", "apart"]
_MODES: tuple[_Mode, ...] = ("alone", "group", "apart")


@dataclass(frozen=True, slots=True)
class GroupSetting:
    """What is measured."""

    architecture: str
    """One that the incremental engine knows."""
    data: DataOptions
    batch_size: int
    """At least `n_workers`."""
    n_workers: int
    """At least 2."""
    n_threads: int
    """Of every worker."""


@dataclass(frozen=True, slots=True)
class GroupTimes:
    """What was measured; seconds of a cycle are extrapolated from a sample of its visits."""

    n_visits: int
    """Of a cycle."""
    alone_s_per_cycle: float
    """Of one worker; a median, as all the others."""
    group_s_per_cycle: float
    """Of all workers, sharing the batches."""
    speedup: float
    """How many times faster the group is: the median of the rounds' ratios."""
    bound: float
    """The same of workers that exchange nothing, the slowest of them."""
    exchange_share: float
    """Of the group's time, a share of 1: in exchanges, with waiting for the slower worker."""


def measure_group(
    setting: GroupSetting, n_rounds: int, on_progress: Callable[[str], None] = lambda _: None
) -> GroupTimes:
    """Measures a few rounds of each.

    Args:
        setting: what to measure.
        n_rounds: at least 1.
        on_progress: called with a few words whenever something new is measured.

    Raises:
        PeerLost: a worker has ended, for lack of memory perhaps.
    """
    rounds: list[dict[_Mode, _Measured]] = []
    with _workers(setting, on_progress) as connections:
        n_visits, *_ = [_answer(connection) for connection in connections]
        for number in range(n_rounds):
            rounds.append({})
            for mode in _MODES[number % 3 :] + _MODES[: number % 3]:
                on_progress(f"round {number + 1} of {n_rounds}: {_WORDS[mode]}")
                asked = connections[:1] if mode == "alone" else connections
                for connection in asked:
                    connection.send(mode)
                answers = [_answer(connection) for connection in asked]
                rounds[-1][mode] = _Measured(
                    max(each.seconds for each in answers),
                    statistics.mean(each.exchange_s for each in answers),
                )
    return GroupTimes(
        n_visits=n_visits,
        alone_s_per_cycle=statistics.median(each["alone"].seconds for each in rounds),
        group_s_per_cycle=statistics.median(each["group"].seconds for each in rounds),
        speedup=statistics.median(each["alone"].seconds / each["group"].seconds for each in rounds),
        bound=statistics.median(each["alone"].seconds / each["apart"].seconds for each in rounds),
        exchange_share=statistics.median(
            each["group"].exchange_s / each["group"].seconds for each in rounds
        ),
    )


_WORDS: dict[_Mode, str] = {
    "alone": "one worker",
    "group": "all workers together",
    "apart": "all workers apart",
}


@dataclass(frozen=True, slots=True)
class _Measured:
    """Of a cycle."""

    seconds: float
    exchange_s: float


@contextmanager
def _workers(
    setting: GroupSetting, on_progress: Callable[[str], None]
) -> Iterator[Sequence[Connection]]:
    """Processes that are connected to one another, and the pipes to them."""
    on_progress("starting the workers")
    context = multiprocessing.get_context("spawn")
    connections, processes = [], []
    try:
        for rank in range(setting.n_workers):
            connection, other_end = context.Pipe()
            process = context.Process(target=_work, args=(other_end, rank, setting), daemon=True)
            process.start()
            other_end.close()
            connections.append(connection)
            processes.append(process)
        addresses = [_answer(connection) for connection in connections]
        key = secrets.token_bytes(32)
        for connection in connections:
            connection.send((addresses, key))
        yield connections
    finally:
        for process in processes:
            process.terminate()
        for connection in connections:
            connection.close()
        for process in processes:
            process.join()


def _answer(connection: Connection) -> Any:
    """What a worker says next; what it has raised is raised."""
    try:
        answer = connection.recv()
    except EOFError as error:
        raise PeerLost("a worker's process has ended; is there memory for all of them?") from error
    if isinstance(answer, Exception):
        raise answer
    return answer


def _work(connection: Connection, rank: int, setting: GroupSetting) -> None:
    """One worker: its address, the size of a cycle when it is ready, then what is asked for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the parent's affair
    try:
        listener = Listener()
        connection.send(listener.address)
        addresses, key = connection.recv()
        peers = listener.connect(rank, addresses, key)
        with own_torch_state(setting.n_threads, seed=0):
            data = load_dataset(setting.data)
            worker = _Worker(setting, data, peers)
            worker.warm_up()
            connection.send(worker.n_visits)
            while True:
                connection.send(worker.measure(connection.recv()))
    except EOFError:  # the parent has gone
        pass
    except Exception as error:
        connection.send(error)


class _Worker:
    """Measures what it is told to."""

    def __init__(self, setting: GroupSetting, data: Dataset, peers: Peers) -> None:
        self._setting, self._data, self._peers = setting, data, peers
        model = build_network(setting.architecture, data.input_shape, data.n_classes)
        self._model = initialised(model, torch.Generator().manual_seed(0))
        self._layers = bench_layers(self._model)
        self.n_visits = sum(layer.n_weights for layer in self._layers)

    def warm_up(self) -> None:
        """Has every kernel compiled."""
        self._bench(len(self._data.train_targets), self._setting.batch_size, ALONE).warm_up(
            self._engine(ALONE, slice(None))
        )

    def measure(self, mode: _Mode) -> _Measured:
        """The seconds of a cycle."""
        n_images, batch_size, peers = len(self._data.train_targets), self._setting.batch_size, ALONE
        images = slice(None)
        if mode == "group":
            peers = self._peers
        elif mode == "apart":  # as many batches as the group has, each as large as a share
            images = share_of(n_images, self._peers)
            n_images, batch_size = images.stop - images.start, batch_size // self._peers.size
        bench, engine = self._bench(n_images, batch_size, peers), self._engine(peers, images)
        seconds = exchange_s = 0.0
        for layer in self._layers:
            started, exchanged_s = time.perf_counter(), peers.exchange_s
            layer_s = bench.sampled_layer_s(engine, layer)
            share = (peers.exchange_s - exchanged_s) / (time.perf_counter() - started)
            seconds += layer_s
            exchange_s += layer_s * share
        return _Measured(seconds, exchange_s)

    def _bench(self, n_images: int, batch_size: int, peers: Peers) -> CycleBench:
        generator = torch.Generator().manual_seed(0)
        drawer = bench_drawer(n_images, batch_size, generator)

        def clock() -> float:
            """The leader's, since what is visited depends on it."""
            return float(np.frombuffer(peers.share(np.float64(time.perf_counter()).tobytes()))[0])

        return CycleBench(self._layers, drawer, generator, lambda _: None, clock)

    def _engine(self, peers: Peers, images: slice) -> IncrementalEngine:
        return IncrementalEngine(
            copy.deepcopy(self._model), self._data.train_inputs[images],
            self._data.train_targets[images], n_threads=self._setting.n_threads, peers=peers,
        )  # fmt: skip
