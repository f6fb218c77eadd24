"""What goes wrong with a run folder."""

from __future__ import annotations


class UnreadableRunFolder(ValueError):  # noqa: N818  (it names what was wrong, as KeyError does not)
    """A folder that cannot be read as a run folder; the message is one line for the user."""
