"""Reads and writes YAML; when reading, remembers the line on which everything stands."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

Path = tuple[str | int, ...]
"""Keys and list positions from the top to a value."""


_MOST_VALUES = 100_000
"""More than any sweep has; a few aliases of aliases of aliases stand for billions."""


@dataclass(frozen=True, slots=True)
class LocatedYaml:
    """The content of a YAML text, with its lines."""

    content: Any
    """None, a scalar, or lists and dicts of them; keys are texts as written, of two the later."""
    lines: Mapping[Path, int]
    """The line of every key and list item, counted from 1."""
    faults: tuple[tuple[Path, str], ...]
    """Where and why the text cannot be meant so: keys given twice, tags."""


class YamlSyntaxError(ValueError):
    """The text is not YAML."""

    def __init__(self, problem: str, line: int | None) -> None:
        super().__init__(problem, line)
        self.problem = problem
        self.line = line


def read_yaml(text: str) -> LocatedYaml:
    """Reads one YAML document, with the types of YAML 1.2: 1e-3 is a number, `on` a text.

    Raises:
        YamlSyntaxError: the text is not YAML, or more than one document.
    """
    try:
        node = yaml.compose(text, _Loader)
        reading = _Reading()
        content = None if node is None else reading.value(node, ())
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlSyntaxError(f"holds the character {chr(error.character)!r}", line) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = (error.problem or error.context or "cannot be read").replace("\n", " ")
        raise YamlSyntaxError(problem, mark.line + 1 if mark else None) from None
    except RecursionError:
        raise YamlSyntaxError("is nested too deeply", None) from None
    return LocatedYaml(content, reading.lines, tuple(reading.faults))


def write_yaml(content: Any) -> str:
    """YAML that `read_yaml` gives back; innermost lists and mappings on one line each."""
    # characters beyond ASCII are escaped: PyYAML writes some line breaks among them as they are
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, default_flow_style=None)


class _Loader(yaml.SafeLoader):
    """Safe, with the scalars of YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  (PyYAML's own interface)


class _Dumper(yaml.SafeDumper):
    """Quotes what either version of YAML would not read as a text."""


_SCALARS = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?(0|[1-9][0-9_]*)|0x[0-9a-fA-F]+", list("-+0123456789")),
    "float": (
        r"[-+]?([0-9][0-9_]*\.[0-9_]*|\.[0-9]+|[0-9][0-9_]*(?=[eE]))([eE][-+]?[0-9]+)?"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+0123456789."),
    ),
}
for _class in (_Loader, _Dumper):
    for _tag, (_pattern, _first) in _SCALARS.items():
        _class.add_implicit_resolver(
            f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first
        )

_KNOWN_TAGS = {
    f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map")
}


@dataclass
class _Reading:
    """Turns nodes into values, and gathers lines and faults as it goes."""

    lines: dict[Path, int] = field(default_factory=dict)
    faults: list[tuple[Path, str]] = field(default_factory=list)
    n_values: int = 0

    def value(self, node: yaml.Node, path: Path) -> Any:
        line = self.lines.setdefault(path, node.start_mark.line + 1)
        self.n_values += 1
        if self.n_values > _MOST_VALUES:
            raise YamlSyntaxError(f"holds more than {_MOST_VALUES} values", line)
        if node.tag not in _KNOWN_TAGS:
            self.faults.append((path, f"has the tag '{node.tag}', which has no meaning here"))
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self.faults.append((path, "must have texts as keys, not a list or mapping"))
                continue
            key: str = key_node.value
            if key in found:
                earlier = self.lines[(*path, key)]
                self.faults.append(((*path, key), f"is given twice, first in line {earlier}"))
            self.lines[(*path, key)] = line
            found[key] = self.value(value_node, (*path, key))
        return found

    def _scalar(self, node: yaml.Node, path: Path) -> Any:
        loader = _Loader("")
        try:
            return loader.construct_object(node)
        except (ValueError, yaml.YAMLError) as error:  # '!!int x', or an integer of 5000 digits
            reason = str(error).splitlines()[0]
            self.faults.append((path, f"has a value that cannot be read ({reason})"))
            return None
        finally:
            loader.dispose()
