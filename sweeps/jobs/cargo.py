"""What travels with a job: this project, the sweep file and the user's own modules."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from sweeps.jobs.interpreter import HOOK_VARIABLES
from sweeps.jobs.own_modules import PROJECT_PACKAGES, OwnModules

STOP_WAIT_S = 120
"""How long a job that is to stop may take before Ray kills it: longer than a driver ever takes,
which waits half a minute for the checkpoints of its runs and then closes what it has open."""
FOLDER = "rso_sweep_job"
"""In a job's working directory: what this program has put there for itself."""
_ORDER_FILE, _SWEEP_FILE = "job.json", "sweep.yaml"


@dataclass(frozen=True, slots=True)
class Order:
    """What a job's driver is to do."""

    action: Literal["run", "resume"]
    job: str
    """The name of the sweep's first job, by which users go on with it."""
    folder: str
    """The run folder, decided."""
    command: tuple[str, ...]
    """The user's command line, for the records."""
    overrides: tuple[str, ...] = ()
    """The values of `--set` of a sweep that is resumed."""
    sweep: str | None = None
    """The text of the sweep file, resolved, of one that is new."""


@contextmanager
def loaded(order: Order, modules: OwnModules) -> Iterator[dict[str, Any]]:
    """Within it the folders exist that the runtime environment of a sweep's job names."""
    with tempfile.TemporaryDirectory(prefix="rso-sweep-") as name:
        place = Path(name)
        for path in modules.files:
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(modules.folder / path, place / path)
        own = place / FOLDER
        own.mkdir(exist_ok=True)
        content = {key: value for key, value in asdict(order).items() if key != "sweep"}
        (own / _ORDER_FILE).write_text(json.dumps(content), encoding="utf-8")
        if order.sweep is not None:
            (own / _SWEEP_FILE).write_text(order.sweep, encoding="utf-8")
        yield environment() | {"working_dir": str(place)}


def order_in(place: Path) -> tuple[Order, Path]:
    """What `loaded` has put into a working directory, and where the sweep file is, if any."""
    own = place / FOLDER
    content: Mapping[str, Any] = json.loads((own / _ORDER_FILE).read_text(encoding="utf-8"))
    lists: Mapping[str, Sequence[str]] = {key: content[key] for key in ("command", "overrides")}
    order = Order(**{**content, **{key: tuple(value) for key, value in lists.items()}})
    return order, own / _SWEEP_FILE


def environment() -> dict[str, Any]:
    """The runtime environment in which this project's own modules are those of this machine."""
    return {
        "py_modules": [str(_folder_of(name)) for name in PROJECT_PACKAGES],
        "env_vars": {
            "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S),
            "RAY_USAGE_STATS_ENABLED": "0",
            **HOOK_VARIABLES,
        },
    }


def _folder_of(package: str) -> Path:
    file = import_module(package).__file__
    assert file is not None, "each has an __init__.py"
    return Path(file).parent
