"""The job server of a cluster's head node, which answers at the dashboard's port."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import requests
from ray.exceptions import AuthenticationError

from rso_core.errors import InvalidInput, reason
from sweeps.durations import duration
from sweeps.jobs.client import Client, LostConnection, connection
from sweeps.jobs.job import About, Job

_PATIENCE_S = 1800.0
_LONGEST_PAUSE_S = 15.0
_LONGEST_REASON = 500


class JobServer:
    """What this program asks of a cluster's job server.

    Every method raises `LostConnection` where the server does not answer, unless it says otherwise.

    Args:
        address: http://HOST:PORT.
        token: of the cluster; None for the one that Ray is configured with here, if any.
        renew: called before another attempt to reach a server that has not answered.
        named: how the user named it, for messages, such as `'--address' http://HOST:8265`.
        say: is told that a connection was lost, and that it is there again.

    Raises:
        InvalidInput: no job server answers there, or it wants a token that is not here.
    """

    def __init__(
        self,
        address: str,
        token: str | None = None,
        *,
        named: str,
        renew: Callable[[], None] = lambda: None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._renew, self._say, self._named = renew, say, named
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        try:
            with connection():
                self._client = Client(address, headers=headers)
        except LostConnection as error:
            raise InvalidInput(f"{named} does not answer ({error}){_what_it_must_be()}") from error
        except AuthenticationError as error:
            raise InvalidInput(_refusal(named, has_token=token is not None)) from error
        except (RuntimeError, LookupError, TypeError, ValueError, requests.HTTPError) as error:
            raise InvalidInput(
                f"{named} answers, but not as a Ray cluster's dashboard{_what_it_must_be()}"
            ) from error

    def versions(self) -> dict[str, str]:
        """Of Ray and Python on the head node."""
        with _answers():
            answer = self._client.request("GET", "/api/v0/cluster_metadata").json()
        data: Mapping[str, str] = answer.get("data") or {}
        return {"ray": data.get("rayVersion", ""), "python": data.get("pythonVersion", "")}

    def jobs(self) -> list[Job]:
        """The jobs of sweeps, in no order."""
        with _answers():
            details = self._client.list_jobs()
        jobs = (_job(each) for each in details)
        return [job for job in jobs if job is not None]

    def old_jobs(self, mark: str, age_s: float) -> list[str]:
        """The names of jobs with that key in their metadata that have been over for so long."""
        with _answers():
            details = self._client.list_jobs()
        ended_before_ms = (time.time() - age_s) * 1000
        return [
            each.submission_id
            for each in details
            if mark in (each.metadata or {})
            and each.submission_id is not None
            and 0 < (each.end_time or 0) < ended_before_ms
        ]

    def job(self, name: str) -> Job:
        """One that is known to be there."""
        with _answers():
            job = _job(self._client.get_job_info(name))
        assert job is not None, "only the jobs of sweeps are asked for"
        return job

    def submit(
        self, name: str, command: str, runtime_env: Mapping[str, Any], metadata: Mapping[str, str]
    ) -> None:
        """Starts a job on the head node; it takes no CPU from the runs.

        Args:
            name: of the job, new.
            command: for a shell there.
            runtime_env: as Ray takes it; the folders that it names are sent first.
            metadata: kept with the job.
        """
        with _answers():
            self._client.submit_job(
                submission_id=name,
                entrypoint=command,
                runtime_env=dict(runtime_env),
                metadata=dict(metadata),
                entrypoint_num_cpus=0,
            )

    def stop(self, name: str) -> None:
        """Asks a job to end, and does not wait for it."""
        with _answers():
            self._client.stop_job(name)

    def forget(self, name: str) -> None:
        """Takes a job that is over from the cluster's list."""
        with _answers():
            self._client.delete_job(name)

    def status(self, name: str) -> tuple[str, str]:
        """Ray's word for the state of any job, and what it says about it."""
        with _answers():
            details = self._client.get_job_info(name)
        return details.status.value, details.message or ""

    def log(self, name: str) -> str:
        """All that a job has written so far."""
        with _answers():
            text: str = self._client.get_job_logs(name)
        return text

    def follow(self, name: str) -> Iterator[str]:
        """What a job writes, from its beginning until it is over, in pieces of any size.

        A connection that is lost is made again, and nothing is given twice.

        Raises:
            InvalidInput: the server has not answered for half an hour.
        """
        n_given = 0
        while True:
            n_seen = 0
            try:
                for text in self._tail(name):
                    n_seen += len(text)
                    if n_seen > n_given:
                        yield text[-(n_seen - n_given) :]
                        n_given = n_seen
                if self.status(name)[0] in ("STOPPED", "SUCCEEDED", "FAILED"):
                    return
            except LostConnection as error:
                self._say(f"the connection to the cluster is lost ({error}); trying again")
                self._wait_for_an_answer()
                self._say("the cluster answers again")

    def _tail(self, name: str) -> Iterator[str]:
        with asyncio.Runner() as runner:
            pieces = self._client.tail(name)
            try:
                while True:
                    with connection():
                        try:
                            text = runner.run(_next(pieces))
                        except StopAsyncIteration:
                            return
                    yield text
            finally:
                with suppress(RuntimeError):  # an interrupt has left it in the middle of a step
                    runner.run(pieces.aclose())

    def _wait_for_an_answer(self) -> None:
        deadline, pause_s = time.monotonic() + _PATIENCE_S, 1.0
        while True:
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            try:
                self._renew()
                self.versions()
            except (LostConnection, InvalidInput) as error:
                if time.monotonic() > deadline:
                    raise InvalidInput(
                        f"{self._named} has not answered for {duration(_PATIENCE_S)} ({error}); "
                        "the job goes on without this command, which can be given again"
                    ) from error
            else:
                return


@contextmanager
def _answers() -> Iterator[None]:
    """Within it the server's refusals become lines for the user."""
    try:
        with connection():
            yield
    except (AuthenticationError, RuntimeError, ValueError, requests.RequestException) as error:
        raise InvalidInput(
            f"the cluster's job server cannot do that: {reason(error)[:_LONGEST_REASON]}"
        ) from error


async def _next(pieces: AsyncGenerator[str, None]) -> str:
    return await anext(pieces)


def _job(details: Any) -> Job | None:
    about = About.of_metadata(details.metadata or {})
    if about is None or details.submission_id is None:
        return None
    return Job(
        name=details.submission_id,
        about=about,
        status=details.status.value,
        started_at=_moment(details.start_time),
        ended_at=_moment(details.end_time),
        exit_code=details.driver_exit_code,
        message=details.message or "",
    )


def _moment(milliseconds: int | None) -> datetime | None:
    return None if not milliseconds else datetime.fromtimestamp(milliseconds / 1000, UTC)


def _what_it_must_be() -> str:
    return "; it must be the dashboard of a running Ray cluster, such as http://HOST:8265"


def _refusal(named: str, has_token: bool) -> str:
    if has_token:
        return (
            f"{named} does not take the token that its head node has in ~/.ray/auth_token; "
            "restart Ray there, so that both are the same"
        )
    return (
        f"{named} is a cluster that asks for its token; set RAY_AUTH_MODE=token and "
        "RAY_AUTH_TOKEN, or put the token into ~/.ray/auth_token; if they are set, it is another's"
    )
