"""Hosts on a network of their own: as separate as one kernel allows.

Each host is a set of namespaces with an SSH server: its own network, process table, host name,
home directory, /tmp, /dev/shm and root's key; the rest of the file system is read-only, and the
checkout is not to be seen. All hosts see the Python environment of this process, and what one of
them installs there, the others do not see.
"""

from __future__ import annotations

import itertools
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).parents[3]
_SUBNET = "10.231.77"
_SWITCH = "switch"
_NAMESPACES = ("--mount", "--uts", "--ipc", "--pid")
_NUMBERS = itertools.count()

_INIT = r"""
set -eu
mount --make-rprivate /
hostname "$NAME"
ip link set lo up

# what is to stay visible beneath the directories that are about to be hidden
mount -t tmpfs -o mode=700 tmpfs /mnt
mkdir /mnt/environment /mnt/python /mnt/above /mnt/work /mnt/keys
cp "$KEYS"/* /mnt/keys
mount -t overlay -o "lowerdir=$ENVIRONMENT,upperdir=/mnt/above,workdir=/mnt/work" \
  overlay /mnt/environment
mount --bind "$PYTHON" /mnt/python

mount -o remount,bind,ro /
for hidden in "$CHECKOUT" /tmp /var/tmp /run /root /home /dev/shm; do
  mount -t tmpfs -o mode=1777 tmpfs "$hidden"
done
mkdir -p "$PYTHON" "$ENVIRONMENT" /run/sshd /root/.ssh
chmod 755 /run /root
chmod 700 /root/.ssh
mount --move /mnt/python "$PYTHON"
mount --move /mnt/environment "$ENVIRONMENT"

install -m 600 /mnt/keys/id /root/.ssh/id
install -m 600 /mnt/keys/id.pub /root/.ssh/authorized_keys
install -m 600 /mnt/keys/id /run/sshd/host_key
printf '%s\n' "$PROFILE" > /root/.bashrc
printf '. ~/.bashrc\n' > /root/.profile

# bash stays the first process, which collects what daemons leave behind
/usr/sbin/sshd -D -e -f /dev/null -o HostKey=/run/sshd/host_key -o PidFile=none \
  -o AuthorizedKeysFile=/root/.ssh/authorized_keys -o StrictModes=no \
  -o PasswordAuthentication=no -o UsePAM=no -o Subsystem='sftp internal-sftp' &
wait
"""


