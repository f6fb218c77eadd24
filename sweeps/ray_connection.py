"""How a driver comes to a Ray cluster: one of its own on this machine, or one that runs."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import grpc  # type: ignore[import-untyped]  # it ships no type information
import ray
from ray._private import ray_constants
from ray._private import worker as ray_worker
from ray._private.authentication.http_token_authentication import get_auth_headers_if_auth_enabled
from ray.exceptions import AuthenticationError

from rso_core.errors import InvalidInput, reason

_CONNECT_S = 5.0
"""How long a cluster may take to answer."""


def connect(address: str | None, n_cpus: int | None = None) -> None:
    """Starts Ray on this machine, where nobody else can reach it, or joins a cluster.

    Args:
        address: of a cluster, which this process may be in already; None starts one.
        n_cpus: logical CPUs of one that is started; None for as many as there are.

    Raises:
        InvalidInput: no such cluster, or it wants a token that is not there.
    """
    # no reports to Ray's makers, and no warning about a setting that this program does not use
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if address is not None and address == _joined():
        return
    _check_reachable(address)
    _check_token(address)
    try:
        if address is None:
            with on_loopback():
                _init("local", include_dashboard=False, num_cpus=n_cpus)
        else:
            _init(address, include_dashboard=None)
    except AuthenticationError as error:
        raise _refusal(address) from error
    except (ConnectionError, RuntimeError, ValueError) as error:
        if address is None:
            raise InvalidInput(f"Ray cannot start on this machine ({reason(error)})") from error
        raise InvalidInput(
            f"'--address' must be a running Ray cluster, got '{address}' ({reason(error)})"
        ) from error


def start_cluster(n_cpus: int) -> str:
    """Starts Ray on this machine with so many logical CPUs, however many there are.

    Returns:
        Its address, with which this process can `connect` to it.

    Raises:
        InvalidInput: Ray cannot start.
    """
    connect(None, n_cpus)
    address = _joined()
    assert address is not None
    return address


@contextmanager
def on_loopback() -> Iterator[None]:
    """Within it a new cluster listens on 127.0.0.1 alone, as Ray's do on macOS and Windows.

    On Linux Ray listens on all interfaces, and replaces a loopback address that it is given by
    the machine's own. The variable is for the processes that it starts, the constant for this one.
    """
    variable = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR
    before = os.environ.get(variable), ray_constants.ENABLE_RAY_CLUSTER
    os.environ[variable], ray_constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before[1]
        if before[0] is None:
            del os.environ[variable]
        else:
            os.environ[variable] = before[0]


def asks_for_token() -> bool:
    """Whether the cluster that this process has joined lets in only those who have its token."""
    answer = _answer(ray.get_runtime_context().gcs_address, {})
    if answer is None:  # a cluster with TLS, say
        return os.environ.get("RAY_AUTH_MODE", "").lower() == "token"
    return answer == "refused"


def _joined() -> str | None:
    """The address of the cluster that this process is in; None if it is in none."""
    if not ray.is_initialized():
        return None
    address: str = ray.get_runtime_context().gcs_address
    return address


def _init(address: str, include_dashboard: bool | None, num_cpus: int | None = None) -> None:
    # Ray prints pages of a dead raylet's log on this program's standard output, which holds
    # tables; what a run has to do with it, the driver says in a line
    ray_worker.print_to_stdstream = _unprinted
    ray.init(
        address=address,
        include_dashboard=include_dashboard,
        num_cpus=num_cpus,
        logging_level=logging.ERROR,
        log_to_driver=False,  # an actor's prints would tear the live display
    )


def _unprinted(data: dict[str, Any], ignore_prefix: bool) -> None:
    logging.getLogger(__name__).debug("%s: %s", data.get("pid"), data.get("lines"))


def _check_reachable(address: str | None) -> None:
    """Ray itself would try for more than a minute, and fill the terminal with its log."""
    if address is None or address == "auto":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise InvalidInput(
            f"'--address' must be HOST:PORT of a running Ray cluster, or auto, got '{address}'; "
            "`ray status` on its head node tells the address"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise InvalidInput(
            f"'--address' must be a running Ray cluster, got '{address}' ({reason(error)}); "
            "`ray status` on its head node tells the address"
        ) from error


def _check_token(address: str | None) -> None:
    """Ray itself would try for half a minute, and say each second that the token is wrong."""
    if address is None or address == "auto" or address.startswith("ray://"):
        return
    try:
        headers = get_auth_headers_if_auth_enabled({})
    except (AuthenticationError, RuntimeError):  # it has none
        headers = {}
    if _answer(address, headers) == "refused":
        raise _refusal(address)


def _answer(address: str, headers: Mapping[str, str]) -> Literal["welcome", "refused"] | None:
    """What a cluster says to a caller with these headers; None if it says neither."""
    with grpc.insecure_channel(address) as channel:
        is_alive = channel.unary_unary("/ray.rpc.NodeInfoGcsService/CheckAlive")
        metadata = [(name.lower(), value) for name, value in headers.items()]
        try:
            is_alive(b"", timeout=_CONNECT_S, metadata=metadata)
        except grpc.RpcError as error:
            return "refused" if error.code() is grpc.StatusCode.UNAUTHENTICATED else None
    return "welcome"


def _refusal(address: str | None) -> InvalidInput:
    return InvalidInput(
        f"'--address' {address} is a cluster that asks for its token; set RAY_AUTH_MODE=token "
        "and RAY_AUTH_TOKEN, or put the token into ~/.ray/auth_token"
    )
