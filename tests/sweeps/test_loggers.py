"""What TensorBoard and MLflow are told of runs, read back with their own readers."""

from __future__ import annotations

import importlib
import importlib.util
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from rso_core.configuration import Configuration
from rso_core.errors import InvalidInput
from rso_core.records import CycleRecord, LayerRecord
from sweeps.loggers import RunLogger, check_loggers, open_loggers
from sweeps.loggers.background import BackgroundLogger
from sweeps.logging_options import LoggingOptions
from sweeps.runs import Run, RunState

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
pytest.importorskip("mlflow")
accumulation = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

# SQLAlchemy deprecates a loader that MLflow's models use
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")


def run(trial: int = 0, seed: int = 0, optimizer: str = "rso") -> Run:
    values = {"architecture": "one_conv", "batch_size": 64, "optimizer": optimizer}
    return Run(trial, seed, Configuration.from_values(values, cycles=3))


def record(cycle: int, accuracy: float = 0.5, n_visited: int = 100) -> CycleRecord:
    return CycleRecord(
        cycle=cycle,
        training_loss=2.0 / cycle,
        n_visited=n_visited,
        n_accepted=n_visited // 4,
        n_images_passed=6400,
        training_s=0.5,
        layers=(LayerRecord("conv1.weight", 80, 8, 0.25),) if n_visited else (),
        validation_loss=1.0 / cycle,
        validation_accuracy=accuracy,
        test_accuracy=accuracy / 2,
        evaluation_s=0.125,
    )


@pytest.fixture
def notices() -> list[str]:
    return []


@pytest.fixture
def opened(tmp_path: Path, notices: list[str]) -> Callable[..., RunLogger]:
    """Opens the loggers of a run folder, which is made."""

    def open_(folder: str | Path = "out", name: str = "small", **options: Any) -> RunLogger:
        (tmp_path / folder).mkdir(exist_ok=True)
        return open_loggers(LoggingOptions(**options), str(tmp_path / folder), name, notices.append)

    return open_


def events(folder: Path) -> Any:
    found = accumulation.EventAccumulator(str(folder))
    found.Reload()
    return found


def curve(found: Any, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in found.Scalars(tag)]


def test_tensorboard_has_a_curve_for_every_figure_of_a_run(
    tmp_path: Path, opened: Callable[..., RunLogger], notices: list[str]
) -> None:
    logger = opened(tensorboard=True)
    logger.run_began(run())
    logger.cycle_ended(run(), record(1, 0.25))
    logger.cycle_ended(run(), record(2, 0.5))
    logger.run_ended(run(), "finished")
    logger.close()
    assert notices == []
    found = events(tmp_path / "out/tensorboard/trial-0-seed-0")
    assert set(found.Tags()["scalars"]) == {
        *("training_loss", "validation_loss", "validation_accuracy", "test_accuracy"),
        *("accepted_share", "n_images_passed", "training_s", "evaluation_s"),
        *("layers/conv1.weight/sigma", "layers/conv1.weight/accepted_share"),
    }, "the test loss, which was not measured, is out"
    assert curve(found, "validation_accuracy") == [(1, 0.25), (2, 0.5)]
    assert curve(found, "training_loss") == [(1, 2.0), (2, 1.0)]
    assert curve(found, "accepted_share") == [(1, 0.25), (2, 0.25)]
    assert curve(found, "layers/conv1.weight/sigma") == [(1, 0.25), (2, 0.25)]
    assert curve(found, "layers/conv1.weight/accepted_share")[0] == (1, pytest.approx(0.1))


def test_a_gradient_method_has_no_accepted_share(
    tmp_path: Path, opened: Callable[..., RunLogger]
) -> None:
    logger = opened(tensorboard=True)
    logger.cycle_ended(run(optimizer="sgd"), record(1, n_visited=0))
    logger.close()
    tags = events(tmp_path / "out/tensorboard/trial-0-seed-0").Tags()["scalars"]
    assert "training_loss" in tags
    assert not [tag for tag in tags if "accepted" in tag or "layers" in tag]