def why_not() -> str | None:
    """Why this machine cannot have such hosts; None if it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "namespaces need root on Linux"
    for program, package in (
        ("ip", "iproute2"),
        ("unshare", "util-linux"),
        ("rsync", "rsync"),
        ("ssh", "openssh-client"),
        ("/usr/sbin/sshd", "openssh-server"),
    ):
        if shutil.which(program) is None:
            return f"there is no {program} ({package})"
    name = f"rso-try-{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode != 0:
        return "no network namespace can be made here"
    _ip("netns", "del", name)
    return None


class Hosts:
    """Hosts by their names, from which the first is where a user sits.

    Args:
        names: of the hosts.
        profile: what is in each one's ~/.bashrc.
    """

    def __init__(self, names: Sequence[str], profile: str) -> None:
        self._prefix = f"rso-{os.getpid()}-{next(_NUMBERS)}-"
        self._profile = profile
        self.addresses = {name: f"{_SUBNET}.{index}" for index, name in enumerate(names, 10)}
        self._scratch = Path(tempfile.mkdtemp(prefix="rso-hosts-"))
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._desk = names[0]

    def __enter__(self) -> Hosts:
        # also ends everything at a SIGTERM, which would leave the hosts behind otherwise
        self._before = signal.signal(signal.SIGTERM, _interrupt)
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
        signal.signal(signal.SIGTERM, self._before)

    def _start(self) -> None:
        _remove_leftovers()
        keys = self._scratch / "keys"
        keys.mkdir()
        _call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "hosts", "-f", str(keys / "id"))
        _ip("netns", "add", self._prefix + _SWITCH)
        self._on_switch("link", "add", "bridge", "type", "bridge")
        self._on_switch("link", "set", "bridge", "up")
        for name, address in self.addresses.items():
            namespace = self._prefix + name
            _ip("netns", "add", namespace)
            self._on_switch("link", "add", name, "type", "veth", "peer", "eth0", "netns", namespace)
            self._on_switch("link", "set", name, "master", "bridge", "up")
            _ip("-n", namespace, "address", "add", f"{address}/24", "dev", "eth0")
            _ip("-n", namespace, "link", "set", "eth0", "up")
            self._processes[name] = self._first_process(name, keys)
        for name in self.addresses:
            self._await_ssh(name)

    def _first_process(self, name: str, keys: Path) -> subprocess.Popen[bytes]:
        command = ["setpriv", "--pdeathsig", "KILL", "ip", "netns", "exec", self._prefix + name]
        command += ["unshare", *_NAMESPACES, "--fork", "--kill-child", "--mount-proc"]
        with (self._scratch / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                [*command, "bash", "-c", _INIT],
                env={
                    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                    "NAME": name,
                    "KEYS": str(keys),
                    "CHECKOUT": str(ROOT),
                    "ENVIRONMENT": sys.prefix,
                    "PYTHON": sys.base_prefix,
                    "PROFILE": self._profile,
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _await_ssh(self, name: str) -> None:
        def answers() -> bool:
            # the user's own has its first process a moment after its command was started
            return bool(_children(self._processes[self._desk].pid)) and (
                self.on(name, "true").returncode == 0
            )

        deadline = time.monotonic() + 60
        while not answers():
            if time.monotonic() > deadline:
                log = (self._scratch / f"{name}.log").read_text()
                raise RuntimeError(f"host {name} does not answer:\n{log}")
            time.sleep(0.2)

    def on(
        self, name: str, command: str, timeout_s: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Runs a shell command on a host, over SSH unless it is the user's own."""
        if name != self._desk:
            command = self.over_ssh(name, command)
        return self.here(command, timeout_s=timeout_s)

    def over_ssh(self, name: str, command: str) -> str:
        """The shell command with which the user runs one on another host."""
        options = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
        target = f"-o ConnectTimeout=5 -i ~/.ssh/id root@{self.addresses[name]}"
        return f"ssh {options} {target} {shlex.quote(f'bash -lc {shlex.quote(command)}')}"

    def here(self, command: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        """Runs a shell command where the user sits; its output is in `stdout`, as text."""
        return subprocess.run(
            self.entering(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
        )

    def entering(self, command_line: str) -> list[str]:
        """The command line that runs a shell command where the user sits."""
        (first,) = _children(self._processes[self._desk].pid)
        command = ["nsenter", f"--target={first}", "--net", *_NAMESPACES]
        command += ["env", "-i", "HOME=/root", "TERM=dumb", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
        return [*command, "bash", "-lc", f"cd; {command_line}"]

    def put(self, files: Mapping[Path, str]) -> None:
        """Copies files and folders to where the user sits: what to where."""
        for source, target in files.items():
            packed = subprocess.run(
                ["tar", "-C", source, "-c", "."] if source.is_dir() else ["cat", source],
                stdout=subprocess.PIPE,
                check=True,
            ).stdout
            if source.is_dir():
                unpack = f"mkdir -p {target} && tar -C {target} -x"
            else:
                unpack = f"mkdir -p $(dirname {target}) && cat > {target}"
            subprocess.run(self.entering(unpack), input=packed, check=True)

    def get(self, folder: str, target: Path) -> None:
        """Copies a folder from where the user sits to one that is made for it."""
        packed = subprocess.run(
            self.entering(f"tar -C {folder} -c ."), stdout=subprocess.PIPE, check=True
        ).stdout
        target.mkdir()
        subprocess.run(["tar", "-C", target, "-x"], input=packed, check=True)

    def cut_off(self, name: str) -> None:
        """Unplugs a host: from now on packets from it and to it vanish."""
        self._on_switch("link", "set", name, "down")

    def _on_switch(self, *arguments: str) -> None:
        _ip("-n", self._prefix + _SWITCH, *arguments)

    def close(self) -> None:
        """Ends all that runs on the hosts, and leaves nothing of them."""
        for process in self._processes.values():
            process.kill()  # and with it, by the kernel, all that is in its process table
            process.wait()
        for namespace in _namespaces():
            if namespace.startswith(self._prefix):
                _ip("netns", "del", namespace)
        shutil.rmtree(self._scratch, ignore_errors=True)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _namespaces() -> list[str]:
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
    return [line.split()[0] for line in listed.splitlines() if line]


def _remove_leftovers() -> None:
    """The networks of processes that were killed; their hosts have died with them."""
    for namespace in _namespaces():
        owner = re.fullmatch(r"rso-(\d+)-\d+-.*", namespace)
        if owner is not None and not Path(f"/proc/{owner[1]}").exists():
            _ip("netns", "del", namespace)


def _ip(*arguments: str) -> None:
    _call("ip", *arguments)


def _call(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{shlex.join(command)}: {done.stderr.strip()}")


def _interrupt(signal_number: int, frame: object) -> None:
    raise KeyboardInterrupt
