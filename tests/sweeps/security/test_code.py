"""No text or file that the packages read can become code."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SOURCES = [
    path
    for package in ("rso_core", "sweeps", "analysis")
    for path in (ROOT / package).rglob("*.py")
]

_FORBIDDEN_NAMES = {"eval", "exec", "compile", "__import__"}
_FORBIDDEN_MODULES = {"pickle", "cPickle", "cloudpickle", "dill", "marshal", "shelve", "joblib"}
_FORBIDDEN_CALLS = {
    *("os.system", "os.popen", "tempfile.mktemp", "yaml.unsafe_load", "yaml.full_load"),
    *("yaml.unsafe_load_all", "yaml.full_load_all", "yaml.load_all", "subprocess.getoutput"),
    *("subprocess.getstatusoutput", "pandas.read_pickle", "pd.read_pickle", "pandas.eval"),
    *("torch.hub.load", "torch.jit.load", "np.fromfile"),
}
_YAML_READERS = {"load", "compose", "parse", "scan", "compose_all"}


def faults(source: str) -> Iterator[str]:
    """What of a module could run a text or the content of a file, each with its line."""
    tree = ast.parse(source)
    safe_loaders = {"yaml.SafeLoader", "SafeLoader", "yaml.CSafeLoader"} | {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and any(ast.unparse(base) in ("yaml.SafeLoader", "SafeLoader") for base in node.bases)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None)
            modules = [module] if module else [alias.name for alias in node.names]
            for name in modules:
                if name.partition(".")[0] in _FORBIDDEN_MODULES:
                    yield f"line {node.lineno}: imports {name}"
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if not _is_safe(called, node, safe_loaders):
                yield f"line {node.lineno}: {ast.unparse(node)}"


def _is_safe(called: str, call: ast.Call, safe_loaders: set[str]) -> bool:
    given = {word.arg: ast.unparse(word.value) for word in call.keywords}
    if called in _FORBIDDEN_NAMES | _FORBIDDEN_CALLS or given.get("shell", "False") != "False":
        return False
    if called == "torch.load":
        return given.get("weights_only") == "True"
    if called in ("np.load", "numpy.load"):
        return given.get("allow_pickle") == "False"
    library, _, function = called.rpartition(".")
    if library == "yaml" and function in _YAML_READERS:
        loader = given.get("Loader") or (
            ast.unparse(call.args[1]) if len(call.args) > 1 else "none"
        )
        return loader in safe_loaders
    return True


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_can_run_what_it_reads(path: Path) -> None:
    assert list(faults(path.read_text())) == []


@pytest.mark.parametrize(
    "source",
    [
        "eval(text)",
        "exec(text, {})",
        "import pickle",
        "from joblib import load",
        "torch.load(file)",
        "torch.load(file, weights_only=False)",
        "np.load(file)",
        "np.load(file, allow_pickle=True)",
        "yaml.load(text, yaml.Loader)",
        "yaml.load(text)",
        "yaml.unsafe_load(text)",
        "class Own(yaml.Loader): ...\nyaml.compose(text, Own)",
        "subprocess.run(command, shell=True)",
        "os.system(command)",
        "tempfile.mktemp()",
    ],
)
def test_what_could_run_is_found(source: str) -> None:
    assert list(faults(source))


@pytest.mark.parametrize(
    "source",
    [
        "re.compile(pattern)",
        "model.eval()",
        "torch.load(file, weights_only=True)",
        "np.load(file, allow_pickle=False)",
        "class Own(yaml.SafeLoader): ...\nyaml.compose(text, Own)",
        "yaml.safe_load(text)",
        "subprocess.run(['ls'])",
    ],
)
def test_what_cannot_run_is_not(source: str) -> None:
    assert not list(faults(source))


def test_the_scan_sees_all_packages() -> None:
    found: Callable[[str], bool] = lambda name: any(path.name == name for path in SOURCES)  # noqa: E731
    assert all(found(name) for name in ("checkpoints.py", "located_yaml.py", "run_folder.py"))
    assert len(SOURCES) > 100
