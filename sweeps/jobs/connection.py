"""The way from this machine to a cluster's job server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rso_core.errors import InvalidInput
from sweeps.jobs.client import LostConnection
from sweeps.jobs.server import JobServer
from sweeps.jobs.where import Where


@contextmanager
def connected(where: Where, say: Callable[[str], None]) -> Iterator[JobServer]:
    """Within it the cluster's job server can be asked.

    Args:
        where: the cluster; one that is named by its launcher file is reached by SSH alone.
        say: prints a line.

    Raises:
        InvalidInput: there is none, it cannot be reached or does not answer any more.
    """
    try:
        if where.cluster is None:
            assert where.address is not None, "one of both is given"
            yield JobServer(where.address, named=where.named, say=say)
            return
        from sweeps.jobs.tunnel import tunnel  # Ray's launcher takes a second to import

        with tunnel(where.cluster, where.named) as way:
            yield JobServer(way.address, way.token, named=where.named, renew=way.renew, say=say)
    except LostConnection as error:
        raise InvalidInput(
            f"{where.named} does not answer any more ({error}); jobs go on without this command, "
            "which can be given again"
        ) from error
