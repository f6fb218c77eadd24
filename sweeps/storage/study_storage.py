"""The database, or Optuna's gRPC proxy, that keeps a study which is not kept in the run folder."""

from __future__ import annotations

import importlib.util
import logging
import re
import sys
import time
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError

from rso_core.errors import InvalidInput
from sweeps.storage.redaction import hide_secrets_of, redacted
from sweeps.storage.study_address import check_storage_address, expanded, shown

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

__all__ = [
    "StudyUnreachable",
    "check_storage_address",
    "close_study_storage",
    "expanded",
    "open_study_storage",
    "storage_errors",
]


class StudyUnreachable(RuntimeError):  # noqa: N818  (it names what happened)
    """The study's storage does not do what it is asked; one line, without secrets."""


def open_study_storage(address: str) -> optuna.storages.BaseStorage:
    """Connects with a study's storage, and makes Optuna's tables in a database that lacks them.

    A connection that has broken since its last use is replaced by a new one, so that a database
    may be started again between two operations. Optuna's cache of finished trials is part of what
    is returned.

    Args:
        address: as the sweep file gives it, `${NAME}` standing for environment variables
            (`expanded` says how); `postgresql://` and `mysql://` take the driver that is installed.

    Raises:
        InvalidInput: it is no such address, a variable is not set, the driver is not installed, or
            nothing there lets us in; one line with the reason and the next step, without secrets.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # it warns before it fails when a connection breaks, and tells all of the failure
    logging.getLogger("optuna.storages._rdb.storage").setLevel(logging.ERROR)
    check_storage_address(address)
    full = expanded(address)
    hide_secrets_of(full)
    check_storage_address(full, named=address)
    if full.lower().startswith("grpc://"):
        return _open_proxy(full, shown(address))
    return _open_database(full, shown(address))


def close_study_storage(storage: optuna.storages.BaseStorage) -> None:
    """Closes the connections of a storage from `open_study_storage`; others are left as they are.

    Whoever forgets it loses nothing: they are closed when the storage is no longer referred to.
    """
    database = getattr(storage, "_backend", storage)
    if isinstance(database, optuna.storages.RDBStorage):
        database.remove_session()
        database.engine.dispose()
    elif isinstance(storage, optuna.storages.GrpcStorageProxy):
        storage.close()


@contextmanager
def storage_errors() -> Iterator[None]:
    """Inside, and in functions that it decorates, errors of the storage are `StudyUnreachable`.

    Optuna's own exceptions that tell of the study, such as `DuplicatedStudyError`, stay.

    Raises:
        StudyUnreachable: the database or the proxy failed.
    """
    try:
        yield
    except Exception as error:
        if not isinstance(error, _kinds_of_storage_error()):
            raise
        raise StudyUnreachable(f"the study's storage failed ({_reason(error)})") from error


_PROXY_WAIT_S = 5.0
_CONNECT_WAIT_S = 10
_LOCK_WAIT_S = 30
_OPENING_ATTEMPTS = 5
_LONGEST_REASON = 240

_LIBPQ = {
    "connect_timeout": _CONNECT_WAIT_S,
    # a server that has vanished is noticed within a minute, not within hours
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}
_CONNECT_ARGUMENTS: dict[str, dict[str, int]] = {
    "psycopg": _LIBPQ,
    "psycopg2": _LIBPQ,
    "pymysql": {"connect_timeout": _CONNECT_WAIT_S},
    "mysqldb": {"connect_timeout": _CONNECT_WAIT_S},
    "pysqlite": {"timeout": _LOCK_WAIT_S},
}
_DRIVERS = {
    "postgresql": (("psycopg", "psycopg"), ("psycopg2", "psycopg2")),
    "mysql": (("pymysql", "pymysql"), ("mysqldb", "MySQLdb")),
}
"""For a dialect: its drivers and their modules, the one to be installed first."""

_NEXT_STEPS = (
    (r"password|Access denied|authentication", "check the user and the password"),
    (r"role .* does not exist", "check the user and the password"),
    (r"does not exist|Unknown database", "create the database, or correct its name"),
    (r"permission denied|readonly|read-only", "let the user create tables there"),
    (r"unable to open database file", "make its folder, and let it be written"),
    (r"not a database", "name a file that is an SQLite database, or a new one"),
    (r"locked", "stop the other program that uses it"),
    (r"unexpected keyword|option|Query string", "correct the address's parameters"),
)


def _open_database(address: str, name: str) -> optuna.storages.BaseStorage:
    import sqlalchemy.exc

    url = _with_driver(address)
    taken = _CONNECT_ARGUMENTS.get(url.get_driver_name(), {})
    options = {
        "pool_pre_ping": True,
        "hide_parameters": True,
        "connect_args": {key: item for key, item in taken.items() if key not in url.query},
    }
    # Optuna fills in templates: a brace stands for itself only if it is doubled
    text = url.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
    try:
        with warnings.catch_warnings():
            # SQLAlchemy passes over an SQLite address's unknown parameters; others' are refused
            warnings.filterwarnings("error", "Query string argument", sqlalchemy.exc.SAWarning)
            storage = _opened(text, options)
    except ImportError as error:
        raise _lacks_driver(url, name, error) from error
    except (
        *(sqlalchemy.exc.SQLAlchemyError, sqlalchemy.exc.SAWarning, StorageInternalError),
        *(TypeError, ValueError),  # the driver's, for parameters that it does not know
    ) as error:
        why = _reason(error)
        raise InvalidInput(
            f"'study.storage' must be a database that can be used, got '{name}' ({why}); "
            f"{_next_step(why)}"
        ) from error
    except RuntimeError as error:
        raise InvalidInput(
            "'study.storage' must hold tables of the installed Optuna, "
            f"got '{name}' ({_one_line(str(error))})"
        ) from error
    weakref.finalize(storage, storage.engine.dispose)
    # what Optuna would wrap it in: one cache for the study and for whoever else asks the storage
    return optuna.storages.get_storage(storage)


def _opened(address: str, options: dict[str, Any]) -> optuna.storages.RDBStorage:
    """Opens the database; sweeps that make the tables of a new one at a time all succeed."""
    from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError
    from sqlalchemy.pool import NullPool

    for attempt in range(1, _OPENING_ATTEMPTS + 1):
        try:
            # what fails here keeps no connection, which a pool that nobody holds could not close
            optuna.storages.RDBStorage(address, engine_kwargs={**options, "poolclass": NullPool})
            break
        except (IntegrityError, OperationalError, ProgrammingError) as error:
            made_meanwhile = isinstance(error, IntegrityError) or "already exists" in str(error)
            if not made_meanwhile or attempt == _OPENING_ATTEMPTS:
                raise
            time.sleep(0.1 * attempt)
    return optuna.storages.RDBStorage(address, engine_kwargs=options)


def _with_driver(address: str) -> URL:
    """The address as SQLAlchemy has it, with a driver that is installed where it names none."""
    from sqlalchemy.engine import make_url

    url = make_url(address)
    # libpq knows it as postgres, too
    url = url.set(drivername=re.sub(r"^postgres(?=\+|$)", "postgresql", url.drivername))
    drivers = _DRIVERS.get(url.drivername)
    if drivers is None:
        return url
    installed = (driver for driver, module in drivers if importlib.util.find_spec(module))
    return url.set(drivername=f"{url.drivername}+{next(installed, drivers[0][0])}")


def _lacks_driver(url: URL, name: str, error: ImportError) -> InvalidInput:
    why = _one_line(str(error.__cause__ or error))
    dialect = url.get_backend_name()
    extra = f"pip install 'rso-sweep[{dialect}]'"
    ours = dialect in _DRIVERS and url.get_driver_name() == _DRIVERS[dialect][0][0]
    step = extra if ours else f"install it, or begin with {dialect}:// after {extra}"
    return InvalidInput(
        f"'study.storage' must have a driver that is installed, got '{name}' ({why}); {step}"
    )


def _open_proxy(address: str, name: str) -> optuna.storages.BaseStorage:
    host, _, port = address[len("grpc://") :].rstrip("/").rpartition(":")
    with warnings.catch_warnings():
        # Optuna marks the proxy's client as experimental; whoever gives such an address knows
        warnings.simplefilter("ignore", ExperimentalWarning)
        proxy = optuna.storages.GrpcStorageProxy(host=host, port=int(port))
    try:
        why = _not_a_proxy(proxy)
    except ImportError as error:
        why = f"{_one_line(str(error))}; pip install grpcio protobuf"
    if why:
        proxy.close()
        raise InvalidInput(
            f"'study.storage' must be an Optuna gRPC proxy that answers, got '{name}' ({why}); "
            "optuna.storages.run_grpc_proxy_server starts one"
        )
    return proxy


def _not_a_proxy(proxy: optuna.storages.GrpcStorageProxy) -> str | None:
    """Why there is no use in this proxy; None if it answers as Optuna's does."""
    import grpc  # type: ignore[import-untyped]  # it ships no type information

    try:
        proxy.wait_server_ready(timeout=_PROXY_WAIT_S)
        proxy.get_study_id_from_name("a study that nobody has")
    except KeyError:  # as it should: there is no such study
        pass
    except ConnectionError:
        return f"no answer within {_PROXY_WAIT_S:.0f} s"
    except grpc.RpcError as error:
        return _reason(error)
    return None


