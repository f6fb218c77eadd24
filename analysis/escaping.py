"""Text from run folders, made harmless: in Markdown, LaTeX, spreadsheets and pictures."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

_COMPUTED = tuple("=+-@＝＋－＠")
"""What a formula may begin with; some spreadsheets take the wide forms as well."""

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    '"': "''",
    "±": r"$\pm$",
    "−": "$-$",
    "×": r"$\times$",
    "—": "---",
    "–": "--",
    "…": r"\dots{}",
    "’": "'",
    "\N{NO-BREAK SPACE}": "~",
}


def markdown_text(text: str) -> str:
    """A line of text that stays in its cell, and is neither markup nor a link."""
    # underscores stay: inside a word they mean nothing, and names are easier to read without \
    # and so does a < that no tag begins with, as in <0.001
    escaped = re.sub(r"([\\|*`]|<(?=[A-Za-z/!?]))", r"\\\1", " ".join(text.split()))
    # brackets mean something only before others: a link, or a picture from elsewhere
    return re.sub(r"\](?=[(\[:])", r"\\]", escaped)


def csv_text(value: Any) -> Any:
    """A cell that a spreadsheet shows: behind an apostrophe if it would compute it."""
    if not isinstance(value, str) or _is_number(value):
        return value
    return f"'{value}" if value.lstrip().startswith(_COMPUTED) else value


def printable_text(text: str) -> str:
    """A line of text without control characters, which a picture (XML) cannot hold."""
    return "".join(
        c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(text.split())
    )


def latex_text(text: str) -> str:
    """Text that any LaTeX engine prints as it is, or as near as its fonts allow."""
    return "".join(_latex_character(character) for character in text)


def latex_cells(cells: Sequence[str]) -> list[str]:
    """The cells of a row, as `latex_text`."""
    first, *rest = (latex_text(cell) for cell in cells)
    # the line break or the rule before it would take these two as its own
    return [f"{{}}{first}" if first.startswith(("[", "*")) else first, *rest]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _latex_character(character: str) -> str:
    if character in _LATEX:
        return _LATEX[character]
    if character.isascii():
        return character if character.isprintable() else " "
    # LaTeX stops at a character that its fonts lack: the plain letters of it, or a mark
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return "".join(_LATEX.get(letter, letter) for letter in plain) or "?"
