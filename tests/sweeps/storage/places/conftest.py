"""Places of every kind, and processes that are killed, or bound, in the middle of their work."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import textwrap
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sweeps.storage.places import LocalPlace, Place, open_place

ADDRESSES: dict[str, Callable[[Path], str]] = {
    "local": lambda folder: str(folder / "sweep"),
    "memory": lambda folder: f"memory://{uuid.uuid4().hex}/sweep",
    "file": lambda folder: f"file://{folder}/sweep",
}
REPOSITORY = Path(__file__).parents[4]


@pytest.fixture(params=list(ADDRESSES))
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An address, of each kind, where nothing is yet."""
    return ADDRESSES[request.param](tmp_path)


@pytest.fixture
def place(address: str) -> Place:
    """A place of each kind, with an empty folder `records`."""
    place = open_place(address)
    place.make("records")
    return place


@pytest.fixture
def local_place(tmp_path: Path) -> LocalPlace:
    """A folder of this machine, with an empty folder `records`."""
    place = LocalPlace(str(tmp_path / "sweep"))
    place.make("records")
    return place


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a Python process; its `stdout` has its errors too. It is killed at the end."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=REPOSITORY,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        assert process.stdout is not None
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def run_as_nobody(start: Callable[..., subprocess.Popen[str]]) -> Callable[..., str]:
    """Runs Python code in a process that may not write what others own; gives what it printed.

    Permissions do not bind root, so a process of root becomes `nobody` once it has imported, which
    the first paragraph of the code does.
    """

    def run(code: str, *arguments: object) -> str:
        imports, _, rest = textwrap.dedent(code).strip().partition("\n\n")
        become = "import os\nif os.getuid() == 0: os.setgid(65534), os.setuid(65534)"
        return start(f"{imports}\n{become}\n{rest}", *arguments).communicate()[0]

    return run


@pytest.fixture
def read_only_place() -> Iterator[LocalPlace]:
    """A folder that holds `records/cycles.jsonl`, in which nothing may be written."""
    # not pytest's own folder, into which another user may not look
    with tempfile.TemporaryDirectory() as above:
        place = LocalPlace(f"{above}/sealed")
        place.make("records")
        place.write("records/cycles.jsonl", b'{"cycle": 1}\n')
        (place.path / "records" / "cycles.jsonl").chmod(0o444)
        Path(above).chmod(0o755)
        for folder in (place.path, place.path / "records"):
            folder.chmod(0o555)
        yield place
        for folder in (place.path, place.path / "records"):
            folder.chmod(0o755)
