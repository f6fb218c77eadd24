"""The trials that a study has under way, for those who look on: by its journal, as it grows."""

from __future__ import annotations

from collections.abc import Mapping

from optuna.storages import JournalStorage

from sweeps.storage.journal_view import JournalView, view_study
from sweeps.storage.places import Place

Points = Mapping[int, Mapping[str, object]]
"""The values that a study keeps of a trial, by the trial's number and the dimension's name."""


class StudyView:
    """Follows the study's journal in a run folder.

    The records say what a run is a configuration of once it has ended; until then the study alone
    knows. One that is kept in a database is not asked: whoever looks on may have no right to it.
    """

    def __init__(self, place: Place) -> None:
        """Reads nothing yet."""
        self._place = place
        self._opened: tuple[JournalStorage, JournalView] | None = None

    def open_trials(self, study_name: str) -> Points:
        """The trials that have not ended; none where the journal cannot tell."""
        try:
            if self._opened is None or self._opened[1].is_outdated:
                self._opened = view_study(self._place)
            storage, _ = self._opened
            study = storage.get_study_id_from_name(study_name)
            trials = storage.get_all_trials(study, deepcopy=False)
        except Exception:
            # it is not there yet, or a line makes optuna stumble, by an assertion too
            self._opened = None
            return {}
        return {
            trial.number: dict(trial.params) for trial in trials if not trial.state.is_finished()
        }
