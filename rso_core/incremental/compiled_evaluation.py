"""Loss and accuracy of a network by the kernels that its visits use."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from rso_core.incremental.compiled import tables as code
from rso_core.incremental.compiled.compilation import cached
from rso_core.incremental.compiled.interpreter import run_program, sums_of, tiles_of
from rso_core.incremental.compiled.simd import LANES
from rso_core.incremental.graph import Kind
from rso_core.incremental.programs import forward_program
from rso_core.incremental.session import IntegerTables, PackedParameters, Workplace, lay_out
from rso_core.incremental.writer import Sizes, Writer


@cached
def _run(
    integers: Any, floats: Any, doubles: Any, inputs: Any, end_segment: int, thread: int,
    n_threads: int, barrier: Any,
) -> None:  # fmt: skip
    zero = np.int64(0)
    first_tile, end_tile = tiles_of(integers, thread, n_threads)
    run_program(
        integers, floats, doubles, inputs, zero, end_segment, zero, zero, zero, zero,
        np.int64(1), first_tile, end_tile, thread, n_threads, barrier,
    )  # fmt: skip


def evaluate_compiled(
    workplace: Workplace, model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor
) -> tuple[float, float]:
    """As `rso_core.evaluation.evaluate`, for a network whose graph is the workplace's.

    Args:
        workplace: of the model's engine; its inputs and targets are not read.
        model: its batch norms normalise by their moving statistics.
        inputs: [n, *input_shape] float32 on the CPU.
        targets: [n] int64.
    """
    graph, n_threads = workplace.graph, workplace.threads.n_threads
    n_images = len(targets)
    n_tiles = -(-n_images // LANES)
    packed = PackedParameters(graph, workplace.parameters)
    writer = Writer(graph, packed.offsets, Sizes(n_tiles, 1, n_threads),
                    n_floats=len(packed.values))  # fmt: skip
    writer.n_kept_floats = writer.n_floats
    norms = {p: n for p, n in enumerate(graph.nodes) if n.kind is Kind.BATCH_NORM}
    scales = {position: writer.affine(node.shape[0]) for position, node in norms.items()}
    program = forward_program(writer, {}, fixed_statistics=scales)
    integers, floats, doubles = lay_out(
        workplace, packed, writer, IntegerTables(), {},
        images=np.arange(n_images)[np.newaxis], n_all_images=n_images, targets=targets.numpy(),
    )  # fmt: skip
    modules = dict(model.named_modules())
    for position, node in norms.items():
        pairs = _fixed_scales(modules[node.module])
        for thread in range(n_threads):
            first = int(integers[code.AFFINE])
            first += thread * code.N_VARIANTS * writer.n_affine + scales[position]
            floats[first : first + len(pairs)] = pairs
    images = inputs.detach().reshape(n_images, -1).contiguous().numpy().view()
    images.flags.writeable = False

    def run(thread: int) -> None:
        _run(integers, floats, doubles, images, program.end_segment, thread, n_threads,
             workplace.threads.barrier)  # fmt: skip

    workplace.threads.run(run)
    first = sums_of.py_func(integers, 0, 0)
    sums = doubles[first : first + n_tiles * writer.n_sums].reshape(n_tiles, writer.n_sums)
    loss, n_right = sums[:, :2].sum(axis=0)
    return float(loss) / n_images, float(n_right) / n_images


def _fixed_scales(module: nn.Module) -> np.ndarray:
    """[2 x channels] float32: each channel's scale and shift by the moving statistics."""
    assert isinstance(module, nn.modules.batchnorm._BatchNorm)
    assert module.running_mean is not None
    assert module.running_var is not None
    scale = 1.0 / torch.sqrt(module.running_var.double() + module.eps)
    if module.weight is not None:
        scale = scale * module.weight.detach().double()
    shift = -module.running_mean.double() * scale
    if module.bias is not None:
        shift = shift + module.bias.detach().double()
    return torch.stack([scale, shift], dim=1).flatten().float().numpy()
