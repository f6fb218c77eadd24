"""The README's two commands, and what continuous integration runs."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def _commands() -> list[str]:
    """The lines of the README's shell blocks that set up a virtual environment."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if "-m venv" in line]


def test_the_readme_has_one_command_for_the_main_job_and_one_for_the_tests() -> None:
    main_job, tests = _commands()
    assert main_job.endswith("rso-sweep run quickstart")
    assert tests.endswith("pytest")


def test_continuous_integration_runs_the_readme_s_test_command() -> None:
    assert _commands()[1] in (ROOT / ".ci" / "run").read_text().splitlines()


def test_the_readme_names_the_source_and_licence_of_the_images() -> None:
    text = (ROOT / "README.md").read_text()
    assert "CC BY-SA 3.0" in text
    assert "MNIST" in text


def test_every_command_that_the_readme_shows_exists() -> None:
    from sweeps.cli import app

    known = {command.callback.__name__ for command in app.registered_commands if command.callback}
    known |= {str(group.name) for group in app.registered_groups}
    shown = set(re.findall(r"rso-sweep ([a-z]+)", (ROOT / "README.md").read_text()))
    assert shown
    assert shown <= known
