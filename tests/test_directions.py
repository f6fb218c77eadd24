"""The packages depend on each other in one direction, and on no more than they need."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

FORBIDDEN = {
    "rso_core": {"ray", "optuna", "pandas", "altair", "sweeps", "analysis"},
    "analysis": {"torch", "torchvision", "ray", "optuna", "sweeps", "rso_core"},
}
# of the importance of dimensions Optuna has the two usual measures
ALLOWED = {"importances.py": {"optuna"}}


@pytest.mark.parametrize("package", FORBIDDEN)
def test_a_package_imports_nothing_from_above_it(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        assert not _imports(path) & FORBIDDEN[package] - ALLOWED.get(path.name, set()), path


def test_only_the_command_line_uses_the_analysis() -> None:
    paths = [path for path in (ROOT / "sweeps").rglob("*.py") if "analysis" in _imports(path)]
    users = {path.relative_to(ROOT / "sweeps").parts[0] for path in paths}
    assert users == {"report_cli.py", "status_command.py", "watching"}


def test_only_few_modules_know_ray_and_optuna() -> None:
    def users(library: str, *, for_types_too: bool = False) -> set[str]:
        paths = (ROOT / "sweeps").rglob("*.py")
        return {path.name for path in paths if library in _imports(path, for_types_too)}

    assert users("ray", for_types_too=True) == {
        *("ray_executor.py", "ray_connection.py", "ray_crew.py", "ray_machines.py"),
        *("ray_relay.py", "ray_losses.py", "metrics.py", "bench_scheduler_peers.py"),
        "bench_cluster_nodes.py",
        # of sweeps/doctor
        *("command.py", "gathering.py", "probes.py", "probe.py", "on_node.py", "cluster_facts.py"),
        *("server.py", "client.py", "tunnel.py"),  # of sweeps/jobs
    }
    assert users("optuna") == {
        *("search.py", "combination_search.py", "growth.py", "study_trials.py"),
        "told_trials.py",
        *("study_sampler.py", "quick_tpe.py", "study_pruner.py", "own_classes.py"),
        *("studies.py", "journal.py", "study_storage.py", "journal_view.py"),
        *("bench_scheduler_peers.py", "bench_cluster_outcome.py", "study.py"),
    }
    # the driver's trials name its types, but never load it
    only_for_types = users("optuna", for_types_too=True) - users("optuna")
    assert only_for_types == {"trials.py"}


def test_no_module_uses_another_s_underscore_names() -> None:
    for package in ("rso_core", "sweeps", "analysis"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom):
                    assert not any(name.name.startswith("_") for name in node.names), path


def test_help_imports_none_of_the_heavy_libraries() -> None:
    heavy = ("torch", "ray", "optuna", "pandas", "altair", "pydantic", "yaml")
    code = f"import sys, sweeps.cli\nprint([name for name in {heavy} if name in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert out.stdout.strip() == "[]"


def _imports(path: Path, for_types_too: bool = True) -> set[str]:
    """The top-level packages that a file imports anywhere, or all but those for type checking."""
    tree = ast.parse(path.read_text())
    if not for_types_too:
        tree = _AtRunTime().visit(tree)
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found.add(node.module.partition(".")[0])
    return found


class _AtRunTime(ast.NodeTransformer):
    """Leaves out what stands under `if TYPE_CHECKING:`."""

    def visit_If(self, node: ast.If) -> ast.AST | None:
        is_for_types = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        return None if is_for_types and not node.orelse else self.generic_visit(node)
