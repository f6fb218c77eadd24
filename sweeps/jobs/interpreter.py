"""With which Python a job's commands are run on the head node: the one that runs Ray there."""

from __future__ import annotations

import os
import sys

VARIABLE = "RSO_SWEEP_PYTHON"
HOOK_VARIABLES = {"__RAY_WORKER_PROCESS_SETUP_HOOK_ENV_VAR": f"{__name__}.note_interpreter"}
"""With these Ray calls `note_interpreter` in each of a job's processes before anything else.

It is what `ray.init` makes of the hook in a runtime environment; of that of a submitted job Ray
makes nothing, and so it would not be called in the process that starts the job's command.
"""


def note_interpreter() -> None:
    """Lets the commands that this process starts find its interpreter.

    A head node whose Ray was started from a virtual environment need not have that on its PATH,
    and Ray runs a job's command by a shell that knows nothing but the PATH.
    """
    os.environ[VARIABLE] = sys.executable


def on_head(module: str, *arguments: str) -> str:
    """The command with which a job runs a module; it replaces the shell, and gets its signals.

    Args:
        module: of this project.
        arguments: each quoted already.
    """
    return " ".join([f'exec "${{{VARIABLE}:-python}}" -u -m {module}', *arguments])
