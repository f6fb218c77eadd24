"""Event files for TensorBoard: a folder for every run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rso_core.records import CycleRecord
from sweeps.loggers.figures import figures, parameters
from sweeps.runs import Run, RunState


class TensorBoardLogger:
    """Scalars by cycle, and the configuration among TensorBoard's HParams; a `RunLogger`.

    A run that is gone on with gets another event file in its folder, which TensorBoard reads after
    the one before.
    """

    def __init__(self, folder: Path) -> None:
        """Loads TensorBoard.

        Args:
            folder: of the sweep; the folders of runs are made in it.
        """
        from torch.utils import tensorboard

        self._writer_class: Any = tensorboard.SummaryWriter
        self._folder = folder
        self._writers: dict[str, Any] = {}

    def run_began(self, run: Run) -> None:
        self._writer(run).flush()

    def cycle_ended(self, run: Run, record: CycleRecord) -> None:
        writer = self._writer(run)
        for name, value in figures(record).items():
            writer.add_scalar(name, value, record.cycle)
        writer.flush()  # a driver that is killed takes nothing with it

    def run_ended(self, run: Run, state: RunState) -> None:
        writer = self._writer(run)
        writer.add_text("state", state)
        writer.file_writer.add_summary(_session_end(state))
        writer.close()
        del self._writers[run.name]

    def close(self) -> None:
        while self._writers:
            _, writer = self._writers.popitem()
            writer.close()

    def _writer(self, run: Run) -> Any:
        if run.name not in self._writers:
            folder = self._folder / run.name
            is_new = not any(folder.glob("events.out.tfevents.*"))
            writer = self._writers[run.name] = self._writer_class(str(folder))
            if is_new:
                writer.file_writer.add_summary(_session_start(run))
        return self._writers[run.name]


def _session_start(run: Run) -> Any:
    """The HParams of a run. Which ones a sweep has TensorBoard finds out from all its runs."""
    from torch.utils.tensorboard.summary import hparams

    _, start, _ = hparams(parameters(run), {})  # type: ignore[no-untyped-call]
    return start


def _session_end(state: RunState) -> Any:
    from tensorboard.plugins.hparams.api_pb2 import Status
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
    from torch.utils.tensorboard.summary import hparams

    _, _, end = hparams({}, {})  # type: ignore[no-untyped-call]
    if state == "failed":  # torch only knows of success
        plugin = end.value[0].metadata.plugin_data
        data = HParamsPluginData.FromString(plugin.content)
        data.session_end_info.status = Status.Value("STATUS_FAILURE")
        plugin.content = data.SerializeToString()
    return end