@pytest.mark.parametrize(("state", "status"), [("finished", 1), ("pruned", 1), ("failed", 2)])
def test_tensorboard_has_the_configuration_and_how_the_run_ended(
    tmp_path: Path, opened: Callable[..., RunLogger], state: RunState, status: int
) -> None:
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    logger = opened(tensorboard=True)
    logger.run_began(run(trial=7, seed=3))
    logger.run_ended(run(trial=7, seed=3), state)
    logger.close()
    found = events(tmp_path / "out/tensorboard/trial-7-seed-3")
    contents = found.PluginTagToContent("hparams")
    start = HParamsPluginData.FromString(contents["_hparams_/session_start_info"])
    given = start.session_start_info.hparams
    assert given["architecture"].string_value == "one_conv"
    assert (given["batch_size"].number_value, given["trial"].number_value) == (64, 7)
    assert given["perturbation_std"].number_value > 0
    end = HParamsPluginData.FromString(contents["_hparams_/session_end_info"])
    assert end.session_end_info.status == status
    (text,) = found.Tensors("state/text_summary")
    assert text.tensor_proto.string_val == [state.encode()]


def test_a_run_that_another_driver_goes_on_with_has_every_cycle_once_in_tensorboard(
    tmp_path: Path, opened: Callable[..., RunLogger]
) -> None:
    first = opened(tensorboard=True)
    first.run_began(run())
    first.cycle_ended(run(), record(1))
    first.close()
    second = opened(tensorboard=True)
    second.run_began(run())
    second.cycle_ended(run(), record(2))
    second.run_ended(run(), "finished")
    second.close()
    folder = tmp_path / "out/tensorboard/trial-0-seed-0"
    assert len(list(folder.iterdir())) == 2
    assert curve(events(folder), "training_loss") == [(1, 2.0), (2, 1.0)]


def test_each_cycle_is_in_the_event_files_while_the_sweep_still_runs(
    tmp_path: Path, opened: Callable[..., RunLogger]
) -> None:
    folder = tmp_path / "out/tensorboard/trial-0-seed-0"

    def n_seen() -> int:
        found = events(folder) if folder.exists() else None
        is_there = found is not None and "evaluation_s" in found.Tags()["scalars"]
        return len(curve(found, "evaluation_s")) if is_there else 0

    logger = opened(tensorboard=True)
    for cycle in (1, 2, 3):
        logger.cycle_ended(run(), record(cycle))
        deadline = time.monotonic() + 10
        while n_seen() < cycle:
            assert time.monotonic() < deadline, "the cycle has not come"
            time.sleep(0.02)
    logger.close()


def test_sweeps_of_one_name_have_folders_of_their_own_in_a_common_one(
    tmp_path: Path, opened: Callable[..., RunLogger]
) -> None:
    common = str(tmp_path / "boards")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for folder in ("a/out", "b/out", "a/out"):
        logger = opened(folder, tensorboard=common)
        logger.run_began(run())
        logger.close()
    n_files = {
        path.parent.parent.name: len(list(path.parent.glob("events*")))
        for path in Path(common).rglob("events*")
    }
    assert n_files == {"out": 2, "out-2": 1}, "the first one was gone on with"


@pytest.fixture(scope="module")
def tracking_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database of MLflow's, which takes seconds to make."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


@pytest.fixture
def client(tracking_uri: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=tracking_uri)


def runs_of(client: Any, experiment: str) -> dict[str, Any]:
    found = client.get_experiment_by_name(experiment)
    runs = client.search_runs([found.experiment_id])
    by_name = {run.info.run_name: run for run in runs}
    assert len(by_name) == len(runs)
    return by_name


def history(client: Any, run_id: str, name: str) -> list[tuple[int, float]]:
    return sorted((metric.step, metric.value) for metric in client.get_metric_history(run_id, name))


