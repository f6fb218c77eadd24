"""What `rso-sweep dashboard` does: optuna-dashboard over a sweep's study, for looking only."""

from __future__ import annotations

import json
import logging
import platform
import threading
import webbrowser
from collections.abc import Callable, Iterable
from socket import AF_INET6
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from rso_core.errors import InvalidInput, reason
from sweeps.located_yaml import YamlSyntaxError, read_yaml
from sweeps.run_folder import SWEEP_FILE
from sweeps.storage.journal_view import JournalView, view_study
from sweeps.storage.places import Place, StorageFailed, open_place
from sweeps.storage.redaction import redacted
from sweeps.storage.studies import StudyStore, open_study_store
from sweeps.storage.study_address import expanded, shown
from sweeps.storage.study_storage import StudyUnreachable, storage_errors

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

_READING = ("GET", "HEAD", "OPTIONS")
_REFUSAL = "this dashboard is for looking only: the study belongs to its sweep"
_EVERYWHERE = ("", "0.0.0.0", "::")


def serve_dashboard(
    address: str,
    host: str,
    port: int,
    *,
    storage: str | None,
    opens_browser: bool,
    say: Callable[[str], None],
) -> None:
    """Serves the dashboard of a run folder until Ctrl-C.

    Args:
        address: the run folder.
        host: the address of this machine to listen on.
        port: to listen on; 0 for any that is free.
        storage: the address of the study's storage; None for the one in the sweep file.
        opens_browser: whether a browser is shown the study.
        say: is given lines for the user.

    Raises:
        InvalidInput: it is no run folder, its study cannot be read, optuna-dashboard is not
            installed, or the host and the port cannot be had.
    """
    with dashboard_server(address, host, port, storage=storage) as server:
        _say_failures_in_one_line()
        say(f"optuna-dashboard of {redacted(address)}, for looking only: {server.url}")
        if not server.has_study:
            say(f"the study '{server.study_name}' is not there yet; it will be listed once it is")
        say("Ctrl-C ends it")
        if opens_browser and not webbrowser.open(server.url):
            say("there is no browser to open on this machine")
        try:
            server.serve_forever()
        except KeyboardInterrupt:  # the way to end it, which is no failure
            return


