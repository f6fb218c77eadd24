"""The way to a head node whose ports are closed but for SSH: a real SSH server on this machine."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml

from rso_core.errors import InvalidInput

_SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")

pytestmark = [
    pytest.mark.skipif(
        _SSHD is None or shutil.which("ssh") is None, reason="there is no SSH server here"
    ),
    # in which Ray's launcher keeps what it knows of a cluster, and which it leaves open
    pytest.mark.filterwarnings(r"ignore:unclosed file <_io.TextIOWrapper name='.*[.]state'"),
]

TOKEN = "0123456789abcdef" * 4


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """A server on a free port, which takes one key; its port and that key."""
    assert _SSHD is not None
    place = tmp_path_factory.mktemp("ssh")
    for name in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(place / name)]
        subprocess.run(command, check=True)
    port = _free_port()
    (place / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {place}/host\nPidFile none\n"
        f"AuthorizedKeysFile {place}/user.pub\nStrictModes no\nPasswordAuthentication no\n"
        f"KbdInteractiveAuthentication no\nUsePAM no\nSetEnv RAY_AUTH_TOKEN_PATH={place}/token\n"
    )
    (place / "token").write_text(TOKEN + "\n")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where it goes before it knows who calls
    server = subprocess.Popen(
        [_SSHD, "-D", "-e", "-f", str(place / "config")], stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 30
        while not _answers(port):
            assert time.monotonic() < deadline
            assert server.poll() is None
            time.sleep(0.05)
        yield port, place / "user"
    finally:
        server.terminate()
        server.wait()


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
    return port


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.fixture
def dashboard() -> Iterator[int]:
    """The port of a web server that says what token it was given."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"a dashboard")

        def log_message(self, *arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


LauncherFile = Callable[..., str]

_TO_PORT = """
import socket, sys, threading
there = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
def out():
    while data := there.recv(65536):
        sys.stdout.buffer.write(data); sys.stdout.buffer.flush()
threading.Thread(target=out, daemon=True).start()
while data := sys.stdin.buffer.raw.read(65536):
    there.sendall(data)
"""


@pytest.fixture
def launcher_file(ssh: tuple[int, Path], tmp_path: Path, dashboard: int) -> Iterator[LauncherFile]:
    """Writes the launcher file of a cluster whose head is this machine."""
    names: list[str] = []

    def written(name: str = "jobs-test", port: int = ssh[0], key: Path = ssh[1]) -> str:
        # Ray's launcher knows no port of SSH, but a command that leads to it
        (tmp_path / "to_port.py").write_text(_TO_PORT)
        names.append(f"{name}-{os.getpid()}")
        content = {
            "cluster_name": names[-1],
            "provider": {"type": "local", "head_ip": "127.0.0.1", "worker_ips": []},
            "auth": {
                "ssh_user": getpass.getuser(),
                "ssh_private_key": str(key),
                "ssh_proxy_command": f"{sys.executable} {tmp_path}/to_port.py {port}",
            },
            "head_start_ray_commands": [f"ray start --head --dashboard-port={dashboard}"],
            "worker_start_ray_commands": [],
        }
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(content))
        return str(path)

    yield written
    for name in names:
        for kept in Path(tempfile.gettempdir(), "ray").glob(f"cluster-{name}.*"):
            kept.unlink()


def test_a_tunnel_leads_to_the_dashboard_says_nothing_and_knows_the_token(
    launcher_file: LauncherFile, capfd: pytest.CaptureFixture[str]
) -> None:
    from sweeps.jobs.tunnel import tunnel

    with tunnel(launcher_file(), "'--cluster' x") as way:
        assert way.token == TOKEN
        assert urllib.request.urlopen(way.address, timeout=10).read() == b"a dashboard"
        ssh = way._ssh
        assert TOKEN not in " ".join(map(str, ssh.args))
        way.renew()
        assert way._ssh is ssh
        ssh.kill()
        ssh.wait()
        way.renew()
        assert urllib.request.urlopen(way.address, timeout=10).read() == b"a dashboard"
        port = int(way.address.rpartition(":")[2])
    assert not _answers(port)
    assert capfd.readouterr() == ("", "")


def test_a_head_node_that_cannot_be_reached_is_a_line(
    launcher_file: LauncherFile, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from sweeps.jobs.tunnel import tunnel

    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
    for path, why in (
        (launcher_file("wrong-key", key=other), "Permission denied (publickey)"),
        (launcher_file("no-server", port=_free_port()), "Connection closed by"),
    ):
        with (
            pytest.raises(InvalidInput, match="head node cannot be reached by SSH") as caught,
            tunnel(path, f"'--cluster' {path}"),
        ):
            pass
        assert why in str(caught.value)
        assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_launcher_file_that_ray_refuses_is_a_line(
    launcher_file: LauncherFile, capfd: pytest.CaptureFixture[str]
) -> None:
    from sweeps.jobs.tunnel import tunnel

    path = Path(launcher_file())
    path.write_text(path.read_text().replace("type: local", "type: nosuch"))
    with (
        pytest.raises(InvalidInput, match=r"cannot be found .*nosuch") as caught,
        tunnel(str(path), f"'--cluster' {path}"),
    ):
        pass
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