def test_mlflow_has_an_experiment_for_a_sweep_and_a_run_for_each_of_its_runs(
    opened: Callable[..., RunLogger], tracking_uri: str, client: Any, notices: list[str]
) -> None:
    states: dict[int, RunState] = {0: "finished", 1: "pruned", 2: "failed"}
    logger = opened(name="three", mlflow=tracking_uri)
    for trial, state in states.items():
        logger.run_began(run(trial))
        logger.cycle_ended(run(trial), record(1, 0.25))
        logger.cycle_ended(run(trial), record(2, 0.5))
        logger.run_ended(run(trial), state)
    logger.close()
    assert notices == []
    runs = runs_of(client, "three")
    assert [runs[f"trial-{trial}-seed-0"].info.status for trial in states] == [
        *("FINISHED", "KILLED", "FAILED"),
    ]
    first = runs["trial-0-seed-0"]
    assert first.data.params["architecture"] == "one_conv"
    assert (first.data.params["seed"], first.data.params["batch_size"]) == ("0", "64")
    assert first.data.metrics["accepted_share"] == 0.25
    accuracies = history(client, first.info.run_id, "validation_accuracy")
    assert accuracies == [(1, 0.25), (2, 0.5)]
    sigmas = history(client, first.info.run_id, "layers/conv1.weight/sigma")
    assert sigmas == [(1, 0.25), (2, 0.25)]


def test_a_run_that_another_driver_goes_on_with_is_the_same_run_in_mlflow(
    tmp_path: Path, opened: Callable[..., RunLogger], tracking_uri: str, client: Any
) -> None:
    first = opened(name="resumed", mlflow=tracking_uri)
    first.run_began(run())
    first.cycle_ended(run(), record(1))
    first.close()
    assert runs_of(client, "resumed")["trial-0-seed-0"].info.status == "SCHEDULED"
    (tmp_path / "out").rename(tmp_path / "moved")
    second = opened("moved", name="resumed", mlflow=tracking_uri)
    second.run_began(run())
    second.cycle_ended(run(), record(2))
    second.run_ended(run(), "finished")
    second.close()
    (only,) = runs_of(client, "resumed").values()
    assert only.info.status == "FINISHED"
    assert history(client, only.info.run_id, "training_loss") == [(1, 2.0), (2, 1.0)]


def test_a_new_sweep_in_the_folder_of_one_that_was_removed_is_another_experiment(
    tmp_path: Path, opened: Callable[..., RunLogger], tracking_uri: str, client: Any
) -> None:
    for _ in range(2):
        logger = opened(name="again", mlflow=tracking_uri)
        logger.cycle_ended(run(), record(1))
        logger.close()
        (tmp_path / "out/logging.json").unlink()
        (tmp_path / "out").rmdir()
    for experiment in ("again", "again-2"):
        (only,) = runs_of(client, experiment).values()
        assert history(client, only.info.run_id, "training_loss") == [(1, 2.0)]


def test_both_loggers_at_once_take_the_sweep_for_the_same_one(
    tmp_path: Path, opened: Callable[..., RunLogger], tracking_uri: str, client: Any
) -> None:
    logger = opened(name="both", mlflow=tracking_uri, tensorboard=str(tmp_path / "boards"))
    logger.cycle_ended(run(), record(1))
    logger.close()
    identity = (tmp_path / "boards/out/.rso-sweep").read_text()
    assert client.get_experiment_by_name("both").tags["rso_sweep.sweep"] == identity


