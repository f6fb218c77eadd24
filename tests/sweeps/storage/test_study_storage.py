"""A study may be kept in a database or behind Optuna's proxy, and what is wrong is said."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import DuplicatedStudyError, StorageInternalError
from optuna.trial import TrialState

from rso_core.errors import InvalidInput
from sweeps.storage.study_storage import (
    StudyUnreachable,
    check_storage_address,
    close_study_storage,
    expanded,
    open_study_storage,
    storage_errors,
)

# --- what every storage does ---------------------------------------------------------------------


def new_study(storage: optuna.storages.BaseStorage) -> optuna.Study:
    return optuna.create_study(
        storage=storage, study_name="s", direction="maximize", sampler=random_sampler()
    )


def random_sampler() -> optuna.samplers.BaseSampler:
    return optuna.samplers.RandomSampler(seed=0)


def test_a_study_is_the_same_in_a_storage_opened_afresh(address: str) -> None:
    study = new_study(open_study_storage(address))
    for value in (0.25, 0.5):
        trial = study.ask({"x": FloatDistribution(0, 1), "o": CategoricalDistribution(["a", "b"])})
        trial.report(value / 2, step=1)
        trial.report(value, step=2)
        trial.set_user_attr("runs", ["t0-s0", "t0-s1"])
        study.tell(trial, value)
    study.tell(study.ask(), state=TrialState.FAIL)

    again = optuna.load_study(
        storage=open_study_storage(address), study_name="s", sampler=random_sampler()
    )

    assert again.direction == optuna.study.StudyDirection.MAXIMIZE
    assert again.trials == study.trials
    assert [trial.state.name for trial in again.trials] == ["COMPLETE", "COMPLETE", "FAIL"]
    assert again.best_trial.intermediate_values == {1: 0.25, 2: 0.5}
    assert again.best_trial.user_attrs == {"runs": ["t0-s0", "t0-s1"]}


def test_a_trial_can_be_begun_with_its_parameters_in_one_step(address: str) -> None:
    storage = open_study_storage(address)
    study = new_study(storage)
    template = optuna.trial.create_trial(
        state=TrialState.RUNNING,
        params={"x": 0.5, "n": 3, "o": "b"},
        distributions={
            "x": FloatDistribution(0, 1),
            "n": IntDistribution(1, 5),
            "o": CategoricalDistribution(["a", "b"]),
        },
    )

    trial_id = storage.create_new_trial(study._study_id, template_trial=template)

    seen = open_study_storage(address).get_trial(trial_id)
    assert (seen.number, seen.state) == (0, TrialState.RUNNING)
    assert seen.params == {"x": 0.5, "n": 3, "o": "b"}
    trial = optuna.Trial(study, trial_id)
    trial.report(0.7, step=1)
    study.tell(trial, 0.7)
    assert open_study_storage(address).get_trial(trial_id).value == 0.7


def test_a_running_trial_can_be_gone_on_with_in_a_storage_opened_afresh(address: str) -> None:
    study = new_study(open_study_storage(address))
    begun = study.ask({"x": FloatDistribution(0, 1)})
    begun.report(0.1, step=1)

    again = optuna.load_study(
        storage=open_study_storage(address), study_name="s", sampler=random_sampler()
    )
    trial = optuna.Trial(again, begun._trial_id)
    trial.report(0.2, step=2)
    again.tell(trial.number, 0.2)

    assert study.trials[0].intermediate_values == {1: 0.1, 2: 0.2}
    assert study.trials[0].params == begun.params


def test_a_study_of_the_same_name_is_refused(address: str) -> None:
    new_study(open_study_storage(address))

    with pytest.raises(DuplicatedStudyError), storage_errors():
        new_study(open_study_storage(address))


def test_sweeps_that_open_a_new_storage_at_a_time_all_succeed(address: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        opened = list(threads.map(lambda _: open_study_storage(address), range(4)))

    for number, storage in enumerate(opened):
        optuna.create_study(storage=storage, study_name=f"s{number}")
    assert len(opened[0].get_all_studies()) == 4


def test_a_closed_storage_leaves_what_was_told(address: str) -> None:
    storage = open_study_storage(address)
    study = new_study(storage)
    study.tell(study.ask(), 0.5)

    close_study_storage(storage)

    assert optuna.load_study(storage=open_study_storage(address), study_name="s").best_value == 0.5


def test_nothing_is_logged(address: str, capfd: pytest.CaptureFixture[str]) -> None:
    study = new_study(open_study_storage(address))
    study.tell(study.ask(), 0.5)

    assert capfd.readouterr() == ("", "")


# --- what goes wrong later -----------------------------------------------------------------------


def test_a_database_may_be_started_again_between_two_operations(postgres: Any) -> None:
    study = new_study(open_study_storage(postgres.new_database()))
    trial = study.ask({"x": FloatDistribution(0, 1)})

    postgres.stop()
    postgres.start()
    trial.report(0.5, step=1)
    study.tell(trial, 0.5)
    postgres.stop()
    postgres.start()

    assert study.best_value == 0.5
    assert study.ask().number == 1


def test_a_database_that_stays_away_is_told_of_in_a_line_without_the_password(
    postgres: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    study = new_study(open_study_storage(postgres.new_database()))
    trial = study.ask()
    postgres.stop()

    operations: list[Callable[[], object]] = [
        study.ask,
        lambda: trial.report(0.5, step=1),
        lambda: study.tell(trial, 0.5),
        lambda: study.trials,
    ]
    for operation in operations:
        with pytest.raises(StudyUnreachable) as caught, storage_errors():
            operation()
        message = str(caught.value)
        assert message.startswith(
            'the study\'s storage failed (connection to server at "127.0.0.1"'
        )
        # one that is still on its way out takes the connection and closes it
        assert re.search("Connection refused|server closed the connection", message)
        assert "\n" not in message
        assert "s3cret" not in message
    assert capfd.readouterr() == ("", "")


def test_a_proxy_that_has_gone_is_told_of_in_a_line(proxy: Any) -> None:
    study = new_study(open_study_storage(proxy.address))
    proxy.stop()

    with pytest.raises(StudyUnreachable) as caught, storage_errors():
        study.ask()

    assert str(caught.value).startswith("the study's storage failed (UNAVAILABLE: ")
    assert "\n" not in str(caught.value)


def test_an_unreachable_study_survives_pickling() -> None:
    error = StudyUnreachable("the study's storage failed (gone)")
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy)) == (StudyUnreachable, str(error))


def test_the_reason_of_a_storage_error_is_its_cause() -> None:
    @storage_errors()
    def fail() -> None:
        try:
            raise RuntimeError("no\n  space at postgresql://rso:hunter2@db/s")
        except RuntimeError as error:
            raise StorageInternalError("An exception is raised during the commit.") from error

    with pytest.raises(StudyUnreachable) as caught:
        fail()

    expected = "the study's storage failed (no space at postgresql://rso:***@db/s)"
    assert str(caught.value) == expected


def test_a_long_reason_is_cut() -> None:
    with pytest.raises(StudyUnreachable) as caught, storage_errors():
        raise StorageInternalError("x " * 1000)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("error", [ValueError("v"), KeyError("k"), OSError("o")])
def test_other_errors_pass_as_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, storage_errors():
        raise error
    assert caught.value is error


# --- addresses -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "sqlite:///studies.db",
        "sqlite:////var/lib/studies.db",
        "sqlite+pysqlite:///studies.db",
        "postgresql://rso:pw@db.example.org:5432/studies",
        "postgresql://rso@db/studies?sslmode=require",
        "postgres://rso@db/studies",
        "postgres+psycopg://rso@db/studies",
        "postgresql+psycopg://rso:${DB_PASSWORD}@${DB_HOST}:${DB_PORT}/${DB_NAME}",
        "postgresql+psycopg2://rso@db/studies",
        "postgresql+psycopg:///studies",
        "mysql://rso@db/studies",
        "mysql+pymysql://rso@db/studies",
        "mysql+mysqldb://rso@db/studies",
        "grpc://localhost:13000",
        "grpc://[::1]:13000",
        "grpc://${PROXY}:13000",
        "${STUDIES}",
    ],
)
def test_an_address_that_may_be_one_passes_unconnected(address: str) -> None:
    check_storage_address(address)


NOT_KEPT = "which is gone with its process; name a file, such as sqlite:///studies.db"
ENCODE = "or give the password as ${NAME}, which needs no encoding"


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (
            "studies.db",
            "'study.storage' must be an RDB address or grpc://HOST:PORT, got 'studies.db'; "
            "an example: postgresql+psycopg://USER:${DB_PASSWORD}@HOST/DATABASE",
        ),
        (
            "rso:hunter2@db/studies",
            "'study.storage' must be an RDB address or grpc://HOST:PORT, "
            "got 'rso:***@db/studies'; "
            "an example: postgresql+psycopg://USER:${DB_PASSWORD}@HOST/DATABASE",
        ),
        (
            "postgresq://rso:hunter2@db/studies",
            "'study.storage' must be a PostgreSQL, MySQL or SQLite address, "
            "got 'postgresq://rso:***@db/studies'; did you mean 'postgresql'?",
        ),
        (
            "oracle://rso@db/studies",
            "'study.storage' must be a PostgreSQL, MySQL or SQLite address, "
            "got 'oracle://rso@db/studies'; valid: grpc, mysql, postgresql, sqlite",
        ),
        (
            "postgresql+nosuch://rso@db/studies",
            "'study.storage' must name a driver that SQLAlchemy knows, "
            "got 'postgresql+nosuch://rso@db/studies'; such as postgresql+psycopg://",
        ),
        (
            "postgresql+psycopg_async://rso@db/studies",
            "'study.storage' must name a driver that is not asynchronous, "
            "got 'postgresql+psycopg_async://rso@db/studies'; such as postgresql+psycopg://",
        ),
        (
            "mysql+aiomysql://rso@db/studies",
            "'study.storage' must name a driver that is not asynchronous, "
            "got 'mysql+aiomysql://rso@db/studies'; such as mysql+pymysql://",
        ),
        (
            "postgresql://rso:hunter2@db:port/studies",
            "'study.storage' must be an address whose port is a number and whose password has its "
            "special characters percent-encoded, got 'postgresql://rso:***@db:port/studies'; "
            + ENCODE,
        ),
        (
            "postgresql://rso:hunter2@more@db/studies",
            "'study.storage' must be an address whose password has its special characters "
            "percent-encoded ('@' is %40), got 'postgresql://rso:***@db/studies'; " + ENCODE,
        ),
        (
            "sqlite://",
            f"'study.storage' must be a database that is kept, got 'sqlite://', {NOT_KEPT}",
        ),
        (
            "sqlite:///:memory:",
            "'study.storage' must be a database that is kept, "
            f"got 'sqlite:///:memory:', {NOT_KEPT}",
        ),
        (
            "sqlite:///file:x?mode=memory&uri=true",
            "'study.storage' must be a database that is kept, "
            f"got 'sqlite:///file:x?mode=memory&uri=true', {NOT_KEPT}",
        ),
        (
            "sqlite://studies.db/x",
            "'study.storage' must be a file for SQLite: three slashes and a path, "
            "such as sqlite:///studies.db, got 'sqlite://studies.db/x'",
        ),
        ("grpc://localhost", "'study.storage' must be grpc://HOST:PORT, got 'grpc://localhost'"),
        ("grpc://:13000", "'study.storage' must be grpc://HOST:PORT, got 'grpc://:13000'"),
        ("grpc://db:70000", "'study.storage' must be grpc://HOST:PORT, got 'grpc://db:70000'"),
        ("grpc://db:13000/x", "'study.storage' must be grpc://HOST:PORT, got 'grpc://db:13000/x'"),
        (
            "postgresql://rso:${DB-PASSWORD}@db/studies",
            "'study.storage' must refer to environment variables as ${NAME}, "
            "got 'postgresql://rso:***@db/studies'",
        ),
    ],
)
def test_an_address_that_cannot_be_one_is_refused(address: str, message: str) -> None:
    for check in (check_storage_address, open_study_storage):
        with pytest.raises(InvalidInput) as caught:
            check(address)
        assert str(caught.value) == message


def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DB_PASSWORD", raising=False)
    with pytest.raises(InvalidInput) as caught:
        open_study_storage("postgresql://rso:${DB_PASSWORD}@db/studies")
    assert str(caught.value) == (
        "'study.storage' names the environment variable DB_PASSWORD, which is not set; "
        "export it, or give an address without it"
    )


def test_a_variable_stands_for_itself_where_it_is_a_user_a_password_or_a_parameter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("V", "a/@b:%c d")
    assert expanded("postgresql://${V}:x${V}@db/s?passfile=${V}") == (
        "postgresql://a%2F%40b%3A%25c%20d:xa%2F%40b%3A%25c%20d@db/s?passfile=a%2F%40b%3A%25c%20d"
    )


@pytest.mark.parametrize(
    ("address", "full"),
    [
        ("${V}", "a/b:1"),
        ("sqlite:///${V}/x@y.db", "sqlite:///a/b:1/x@y.db"),
        ("postgresql://u:p@${V}", "postgresql://u:p@a/b:1"),
        ("postgresql://db/s?${V}", "postgresql://db/s?a/b:1"),
        ("postgresql://u:$V@db/s", "postgresql://u:$V@db/s"),
    ],
)
def test_elsewhere_a_variable_is_inserted_as_it_is(
    monkeypatch: pytest.MonkeyPatch, address: str, full: str
) -> None:
    monkeypatch.setenv("V", "a/b:1")
    assert expanded(address) == full


def test_what_a_variable_holds_is_not_shown_if_it_is_no_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DB", "hunter2")
    with pytest.raises(InvalidInput) as caught:
        open_study_storage("${DB}")
    assert str(caught.value).startswith(
        "'study.storage' must be an RDB address or grpc://HOST:PORT, got '${DB}'; "
    )


def test_a_whole_address_may_stand_in_a_variable(
    monkeypatch: pytest.MonkeyPatch, sqlite_address: str
) -> None:
    monkeypatch.setenv("DB", sqlite_address)
    new_study(open_study_storage("${DB}"))
    assert len(open_study_storage(sqlite_address).get_all_studies()) == 1


def test_braces_and_percent_signs_in_a_path_are_no_templates(tmp_path: Path) -> None:
    open_study_storage(f"sqlite:///{tmp_path}/{{a}}%25.db")
    assert [path.name for path in tmp_path.iterdir()] == ["{a}%.db"]


# --- databases that refuse -----------------------------------------------------------------------


def refusal(address: str) -> str:
    with pytest.raises(InvalidInput) as caught:
        open_study_storage(address)
    (message,) = caught.value.problems
    assert "\n" not in message
    assert "hunter2" not in message
    return message


def test_a_wrong_password_is_refused(postgres: Any) -> None:
    message = refusal(f"postgresql://rso:hunter2@127.0.0.1:{postgres.port}/postgres")
    assert message == (
        "'study.storage' must be a database that can be used, "
        f"got 'postgresql://rso:***@127.0.0.1:{postgres.port}/postgres' "
        f'(connection to server at "127.0.0.1", port {postgres.port} failed: '
        'FATAL: password authentication failed for user "rso"); check the user and the password'
    )


def test_a_database_that_does_not_exist_is_refused(postgres: Any) -> None:
    message = refusal(f"postgresql://rso:${{RSO_TEST_PW}}@127.0.0.1:{postgres.port}/nosuch")
    assert message == (
        "'study.storage' must be a database that can be used, "
        f"got 'postgresql://rso:${{RSO_TEST_PW}}@127.0.0.1:{postgres.port}/nosuch' "
        f'(connection to server at "127.0.0.1", port {postgres.port} failed: '
        'FATAL: database "nosuch" does not exist); create the database, or correct its name'
    )


def test_a_server_that_is_not_there_is_refused(unused_port: int) -> None:
    pytest.importorskip("psycopg")
    message = refusal(f"postgresql://rso:hunter2@127.0.0.1:{unused_port}/studies")
    assert message.startswith(
        "'study.storage' must be a database that can be used, "
        f"got 'postgresql://rso:***@127.0.0.1:{unused_port}/studies' (connection to server at "
    )
    assert message.endswith("); see that the database runs, and that the address is right")


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    message = refusal(f"sqlite:///{tmp_path}/no/studies.db")
    assert message == (
        "'study.storage' must be a database that can be used, "
        f"got 'sqlite:///{tmp_path}/no/studies.db' (unable to open database file); "
        "make its folder, and let it be written"
    )


def test_a_parameter_that_the_driver_does_not_know_is_refused(tmp_path: Path) -> None:
    message = refusal(f"sqlite:///{tmp_path}/studies.db?nosuch=1")
    assert message.startswith(
        "'study.storage' must be a database that can be used, "
        f"got 'sqlite:///{tmp_path}/studies.db?nosuch=1' (Query string argument(s) 'nosuch' are "
    )
    assert message.endswith("; correct the address's parameters")


def test_what_a_mysql_driver_says_is_told_without_its_number() -> None:
    import sqlalchemy.exc

    told = Exception(2003, "Can't connect to MySQL server on 'db'")
    with pytest.raises(StudyUnreachable) as caught, storage_errors():
        raise sqlalchemy.exc.OperationalError("SELECT 1", {}, told)
    assert str(caught.value) == (
        "the study's storage failed (Can't connect to MySQL server on 'db')"
    )


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "studies.db").write_text("name: not a database, but a text\n" * 100)
    message = refusal(f"sqlite:///{tmp_path}/studies.db")
    assert message == (
        "'study.storage' must be a database that can be used, "
        f"got 'sqlite:///{tmp_path}/studies.db' (file is not a database); "
        "name a file that is an SQLite database, or a new one"
    )


def test_tables_of_another_optuna_are_refused(sqlite_address: str) -> None:
    import sqlalchemy

    open_study_storage(sqlite_address)
    engine = sqlalchemy.create_engine(sqlite_address)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("UPDATE alembic_version SET version_num = 'v9.9.9.a'"))
    engine.dispose()

    message = refusal(sqlite_address)

    assert message.startswith(
        f"'study.storage' must hold tables of the installed Optuna, got '{sqlite_address}' ("
    )


def test_a_proxy_that_is_not_there_is_refused_within_seconds(unused_port: int) -> None:
    begun = time.monotonic()
    message = refusal(f"grpc://127.0.0.1:{unused_port}")
    assert message == (
        "'study.storage' must be an Optuna gRPC proxy that answers, "
        f"got 'grpc://127.0.0.1:{unused_port}' (no answer within 5 s); "
        "optuna.storages.run_grpc_proxy_server starts one"
    )
    assert time.monotonic() - begun < 20


def test_a_server_that_is_no_proxy_of_optuna_is_refused() -> None:
    import grpc

    with ThreadPoolExecutor(1) as threads:
        server = grpc.server(threads)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            message = refusal(f"grpc://127.0.0.1:{port}")
        finally:
            server.stop(None).wait()
    assert message == (
        "'study.storage' must be an Optuna gRPC proxy that answers, "
        f"got 'grpc://127.0.0.1:{port}' (UNIMPLEMENTED: Method not found!); "
        "optuna.storages.run_grpc_proxy_server starts one"
    )


# --- drivers -------------------------------------------------------------------------------------

INSTALLED = """
import importlib.util, sys
from rso_core.errors import InvalidInput
import sweeps.storage.study_storage as study_storage