class DashboardServer(ThreadingMixIn, WSGIServer):
    """An HTTP server that is bound, and serves once `serve_forever` is called.

    Attributes:
        url: of the study in the dashboard, or of the list of studies where it is not there yet.
        study_name: of the sweep.
        has_study: whether it was there when the server was made.
    """

    daemon_threads = True
    url: str
    study_name: str
    has_study: bool

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that has left does not matter."""


class _DashboardServer6(DashboardServer):
    address_family = AF_INET6


def dashboard_server(
    address: str, host: str, port: int, *, storage: str | None = None
) -> DashboardServer:
    """The server of `serve_dashboard`, which has the same arguments and raises the same."""
    wsgi = _dashboard()
    place = open_place(address)
    try:
        written, name = _study_of(place)
        study = _View(place, storage or written, name, wsgi)
        with storage_errors():
            has_study = study.store.has_study()
            number = study.store.storage.get_study_id_from_name(name) if has_study else None
    except (StorageFailed, StudyUnreachable) as error:
        raise InvalidInput(str(error)) from error
    server = _bound(host, port, study)
    at = platform.node() if host in _EVERYWHERE else f"[{host}]" if ":" in host else host
    path = "" if number is None else f"/studies/{number}"
    server.url = f"http://{at}:{server.server_address[1]}/dashboard{path}"
    server.study_name, server.has_study = name, has_study
    return server


class _View:
    """A WSGI application: optuna-dashboard, held to reading."""

    def __init__(
        self,
        place: Place,
        storage: str | None,
        study_name: str,
        wsgi: Callable[[Any], WSGIApplication],
    ) -> None:
        self._place = place
        self._wsgi = wsgi
        self._lock = threading.Lock()
        self._view: JournalView | None = None
        if storage is None:
            self._open_journal(study_name)
        else:
            _check_storage(storage, place)
            self.store = open_study_store(storage, study_name, None)
            self._app = wsgi(self.store.storage)

    def __call__(
        self, environment: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        if environment["REQUEST_METHOD"] not in _READING:
            return _refuse(start_response)
        with self._lock:
            if self._view is not None and self._view.is_outdated:
                self._open_journal(self.store.study_name)
        return self._app(environment, start_response)

    def _open_journal(self, study_name: str) -> None:
        storage, self._view = view_study(self._place)
        self.store = StudyStore(storage, study_name, flush=lambda: None)
        self._app = self._wsgi(storage)


def _dashboard() -> Callable[[Any], WSGIApplication]:
    try:
        from optuna_dashboard import wsgi
    except ImportError as error:
        raise InvalidInput(
            f"the dashboard needs optuna-dashboard ({reason(error)}); "
            "pip install 'rso-sweep[dashboard]'"
        ) from error
    found: Callable[[Any], WSGIApplication] = wsgi
    return found


def _study_of(place: Place) -> tuple[str | None, str]:
    """The address of the study's storage, None for the journal, and the study's name."""
    address = place.address_of(SWEEP_FILE)
    try:
        content = read_yaml(place.read(SWEEP_FILE).decode()).content
        study, name = content.get("study", {}), content["name"]
        written, study_name = study.get("storage"), study.get("name") or name
        is_sound = isinstance(study_name, str) and isinstance(written, str | None)
    except FileNotFoundError:
        raise InvalidInput(
            f"'{place.address_of()}' is not a run folder: it has no {SWEEP_FILE}"
        ) from None
    except (YamlSyntaxError, UnicodeDecodeError, AttributeError, KeyError):
        is_sound = False
    if not is_sound:
        raise InvalidInput(f"'{address}' is no sweep file; restore it from a copy")
    return written, study_name


def _check_storage(storage: str, place: Place) -> None:
    """Refuses what would be opened in vain, or made on opening."""
    if "***" in storage:
        raise InvalidInput(
            f"'study.storage' in '{place.address_of(SWEEP_FILE)}' has a password that is kept "
            "nowhere; give the address with --storage, best with ${NAME} of an environment "
            "variable in it"
        )
    full = expanded(storage)
    if full.lower().startswith("sqlite"):
        from pathlib import Path

        from sqlalchemy.engine import make_url
        from sqlalchemy.exc import ArgumentError

        try:
            file = make_url(full).database or ""
        except (ArgumentError, ValueError):
            return  # which is told of on opening
        if not file.startswith("file:") and not Path(file).is_file():
            raise InvalidInput(
                f"'study.storage' must be a database that is there, got '{shown(storage)}': "
                f"'{Path(file).absolute()}' is no file; run the command where the sweep was run, "
                "or give the address with --storage"
            )


class _Quiet(WSGIRequestHandler):
    """Says nothing of requests."""

    def log_message(self, *_: Any) -> None:
        pass


def _bound(host: str, port: int, app: WSGIApplication) -> DashboardServer:
    server_class = _DashboardServer6 if ":" in host else DashboardServer
    try:
        return make_server(host, port, app, server_class, _Quiet)
    except OSError as error:
        import errno

        if error.errno == errno.EADDRINUSE:
            raise InvalidInput(
                f"'--port' must be free, got {port}, on which another program listens; "
                f"name another, such as {port + 1 if port < 65535 else 8080}, or 0 for any"
            ) from error
        if error.errno == errno.EACCES:
            raise InvalidInput(
                f"'--port' must be one that you may listen on, got {port} ({reason(error)}); "
                "name one from 1024"
            ) from error
        raise InvalidInput(
            f"'--host' must be an address of this machine, got '{host}' ({reason(error)}); "
            "127.0.0.1 is for this machine alone, 0.0.0.0 for whoever can reach it"
        ) from error


def _refuse(start_response: StartResponse) -> Iterable[bytes]:
    """The dashboard shows its users the reason."""
    content = json.dumps({"reason": _REFUSAL}).encode()
    start_response(
        "403 Forbidden",
        [("Content-Type", "application/json"), ("Content-Length", str(len(content)))],
    )
    return [content]


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """The first line, without secrets: what follows is a traceback."""
        first, _, _ = record.getMessage().partition("\n")
        return f"rso-sweep: {redacted(first)}"


def _say_failures_in_one_line() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine())
    logger = logging.getLogger("optuna_dashboard")
    logger.handlers[:] = [handler]
    logger.propagate = False
