"""A run folder that is looked at again and again, and read again only where it has changed."""

from __future__ import annotations

from dataclasses import dataclass

from analysis import UnreadableRunFolder, load
from sweeps.storage.places import StorageFailed, open_place
from sweeps.watching.moment import Moment, Stamps, driver_of, last_written, now, record_stamps
from sweeps.watching.standing import Standing, standing
from sweeps.watching.study import StudyView


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look at a run folder has shown."""

    standing: Standing
    moment: Moment
    is_new: bool
    """Whether it differs from the look before in more than the time."""

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to be trained, and nobody there who might."""
        return self.standing.counts.is_complete and not self.moment.driver.is_alive


class WatchedFolder:
    """A run folder, here or at an address, whose sweep may be under way."""

    def __init__(self, folder: str) -> None:
        """Reads nothing yet.

        Raises:
            InvalidInput: it cannot be an address of a run folder.
            UnreadableRunFolder: its storage cannot be reached.
        """
        try:
            self._place = open_place(folder)
        except StorageFailed as error:
            raise UnreadableRunFolder(str(error)) from error
        self._folder = folder
        self._study = StudyView(self._place)
        self._stamps: Stamps = {}
        self._is_settled = False
        self._standing: Standing | None = None
        self._before: tuple[object, ...] | None = None

    def look(self) -> Seen:
        """What is there now.

        A file that cannot be read now could be read before, or it would not be a run folder: it
        is being written, or its storage is away. What was read last is shown then, with a note.

        Raises:
            UnreadableRunFolder: it is not a run folder, at the first look.
        """
        note = None
        try:
            has_changed = self._read_anew()
        except (UnreadableRunFolder, StorageFailed) as error:
            if self._standing is None:
                raise UnreadableRunFolder(str(error)) from error
            has_changed, note = False, f"{error}; it is tried again"
        assert self._standing is not None
        sweep = self._standing.frames.sweeps[0]
        study = sweep.specification.get("study")
        name = study.get("name") if isinstance(study, dict) else None
        moment = Moment(
            now=now(),
            driver=driver_of(self._place),
            points=self._study.open_trials(str(name or sweep.name)),
            last_record_at=last_written(self._stamps),
            note=note,
        )
        compared = (moment.driver.is_alive, sorted(moment.points), note)
        is_new = has_changed or compared != self._before
        self._before = compared
        return Seen(self._standing, moment, is_new)

    def _read_anew(self) -> bool:
        """Reads the records if they may have changed; whether they have."""
        stamps = record_stamps(self._place)
        has_changed = self._standing is None or stamps != self._stamps
        # two changes may have the same time, of which the first alone was read: once more then;
        # and where a storage does not say when, each time
        is_known = self._is_settled and None not in stamps.values()
        if has_changed or not is_known:
            self._standing = standing(load(self._folder))
            self._stamps = stamps
        self._is_settled = not has_changed
        return has_changed
