"""Reads and writes sweep files: one check, and every fault in a line that says what to do."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from rso_core.errors import InvalidInput, nearest
from sweeps.located_yaml import LocatedYaml, Path, YamlSyntaxError, read_yaml, write_yaml
from sweeps.spec import SweepSpec
from sweeps.spec_checks import check_spec
from sweeps.spec_faults import Fault, field_faults, field_name
from sweeps.storage.redaction import redacted

_PROVENANCE = "provenance"
_SHORTHANDS: frozenset[Path] = frozenset({("sampler",), ("pruner",), ("pruner", "wrapped")})
"""The sections that may be written as their name alone."""
_PARTS_OF_A_DIMENSION = ("low", "high", "step", "log", "choices", "value", "when")
_LOOSE_SECTIONS = ("data", "space")
"""Sections of which each key is checked with the rest of the sweep, whatever the others are."""


def load_sweep(path: pathlib.Path, overrides: Sequence[str] = ()) -> SweepSpec:
    """Reads a sweep file.

    Args:
        path: the file, as the user named it; so it stands in the messages.
        overrides: the values of `--set`, such as `budget.cycles=3`; they win over the file, a
            later one over an earlier one.

    Raises:
        InvalidInput: a line for every fault, in the order of the file.
    """
    return parse_sweep(_read_text(path), str(path), overrides)


def parse_sweep(text: str, source_name: str, overrides: Sequence[str] = ()) -> SweepSpec:
    """Checks the text of a sweep file; see `load_sweep`.

    Args:
        text: YAML. A key `provenance`, which a run folder's sweep.yaml has, is ignored.
        source_name: what the messages call the text.
        overrides: as for `load_sweep`.

    Raises:
        InvalidInput: a line for every fault.
    """
    document = _read_document(text, source_name)
    for index, override in enumerate(overrides):
        document = _overridden(
            document, override, _Place((1, index), f"--set {redacted(override)}")
        )
    content = {key: value for key, value in document.content.items() if key != _PROVENANCE}
    try:
        spec = SweepSpec.model_validate(content)
        found: list[Fault] = []
    except ValidationError as error:
        found = field_faults(error, content)
        spec = _sound_part(content, found)
    told = {fault.path for fault in document.faults}
    broken = told | {fault.path for fault in found}
    found = [fault for fault in found if fault.path not in told]
    faults = [*document.faults, *found, *check_spec(spec, content, broken)]
    if faults:
        raise InvalidInput(*_lines(faults, document.places))
    return spec


def dump_sweep(spec: SweepSpec, written: Callable[[Any], Any] = lambda content: content) -> str:
    """The sweep file of a spec, with every default written out; it loads back to an equal spec.

    Args:
        spec: the sweep.
        written: what becomes of the content before it is written.
    """
    content = spec.model_dump()
    if len(spec.objective) == 1:
        (content["objective"],) = content["objective"]
    return write_yaml(written(content))


@dataclass(frozen=True, slots=True)
class _Place:
    """Where something was given."""

    order: tuple[int, int]
    """Lines of the file first, then the overrides, as they were given."""
    text: str


_Places = Mapping[Path, _Place]


@dataclass(frozen=True, slots=True)
class _Document:
    """A sweep file and its overrides, not yet checked."""

    content: Mapping[str, Any]
    places: _Places
    faults: tuple[Fault, ...]


def _read_text(path: pathlib.Path) -> str:
    try:
        if path.is_dir():
            inside = path / "sweep.yaml"
            hint = f"did you mean '{inside}'?" if inside.is_file() else "name the file in it"
            raise InvalidInput(f"sweep file '{path}' is a folder; {hint}")
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InvalidInput(f"sweep file '{path}' does not exist{_file_hint(path)}") from None
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"sweep file '{path}' is not a text in UTF-8 (byte {error.start + 1}); save it as UTF-8"
        ) from None
    except InvalidInput:
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InvalidInput(f"sweep file '{path}' cannot be read ({reason})") from None


def _file_hint(path: pathlib.Path) -> str:
    folder = path.parent
    names = [found.name for found in (*folder.glob("*.yaml"), *folder.glob("*.yml"))]
    hint = nearest(path.name, names)
    return f"; {hint}" if hint.startswith("did") else ""


def _read_document(text: str, source_name: str) -> _Document:
    try:
        read = read_yaml(text)
    except YamlSyntaxError as error:
        where = source_name if error.line is None else f"{source_name}, line {error.line}"
        raise InvalidInput(f"sweep file is not valid YAML: {error.problem} ({where})") from None
    if read.content is None and not read.faults:
        raise InvalidInput(
            f"sweep file is empty; it needs at least 'name' and 'space' ({source_name})"
        )
    if read.content is None and read.faults:
        _, problem = read.faults[0]
        raise InvalidInput(f"sweep file {problem} ({source_name}, line {read.lines[()]})")
    if not isinstance(read.content, dict):
        raise InvalidInput(
            "sweep file must be a mapping with keys such as 'name' and 'space', "
            f"got {_kind(read.content)} ({source_name}, line {read.lines[()]})"
        )
    places = {
        path: _Place((0, line), f"{source_name}, line {line}") for path, line in read.lines.items()
    }
    # what is missing from the whole file has no line
    return _Document(read.content, places | {(): _Place((0, 0), source_name)}, _faults(read))


def _kind(content: object) -> str:
    return "a list" if isinstance(content, list) else repr(content)


def _faults(read: LocatedYaml, within: Path = ()) -> tuple[Fault, ...]:
    return tuple(
        Fault((*within, *path), f"{field_name((*within, *path))} {problem}")
        for path, problem in read.faults
    )


def _overridden(document: _Document, override: str, place: _Place) -> _Document:
    key, equals, text = override.partition("=")
    key = key.strip()
    if not equals or not key:
        return _faulty(document, place, f"'--set' must be KEY=VALUE, got '{override}'")
    try:
        read = read_yaml(text)
    except YamlSyntaxError as error:
        return _faulty(document, place, f"'{key}' is not valid YAML: {error.problem}")
    path: Path = _override_path(key)
    new, old = _outermost_new(path, document.content)
    if isinstance(old, list) and new != path and (len(new) == 1 or new[0] != "space"):
        return _faulty(
            document, place, f"'{key}' would be part of a list; set {field_name(new)} as a whole"
        )
    kept = {at: known for at, known in document.places.items() if at[: len(new)] != new}
    return _Document(
        content=_replaced(document.content, path, read.content),
        places=kept | {path[:n]: place for n in range(len(new), len(path) + 1)},
        faults=(*document.faults, *_faults(read, within=path)),
    )


def _faulty(document: _Document, place: _Place, sentence: str) -> _Document:
    path = ("--set", place.text)  # no key of a sweep file
    return _Document(
        document.content,
        {**document.places, path: place},
        (*document.faults, Fault(path, sentence)),
    )


def _override_path(key: str) -> Path:
    """`space.rso.weight_decay.low` -> space, rso.weight_decay, low; options have dots in them."""
    section, dot, rest = key.partition(".")
    if not dot:
        return (section,)
    if section in ("sampler", "pruner"):
        return (section, *rest.split("."))
    name, _, part = rest.rpartition(".")
    if section == "space" and name and part in _PARTS_OF_A_DIMENSION:
        return (section, name, part)
    return (section, rest)


def _outermost_new(path: Path, content: Any) -> tuple[Path, Any]:
    """How far in of what is around a path nothing is kept when it is set, and what that was."""
    for n, key in enumerate(path, start=1):
        content = content.get(key) if isinstance(content, Mapping) else None
        is_kept = path[:n] in _SHORTHANDS and isinstance(content, str)
        if not (is_kept or isinstance(content, Mapping)):
            return path[:n], content
    return path, content


def _replaced(content: Any, path: Path, value: Any, within: Path = ()) -> Any:
    """A copy of the content with another value at the path; mappings are made where needed."""
    if not path:
        return value
    if isinstance(content, str) and within in _SHORTHANDS:
        content = {"name": content}
    mapping = content if isinstance(content, Mapping) else {}
    key = str(path[0])
    return {**mapping, key: _replaced(mapping.get(key), path[1:], value, (*within, key))}


def _sound_part(content: Mapping[str, Any], faults: Sequence[Fault]) -> SweepSpec:
    """What is left of a sweep file without the fields at fault, so that the rest can be checked."""
    sound = dict(content)
    for fault in faults:
        section, *key = fault.path[:2]
        values = sound.get(str(section))
        if key and section in _LOOSE_SECTIONS and isinstance(values, Mapping):
            sound[str(section)] = {k: v for k, v in values.items() if k != key[0]}
        else:
            sound.pop(str(section), None)
    return SweepSpec.model_validate({"name": "unnamed", "space": {}} | sound)


def _lines(faults: Sequence[Fault], places: _Places) -> tuple[str, ...]:
    placed = [(_place(fault.path, places), fault.sentence) for fault in faults]
    placed.sort(key=lambda item: item[0].order)
    return tuple(dict.fromkeys(f"{sentence} ({place.text})" for place, sentence in placed))


def _place(path: Path, places: _Places) -> _Place:
    """The place of the path itself, or of the innermost thing around it that has one."""
    return next(places[path[:n]] for n in range(len(path), -1, -1) if path[:n] in places)