def _kinds_of_storage_error() -> tuple[type[Exception], ...]:
    """Those of the libraries that are in use; what is not imported has raised nothing."""
    kinds: list[type[Exception]] = [StorageInternalError]
    for module, name in (("sqlalchemy.exc", "SQLAlchemyError"), ("grpc", "RpcError")):
        if module in sys.modules:
            kinds.append(getattr(sys.modules[module], name))
    return tuple(kinds)


def _reason(error: BaseException) -> str:
    """What the driver or the proxy says of it, in a short line without secrets."""
    if isinstance(error, StorageInternalError) and error.__cause__ is not None:
        error = error.__cause__
    details = getattr(error, "details", None)  # grpc's
    if callable(details) and hasattr(error, "code"):
        return _one_line(f"{error.code().name}: {details()}")
    told = getattr(error, "orig", None) or error
    match told.args:
        case (int(), str(text)):  # MySQL's drivers: a number and a text
            return _one_line(text)
    return _one_line(str(told))


def _one_line(text: str) -> str:
    line = redacted(" ".join(text.split()))
    line = re.sub(r"^connection failed: | Is the server running .*\?$", "", line)
    return line if len(line) <= _LONGEST_REASON else line[: _LONGEST_REASON - 3] + "..."


def _next_step(why: str) -> str:
    for pattern, step in _NEXT_STEPS:
        if re.search(pattern, why):
            return step
    return "see that the database runs, and that the address is right"