@pytest.fixture
def silent_server() -> Iterator[str]:
    """The address of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_server_that_does_not_answer_delays_no_call_and_is_told_of_once(
    silent_server: str, notices: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sweeps.loggers.mlflow_logger import MlflowLogger

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    logger = BackgroundLogger(
        "MLflow", lambda: MlflowLogger(silent_server, "id", "x"), notices.append, close_s=0.3
    )
    logger.run_began(run())
    for cycle in range(1, 100):
        logger.cycle_ended(run(), record(cycle))
    assert notices == []
    logger.close()
    assert notices == [
        "MLflow is told nothing more (it has not taken all within 0.3 s); the sweep goes on"
    ]


def test_a_logger_that_fails_says_so_once_and_leaves_the_others_alone(
    tmp_path: Path,
    opened: Callable[..., RunLogger],
    notices: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = f"http://127.0.0.1:{server.getsockname()[1]}"
    logger = opened(mlflow=nobody, tensorboard=True)
    for cycle in range(1, 4):
        logger.cycle_ended(run(), record(cycle))
    logger.run_ended(run(), "finished")
    logger.close()
    logger.close()
    (line,) = notices
    assert line.startswith("MLflow is told nothing more (MlflowException: ")
    assert "\n" not in line
    found = events(tmp_path / "out/tensorboard/trial-0-seed-0")
    assert [step for step, _ in curve(found, "training_loss")] == [1, 2, 3]


def test_a_folder_that_cannot_be_written_is_told_of(
    tmp_path: Path, opened: Callable[..., RunLogger], notices: list[str]
) -> None:
    (tmp_path / "file").write_text("")
    logger = opened(tensorboard=str(tmp_path / "file/in"))
    logger.run_began(run())
    logger.close()
    assert notices == ["TensorBoard is told nothing more (Not a directory); the sweep goes on"]


def test_nothing_is_imported_and_nothing_written_while_all_is_off(
    tmp_path: Path, notices: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [name for name in sys.modules if name.startswith("sweeps.loggers")]:
        monkeypatch.delitem(sys.modules, module)
    for library in ("mlflow", "tensorboard", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, library, None)  # an import of it fails
    loggers = importlib.import_module("sweeps.loggers")
    loggers.check_loggers(LoggingOptions(), str(tmp_path))
    logger = loggers.open_loggers(LoggingOptions(), str(tmp_path), "x", notices.append)
    logger.cycle_ended(run(), record(1))
    logger.close()
    assert notices == []
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_refused_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    missing = ("tensorboard", "mlflow")
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in missing else found(name)
    )
    with pytest.raises(InvalidInput) as error:
        check_loggers(LoggingOptions(tensorboard=True, mlflow="http://x"), str(tmp_path))
    assert error.value.problems == (
        "'logging.tensorboard' needs tensorboard, which is not installed; "
        "pip install 'rso-sweep[tensorboard]'",
        "'logging.mlflow' needs mlflow, which is not installed; pip install 'rso-sweep[mlflow]'",
    )


def test_event_files_in_a_run_folder_at_an_address_are_refused() -> None:
    with pytest.raises(InvalidInput, match="got true for the run folder 's3://bucket/x'; name a"):
        check_loggers(LoggingOptions(tensorboard=True), "s3://bucket/x")
    check_loggers(LoggingOptions(tensorboard="boards"), "s3://bucket/x")


def test_a_tracking_uri_that_mlflow_cannot_use_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="that MLflow can use, got 'nothing://x'") as error:
        check_loggers(LoggingOptions(mlflow="nothing://x"), str(tmp_path))
    assert "\n" not in str(error.value)
    check_loggers(LoggingOptions(mlflow="http://127.0.0.1:9"), str(tmp_path))


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("tensorboard", 3, "must be true, false or a folder, got 3"),
        ("tensorboard", "", "must be true, false or a folder, got ''"),
        ("tensorboard", "s3://u:secret7@b/x", "must be a folder of this machine, got 's3://u:***@"),
        ("mlflow", True, "must be a tracking URI or null, got True"),
        ("mlflow", " ", "must be a tracking URI or null, got ' '"),
        ("mlflow", "https://u:secret7@host", "without a password, got 'https://u:***@host'; "),
    ],
)
def test_options_that_cannot_be_meant_are_refused(field: str, value: object, sentence: str) -> None:
    with pytest.raises(ValidationError) as error:
        LoggingOptions(**{field: value})
    (fault,) = error.value.errors()
    assert sentence in fault["msg"]
    assert "secret7" not in fault["msg"]
