"""A tunnel by SSH to the head node of a cluster that Ray's launcher has started.

The ports of such a cluster are closed but for SSH. Which machine is its head, and with which user,
key and proxy it is reached, Ray's own launcher says; SSH runs beside this program, so that nothing
of it appears among what the user reads.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import click
import yaml
from ray.autoscaler._private import commands, providers
from ray.autoscaler._private.cli_logger import cli_logger
from ray.autoscaler._private.updater import NodeUpdater

from rso_core.errors import InvalidInput, reason
from sweeps.storage.redaction import hide

_PORT = 8265
_PORT_OPTION = re.compile(r"--dashboard-port[= ](\d{1,5})")
_OPENING_S = 60.0
_TOKEN = re.compile(r"rso-sweep-token:([^\s:]*):")
_READ_TOKEN = (
    'echo "rso-sweep-token:$(cat "${RAY_AUTH_TOKEN_PATH:-$HOME/.ray/auth_token}" 2>/dev/null):"'
)


class Tunnel:
    """A port of this machine that leads to the dashboard of a cluster's head node.

    Attributes:
        address: http://127.0.0.1:PORT; a tunnel that is opened again has the same.
        token: of the cluster; None if it has none.
    """

    def __init__(self, head: _Head, named: str) -> None:
        self._named = named
        self._port = _free_port()
        self._command = head.forwarding(self._port)
        self.address = f"http://127.0.0.1:{self._port}"
        self.token = head.token()
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  closed by `close`
        self._ssh = self._opened()

    def renew(self) -> None:
        """Opens it again if SSH has ended.

        Raises:
            InvalidInput: the head node cannot be reached.
        """
        if self._ssh.poll() is not None:
            self._ssh = self._opened()

    def close(self) -> None:
        """Ends SSH."""
        _end(self._ssh)
        self._said.close()

    def _opened(self) -> subprocess.Popen[bytes]:
        self._said.seek(0)
        self._said.truncate()
        ssh = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=self._said,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for this program, which still needs the tunnel
        )
        deadline = time.monotonic() + _OPENING_S
        while time.monotonic() < deadline:
            if ssh.poll() is not None:
                self._said.seek(0)
                raise _unreachable(self._named, self._said.read())
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
                return ssh
            time.sleep(0.1)
        _end(ssh)
        raise _unreachable(self._named, b"SSH has opened no tunnel within a minute")


@contextmanager
def tunnel(cluster: str, named: str) -> Iterator[Tunnel]:
    """Within it there is a tunnel.

    Args:
        cluster: the launcher file.
        named: how messages name it.

    Raises:
        InvalidInput: it is no launcher file, its cluster does not run or cannot be reached.
    """
    opened = Tunnel(_Head(_read(cluster), cluster, named), named)
    try:
        yield opened
    finally:
        opened.close()


class _Head:
    """The head node of a running cluster, as Ray's launcher reaches it."""

    def __init__(self, config: dict[str, Any], cluster: str, named: str) -> None:
        self._named = named
        self._processes = _Processes()
        said = io.StringIO()
        logging.getLogger("ray.autoscaler").setLevel(logging.ERROR)
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                cli_logger.configure("pretty", "false", 0)  # type: ignore[no-untyped-call]
                self._config = commands._bootstrap_config(config)
                provider = providers._get_node_provider(
                    self._config["provider"], self._config["cluster_name"]
                )
                self._runner = self._updater(provider, cluster).cmd_runner
        except (Exception, SystemExit) as error:  # each cloud's library has its own
            text = said.getvalue() if isinstance(error, click.ClickException) else reason(error)
            raise InvalidInput(
                f"{named} names a cluster that cannot be found ({_last_line(text.encode())}); "
                f"`ray up {cluster}` starts it"
            ) from error

    def token(self) -> str | None:
        """The token that is kept on it."""
        said = self._run(_READ_TOKEN, with_output=True)
        found = _TOKEN.search(said.decode(errors="replace"))
        if found is None or not found[1]:
            return None
        hide(found[1])
        return found[1]

    def forwarding(self, port: int) -> Sequence[str]:
        """The command that forwards a port of this machine to its dashboard."""
        self._processes.is_to_run = False
        try:
            self._run(None, with_output=True, port_forward=[(port, self._dashboard_port())])
        finally:
            self._processes.is_to_run = True
        return self._processes.last

    def _run(self, command: str | None, **options: Any) -> bytes:
        quiet = io.StringIO()
        try:
            with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
                said: bytes = self._runner.run(command, timeout=20, **options)
        except (click.ClickException, OSError, subprocess.SubprocessError) as error:
            told = self._processes.said or reason(error).encode()
            raise _unreachable(self._named, told) from error
        return said

    def _dashboard_port(self) -> int:
        for command in self._config.get("head_start_ray_commands") or ():
            found = _PORT_OPTION.search(str(command))
            if found:
                return int(found[1])
        return _PORT

    def _updater(self, provider: Any, cluster: str) -> Any:
        config = self._config
        where = config["provider"]
        if where["type"] == "local":
            # where `ray up` was given on another machine, this one has no record of it
            node = where["head_ip"]
        else:
            node = commands._get_running_head_node(config, cluster, None, _provider=provider)
        return NodeUpdater(
            node_id=node,
            provider_config=where,
            provider=provider,
            auth_config=config["auth"],
            cluster_name=config["cluster_name"],
            file_mounts={},
            initialization_commands=[],
            setup_commands=[],
            ray_start_commands=[],
            runtime_hash="",
            file_mounts_contents_hash="",
            is_head_node=True,
            process_runner=self._processes,
            docker_config=config.get("docker"),
        )


class _Processes:
    """Runs the commands of Ray's launcher; what they say goes nowhere but here."""

    def __init__(self) -> None:
        self.is_to_run = True
        self.last: list[str] = []
        self.said = b""

    def check_output(self, command: list[str]) -> bytes:
        """What the command says; nothing if it is only to be kept as `last`."""
        # of its own: a connection that is shared with another command would end with that
        self.last = [*command[:1], "-o", "ControlMaster=no", "-o", "ControlPath=none", *command[1:]]
        self.said = b""
        if not self.is_to_run:
            return b""
        done = subprocess.run(
            self.last, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=120
        )
        self.said = done.stderr or done.stdout
        done.check_returncode()
        return done.stdout


def _read(cluster: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(Path(cluster).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidInput(
            f"'--cluster' must be a Ray cluster launcher file, got '{cluster}' ({reason(error)})"
        ) from error
    needed = ("cluster_name", "provider", "auth")
    missing = [key for key in needed if not isinstance(content, dict) or not content.get(key)]
    if missing:
        keys = " and ".join(f"'{key}'" for key in missing)
        raise InvalidInput(
            f"'--cluster' must be a Ray cluster launcher file, got '{cluster}', which has no {keys}"
        )
    return dict(content)


def _unreachable(named: str, said: bytes) -> InvalidInput:
    return InvalidInput(
        f"{named} names a cluster whose head node cannot be reached by SSH ({_last_line(said)})"
    )


def _last_line(said: bytes) -> str:
    lines = [" ".join(line.split()) for line in said.decode(errors="replace").splitlines()]
    told = [line for line in lines if line and not line.startswith("Warning: Permanently added")]
    return told[-1][:300] if told else "it said nothing"


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
    return port


def _end(ssh: subprocess.Popen[bytes]) -> None:
    ssh.terminate()
    try:
        ssh.wait(5)
    except subprocess.TimeoutExpired:
        ssh.kill()
        ssh.wait()
