"""Compiled functions have names of their own, so that those kept on disk do not get mixed up."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
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


_COMPILES = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    from rso_core.incremental.compiled.compilation import cached

    def kernel(x):
        total = 0.0
        for _ in range(x.shape[0]):
            total += x[:, ::2].sum() + x.T.mean() - (x * x).max()
        return total

    fast = cached(kernel)
    ready = Path(sys.argv[1])
    (ready / sys.argv[2]).touch()
    while len(list(ready.iterdir())) < 3:
        time.sleep(0.01)
    import numpy as np
    fast(np.ones((2, 2)))
    print(sum(fast.stats.cache_misses.values()))
    """
)


def test_of_processes_that_need_a_function_at_the_same_time_one_compiles_it(
    tmp_path: Path,
) -> None:
    ready = tmp_path / "ready"
    ready.mkdir()
    program = tmp_path / "program.py"
    program.write_text(_COMPILES)
    processes = [
        subprocess.Popen(
            [sys.executable, str(program), str(ready), str(number)],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "kept")},
        )
        for number in range(3)
    ]
    assert sorted(process.communicate(timeout=120)[0].strip() for process in processes) == [
        "0", "0", "1",
    ]  # fmt: skip