for module in {absent!r}:
    sys.modules[module] = None  # as if it were not installed
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name in {absent!r} else find_spec(name)
try:
    study_storage.open_study_storage({address!r})
except InvalidInput as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("address", "refused"),
    [
        (
            "postgresql://rso:hunter2@db/s",
            "got 'postgresql://rso:***@db/s' (import of psycopg halted; None in sys.modules); "
            "pip install 'rso-sweep[postgresql]'",
        ),
        (
            "postgresql+psycopg2://rso@db/s",
            "got 'postgresql+psycopg2://rso@db/s' (import of psycopg2 halted; None in "
            "sys.modules); install it, or begin with postgresql:// after "
            "pip install 'rso-sweep[postgresql]'",
        ),
        (
            "mysql://rso@db/s",
            "got 'mysql://rso@db/s' (import of pymysql halted; None in sys.modules); "
            "pip install 'rso-sweep[mysql]'",
        ),
        (
            "mysql+pymysql://rso@db/s",
            "got 'mysql+pymysql://rso@db/s' (import of pymysql halted; None in sys.modules); "
            "pip install 'rso-sweep[mysql]'",
        ),
    ],
)
def test_a_driver_that_is_not_installed_is_named_with_what_to_install(
    address: str, refused: str
) -> None:
    absent = ["psycopg", "psycopg2", "pymysql", "MySQLdb"]
    ended = subprocess.run(
        [sys.executable, "-c", INSTALLED.format(absent=absent, address=address)],
        capture_output=True,
        text=True,
        check=True,
    )
    expected = f"'study.storage' must have a driver that is installed, {refused}\n"
    assert (ended.stdout, ended.stderr) == (expected, "")


def test_the_libraries_of_databases_are_imported_only_when_there_is_an_address() -> None:
    program = (
        "import sys, sweeps.storage.study_storage as s\n"
        "try:\n  with s.storage_errors(): raise ValueError\nexcept ValueError: pass\n"
        "print([m for m in ('sqlalchemy', 'grpc', 'psycopg') if m in sys.modules])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ended.stdout == "[]\n"
