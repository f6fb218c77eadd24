"""HTTP to a job server: Ray's client, with limits to its patience and one error for what fails."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
import requests
from ray.job_submission import JobSubmissionClient

from rso_core.errors import reason

_TIMEOUT_S = (10.0, 120.0)
"""For a connection, and for the next bytes of an answer."""
_HEARTBEAT_S = 20.0
"""Between two signs of life of a connection that is open for long: of one whose other end has
vanished the operating system may say nothing."""
_TALKERS = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)
"""What Ray says of each package that is sent and each connection that ends is not for users."""
_ADDRESSES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")


class LostConnection(Exception):  # noqa: N818  (it names what happened)
    """The job server does not answer any more; the message says why, in a few words."""


class Client(JobSubmissionClient):
    """Ray's client, which by itself would wait for an answer for ever.

    Args:
        address: of the server, which here nothing in the environment wins over.
        headers: of every request; Ray adds the token that it is configured with here.
    """

    def __init__(self, address: str, headers: dict[str, str]) -> None:
        for name in _TALKERS:
            logging.getLogger(name).setLevel(logging.ERROR)
        with _without_addresses_of_the_environment():
            super().__init__(address, headers=headers)

    def _do_request(self, *arguments: Any, **options: Any) -> Any:
        return super()._do_request(*arguments, **{"timeout": _TIMEOUT_S, **options})

    def request(self, method: str, endpoint: str) -> requests.Response:
        """What the server answers, if that is no error.

        Raises:
            requests.HTTPError: it is one.
        """
        response: requests.Response = self._do_request(method, endpoint)
        response.raise_for_status()
        return response

    async def tail(self, name: str) -> AsyncGenerator[str, None]:
        """What a job has written and writes, to its end.

        Ray's own `tail_job_logs` notices no end that has vanished, and closes no connection.

        Raises:
            LostConnection: the connection has ended before the job's log.
        """
        url = f"{self._address}/api/jobs/{name}/logs/tail"
        async with (
            aiohttp.ClientSession(headers=self._headers) as session,
            # a job's log may have lines of any length
            session.ws_connect(url, heartbeat=_HEARTBEAT_S, max_msg_size=0) as connection,
        ):
            async for message in connection:
                if message.type is not aiohttp.WSMsgType.TEXT:
                    break
                yield message.data
            if connection.close_code != aiohttp.WSCloseCode.OK:
                raise LostConnection("it was closed")


@contextmanager
def connection() -> Iterator[None]:
    """Within it every way in which a connection fails is a `LostConnection`."""
    try:
        yield
    except (requests.ConnectionError, requests.Timeout, ConnectionError, aiohttp.ClientError) as e:
        raise LostConnection(_why(e)) from e
    except TimeoutError as error:
        raise LostConnection("no answer in time") from error


def _why(error: BaseException) -> str:
    """The innermost reason, such as `Connection refused`."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror:
            return inner.strerror
        causes = [inner.__cause__, inner.__context__, *inner.args]
        inner = next((each for each in causes if isinstance(each, BaseException)), None)
    text = str(error)
    if "timed out" in text:
        return "no answer in time"
    return "cannot be reached" if isinstance(error, requests.ConnectionError) else reason(error)


@contextmanager
def _without_addresses_of_the_environment() -> Iterator[None]:
    """Ray would prefer these variables to the address that it is given."""
    before = {name: os.environ.pop(name) for name in _ADDRESSES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(before)
