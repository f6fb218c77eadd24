"""Storages of studies to test with: an SQLite file, a PostgreSQL server, Optuna's gRPC proxy."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PASSWORD = "s3cret/@?#:%x"
"""Of the user `rso` of the PostgreSQL server."""


class Postgres:
    """A PostgreSQL server of our own on loopback; a wrong password is refused."""

    def __init__(self, folder: Path, binaries: Path) -> None:
        self._data = folder / "data"
        self._log = folder / "log"
        self._binaries = binaries
        self._numbers = itertools.count()
        self.port = free_port()
        # the server refuses to be run by root
        self._user = _unprivileged_user() if os.geteuid() == 0 else None
        if self._user is not None:
            os.chown(folder, self._user.pw_uid, self._user.pw_gid)
        password = folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        self._run(
            *("initdb", "--username=rso", f"--pwfile={password}", "--auth=scram-sha-256"),
            *("--encoding=UTF8", "--locale=C", "--no-sync"),
        )

    def start(self) -> None:
        """Returns when it takes connections; does nothing if it does."""
        if self._is_running():
            return
        options = (
            f"-c listen_addresses=127.0.0.1 -c port={self.port} "
            f"-c unix_socket_directories={self._data} -c shared_buffers=16MB -c fsync=off"
        )
        self._run("pg_ctl", "start", "-w", f"--log={self._log}", f"--options={options}")

    def stop(self) -> None:
        """As if it had crashed: connections break."""
        if self._is_running():
            self._run("pg_ctl", "stop", "-w", "--mode=immediate")

    def new_database(self) -> str:
        """The address of a new, empty database, with `${RSO_TEST_PW}` for the password."""
        import psycopg

        name = f"studies{next(self._numbers)}"
        with psycopg.connect(
            host="127.0.0.1", port=self.port, user="rso", password=PASSWORD, dbname="postgres"
        ) as connection:
            connection.autocommit = True
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql://rso:${{RSO_TEST_PW}}@127.0.0.1:{self.port}/{name}"

    def _is_running(self) -> bool:
        return (self._data / "postmaster.pid").exists()

    def _run(self, program: str, *arguments: str) -> None:
        drop = {}
        if self._user is not None:
            drop = {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}
        # what the server prints goes to a file: it would hold a pipe open
        with (self._data.parent / f"{program}.out").open("ab") as out:
            ended = subprocess.run(
                [str(self._binaries / program), f"--pgdata={self._data}", *arguments],
                cwd=self._data.parent,
                env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
                stdout=out,
                stderr=subprocess.STDOUT,
                timeout=120,
                check=False,
                **drop,
            )
        if ended.returncode:
            raise RuntimeError(Path(out.name).read_text())


@pytest.fixture(scope="session")
def _server() -> Iterator[Postgres]:
    binaries = _binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL server is installed (Debian: apt-get install postgresql)")
    pytest.importorskip("psycopg")
    # not pytest's own folder, into which another user may not look
    folder = Path(tempfile.mkdtemp(prefix="rso-postgres-"))
    server = Postgres(folder, binaries)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


@pytest.fixture
def postgres(_server: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Postgres]:
    """The server, running; its password is in RSO_TEST_PW."""
    monkeypatch.setenv("RSO_TEST_PW", PASSWORD)
    yield _server
    _server.start()


@pytest.fixture
def sqlite_address(tmp_path: Path) -> str:
    """A file that does not exist yet."""
    return f"sqlite:///{tmp_path}/studies.db"


@pytest.fixture
def postgresql_address(_server: Postgres, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database without tables."""
    monkeypatch.setenv("RSO_TEST_PW", PASSWORD)
    return _server.new_database()


class Proxy:
    """Optuna's proxy over an SQLite file, in a process of its own."""

    def __init__(self, database: Path) -> None:
        self.port = free_port()
        self.address = f"grpc://127.0.0.1:{self.port}"
        program = (
            "import optuna, warnings; warnings.simplefilter('ignore');"
            f"optuna.storages.run_grpc_proxy_server("
            f"optuna.storages.get_storage('sqlite:///{database}'),"
            f"host='127.0.0.1', port={self.port})"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 120
        while not _listens(self.port):
            assert self._process.poll() is None, "the proxy has ended"
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def stop(self) -> None:
        """Kills it."""
        self._process.kill()
        self._process.wait()


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    """A running proxy."""
    running = Proxy(tmp_path / "proxied.db")
    yield running
    running.stop()


@pytest.fixture
def grpc_address(proxy: Proxy) -> str:
    """Where a proxy answers."""
    return proxy.address


@pytest.fixture(params=["sqlite", "postgresql", "grpc"])
def address(request: pytest.FixtureRequest) -> str:
    """The address of an empty storage; a test that takes it is held for every kind."""
    found: str = request.getfixturevalue(f"{request.param}_address")
    return found


@pytest.fixture
def unused_port() -> int:
    """A port where nobody answers."""
    return free_port()


def free_port() -> int:
    """A port of loopback that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def _binaries() -> Path | None:
    """The folder of the newest server's programs."""
    debian = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/postgres"),
        key=lambda path: int(path.parent.parent.name),
    )
    found = debian[-1] if debian else shutil.which("postgres")
    return Path(found).resolve().parent if found else None


def _unprivileged_user() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    pytest.skip("PostgreSQL is not to be run by root, and there is no user to run it as")
