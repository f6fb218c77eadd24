"""Which cluster the user means: by its launcher file, its dashboard's address, or as exported."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from rso_core.errors import InvalidInput

CLUSTER_VARIABLE = "RSO_SWEEP_CLUSTER"
ADDRESS_VARIABLE = "RAY_API_SERVER_ADDRESS"
_PORT = 8265
"""Of Ray's dashboards, where nobody has chosen another."""


@dataclass(frozen=True, slots=True)
class Where:
    """A cluster, as the user named it."""

    cluster: str | None
    """Its launcher file, whose head node is reached by SSH; else `address` is given."""
    address: str | None
    """Of its dashboard, http://HOST:PORT."""
    is_exported: bool
    """Whether an environment variable names it, so that it need not be named again."""

    @property
    def named(self) -> str:
        """How a message begins that is about it."""
        option = "--address" if self.cluster is None else "--cluster"
        variable = ADDRESS_VARIABLE if self.cluster is None else CLUSTER_VARIABLE
        value = self.cluster or self.address
        return f"'{variable}' {value}" if self.is_exported else f"'{option}' {value}"

    @property
    def options(self) -> str:
        """What has to be added to a command so that it means this cluster, with a space before."""
        if self.is_exported:
            return ""
        if self.cluster is not None:
            return f" --cluster {shlex.quote(self.cluster)}"
        return f" --address {self.address}"


def which_cluster(
    cluster: str | None, address: str | None, environment: Mapping[str, str]
) -> Where | None:
    """The cluster of a command; None if it names none.

    Args:
        cluster: the value of `--cluster`.
        address: the value of `--address`.
        environment: the environment variables, which count where no option is given.

    Raises:
        InvalidInput: two are named, or an address that cannot be one.
    """
    if cluster is not None and address is not None:
        raise InvalidInput(
            f"'--cluster' and '--address' name two clusters, got '{cluster}' and '{address}'; "
            "give one of them"
        )
    if cluster is not None:
        return Where(cluster, None, is_exported=False)
    if address is not None:
        return Where(None, _dashboard(address, "--address"), is_exported=False)
    cluster = environment.get(CLUSTER_VARIABLE) or None
    address = environment.get(ADDRESS_VARIABLE) or None
    if cluster is not None and address is not None:
        raise InvalidInput(
            f"the environment variables {CLUSTER_VARIABLE} and {ADDRESS_VARIABLE} name two "
            f"clusters, got '{cluster}' and '{address}'; unset one of them, or give --cluster or "
            "--address"
        )
    if cluster is not None:
        return Where(cluster, None, is_exported=True)
    if address is not None:
        return Where(None, _dashboard(address, ADDRESS_VARIABLE), is_exported=True)
    return None


def the_cluster(cluster: str | None, address: str | None, environment: Mapping[str, str]) -> Where:
    """As `which_cluster`, for a command that needs one.

    Raises:
        InvalidInput: also if none is named.
    """
    where = which_cluster(cluster, address, environment)
    if where is None:
        raise InvalidInput(
            "a cluster must be named: by '--cluster' with its launcher file, by '--address' with "
            "its dashboard, such as http://HOST:8265, or by exporting "
            f"{CLUSTER_VARIABLE} or {ADDRESS_VARIABLE}"
        )
    return where


def _dashboard(address: str, field: str) -> str:
    found = re.fullmatch(
        r"(?:(?P<scheme>https?)://)?(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])"
        r"(?::(?P<port>\d{1,5}))?/?",
        address.strip(),
    )
    if found is None or address in ("auto", "local") or int(found["port"] or 1) > 65535:
        raise InvalidInput(
            f"'{field}' must be the dashboard of a Ray cluster, such as http://HOST:8265, "
            f"got '{address}'"
        )
    scheme, port = found["scheme"], found["port"]
    if port is None and scheme != "https":
        port = str(_PORT)
    return f"{scheme or 'http'}://{found['host']}{f':{port}' if port else ''}"
