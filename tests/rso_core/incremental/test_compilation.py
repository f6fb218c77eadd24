"""Compiled functions have names of their own, so that those kept on disk do not get mixed up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rso_core.incremental.compiled.compilation import cached, compiled, merged, named


def _add(number: int) -> Callable[..., Any]:
    def kernel(x: int) -> int:
        return x + number

    return kernel


@pytest.mark.parametrize("compile_", [compiled, merged, cached])
def test_two_functions_of_one_name_are_refused(compile_: Callable[..., Any]) -> None:
    compile_(named(1, id(compile_))(_add(1)))
    compile_(named(2, id(compile_))(_add(2)))
    with pytest.raises(ValueError, match=r"two compiled functions are called .*kernel_2_"):
        compile_(named(2, id(compile_))(_add(3)))
    with pytest.raises(ValueError, match="two compiled functions"):
        compiled(named(1, id(compile_))(_add(1)))


def test_the_numbers_are_part_of_the_name_that_the_compiler_uses() -> None:
    kernel = compiled(named(7, 3)(_add(5)))
    assert kernel(2) == 7
    (overload,) = kernel.overloads.values()
    assert "kernel_7_3" in overload.fndesc.mangled_name
