"""What goes wrong with a run folder."""

from __future__ import annotations


class UnreadableRunFolder(ValueError):  # noqa: N818  (it names what was wrong, as KeyError does not)
    """A folder that cannot be read as a run folder; the message is one line for the user."""


class NoSuchFile(ValueError):  # noqa: N818  (it names what was wrong)
    """A file of a report that was asked for by name, and is none of it; one line for the user."""
