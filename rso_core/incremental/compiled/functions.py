"""The pointwise functions of vectors, by a code."""

from __future__ import annotations

import numpy as np

from rso_core.incremental.compiled import simd
from rso_core.incremental.compiled.compilation import compiled

IDENTITY, RELU, LEAKY_RELU, HARDTANH, THRESHOLD, SIGMOID, TANH, SILU, ELU, SOFTPLUS, GELU = range(
    11
)
FUNCTION_CODES = {
    "relu": RELU,
    "leaky_relu": LEAKY_RELU,
    "hardtanh": HARDTANH,
    "threshold": THRESHOLD,
    "sigmoid": SIGMOID,
    "tanh": TANH,
    "silu": SILU,
    "elu": ELU,
    "softplus": SOFTPLUS,
    "gelu": GELU,
}
"""Of the pointwise functions, by their name in a graph."""


@compiled
def apply_function(code, first, second, x):
    """The pointwise function of that code, with its arguments, of one vector."""
    one, nothing = simd.broadcast(np.float32(1.0)), simd.zero()
    if code == RELU:
        return simd.larger(x, nothing)
    if code == LEAKY_RELU:
        return simd.where_positive(x, x, simd.multiply(simd.broadcast(first), x))
    if code == HARDTANH:
        return simd.smaller(simd.larger(x, simd.broadcast(first)), simd.broadcast(second))
    if code == THRESHOLD:
        above = simd.subtract(x, simd.broadcast(first))
        value = simd.where_positive(above, x, simd.broadcast(second))
        return simd.where_equal(x, x, value, x)
    if code == ELU:
        e = simd.exponential(simd.smaller(x, nothing))
        return simd.where_positive(
            x, x, simd.multiply(simd.broadcast(first), simd.subtract(e, one))
        )
    if code == SOFTPLUS:
        return simd.softplus(x)
    if code == GELU:
        return simd.multiply(x, _normal_distribution(x))
    if code == SIGMOID or code == SILU:
        s = _sigmoid(x)
        return s if code == SIGMOID else simd.multiply(x, s)
    if code == TANH:
        two = simd.broadcast(np.float32(2.0))
        return simd.subtract(simd.multiply(two, _sigmoid(simd.multiply(two, x))), one)
    return x


@compiled
def _sigmoid(x):
    one = simd.broadcast(np.float32(1.0))
    e = simd.exponential(simd.subtract(simd.zero(), simd.absolute(x)))
    of_magnitude = simd.divide(one, simd.add(one, e))
    return simd.where_positive(x, of_magnitude, simd.subtract(one, of_magnitude))


@compiled
def _normal_distribution(x):
    """Phi by the error function of Abramowitz & Stegun 7.1.26, error 1.5e-7."""
    one, half = simd.broadcast(np.float32(1.0)), simd.broadcast(np.float32(0.5))
    z = simd.multiply(simd.absolute(x), simd.broadcast(np.float32(0.7071067811865476)))
    t = simd.divide(one, simd.multiply_add(simd.broadcast(np.float32(0.3275911)), z, one))
    p = simd.broadcast(np.float32(1.061405429))
    p = simd.multiply_add(p, t, simd.broadcast(np.float32(-1.453152027)))
    p = simd.multiply_add(p, t, simd.broadcast(np.float32(1.421413741)))
    p = simd.multiply_add(p, t, simd.broadcast(np.float32(-0.284496736)))
    p = simd.multiply_add(p, t, simd.broadcast(np.float32(0.254829592)))
    tail = simd.multiply(simd.multiply(p, t), half)
    tail = simd.multiply(tail, simd.exponential(simd.subtract(simd.zero(), simd.multiply(z, z))))
    return simd.where_positive(x, simd.subtract(one, tail), tail)
