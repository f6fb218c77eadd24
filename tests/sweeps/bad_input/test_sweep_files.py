"""Sweep files and command lines that cannot be meant so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.presets import preset_names

Refused = Callable[..., None]

_KEYS = (
    "valid: budget, checkpoints, constraints, data, first, limits, logging, name, "
    "objective, output, pruner, repetitions, resources, sampler, seed, seeds, space, stop, "
    "study, trials, warm_start"
)
_SAMPLERS = "grid, random, tpe, gp, cmaes, nsga2, nsga3, qmc, brute_force or module:Class"
_PRUNERS = (
    "none, median, percentile, successive_halving, hyperband, threshold, patient, wilcoxon "
    "or module:Class"
)
_NAME = "must be 1 to 100 letters, digits, '-', '_' and '.', since a folder is named after it"

# what stands in a file, and what is said about it
BAD_FILES: list[tuple[str, bytes, str]] = [
    (
        "nothing",
        b"# only a comment\n",
        "sweep file is empty; it needs at least 'name' and 'space' (bad.yaml)",
    ),
    (
        "a list",
        b"- name\n",
        "sweep file must be a mapping with keys such as 'name' and 'space', got a list "
        "(bad.yaml, line 1)",
    ),
    (
        "an image",
        b"\x89PNG\r\n\x1a\n\x00",
        "sweep file 'bad.yaml' is not a text in UTF-8 (byte 1); save it as UTF-8",
    ),
    (
        "a control character",
        b"name: x\nspace: \x07\n",
        "sweep file is not valid YAML: holds the character '\\x07' (bad.yaml, line 2)",
    ),
    (
        "an open bracket",
        b"name: x\nspace: [\n",
        "sweep file is not valid YAML: expected the node content, but found '<stream end>' "
        "(bad.yaml, line 3)",
    ),
    (
        "two documents",
        b"name: x\n---\nname: y\n",
        "sweep file is not valid YAML: but found another document (bad.yaml, line 2)",
    ),
    (
        "brackets without end",
        b"[" * 2000,
        "sweep file is not valid YAML: is nested too deeply (bad.yaml)",
    ),
    (
        "an object",
        b"!!python/object/apply:os.system [exit]\n",
        "sweep file has the tag 'tag:yaml.org,2002:python/object/apply:os.system', "
        "which has no meaning here (bad.yaml, line 1)",
    ),
    (
        "an alias of itself",
        b"name: x\nspace: &space [*space]\n",
        "sweep file is not valid YAML: is nested too deeply (bad.yaml)",
    ),
    (
        "aliases that stand for billions",
        b"a: &a [1,1,1,1,1,1,1,1,1]\n"
        + b"".join(
            b"%c: &%c [%s]\n" % (letter, letter, b",".join([b"*%c" % (letter - 1)] * 9))
            for letter in b"bcdefghij"
        ),
        "sweep file is not valid YAML: holds more than 100000 values (bad.yaml, line 1)",
    ),
]


@pytest.mark.parametrize(("content", "message"), [bad[1:] for bad in BAD_FILES],
                         ids=[bad[0] for bad in BAD_FILES])  # fmt: skip
@pytest.mark.timeout(20)
def test_a_file_that_is_no_sweep_file_is_refused(
    refused: Refused, content: bytes, message: str
) -> None:
    Path("bad.yaml").write_bytes(content)
    refused(["run", "bad.yaml"], message)


def test_a_folder_in_place_of_a_file_is_refused_with_the_file_in_it(refused: Refused) -> None:
    Path("bad.yaml").mkdir()
    refused(["check", "bad.yaml"], "sweep file 'bad.yaml' is a folder; name the file in it")
    Path("bad.yaml/sweep.yaml").write_text("name: x\n")
    refused(
        ["check", "bad.yaml"],
        "sweep file 'bad.yaml' is a folder; did you mean 'bad.yaml/sweep.yaml'?",
    )


# `--set`, and what is said about it; each message ends with the place
BAD_VALUES = [
    (
        "checkpoints.every=3",
        "'checkpoints.every' is not a key of 'checkpoints', did you mean 'every_s'?",
    ),
    ("limits.attempt=3", "'limits.attempt' is not a key of 'limits', did you mean 'attempts'?"),
    ("study.storge=x", "'study.storge' is not a key of 'study', did you mean 'storage'?"),
    ("wanted=x", f"'wanted' is not a key of a sweep file; {_KEYS}"),
    ("checkpoints.every_s=0", "'checkpoints.every_s' must be a number of more than 0, got 0"),
    (
        "checkpoints.every_s=often",
        "'checkpoints.every_s' must be a number of more than 0, got 'often'",
    ),
    (
        "checkpoints=often",
        "'checkpoints' must be a mapping with keys such as 'every_s', got 'often'",
    ),
    ("limits.attempts=0", "'limits.attempts' must be an integer of at least 1, got 0"),
    ("limits.run_s=-1", "'limits.run_s' must be a number of more than 0 or null, got -1"),
    ("name=../x", f"'name' {_NAME}, got '../x'"),
    ("name=3", "'name' must be a text, got 3; write it in quotes"),
    ("study.name=a/b", f"'study.name' {_NAME}, got 'a/b'"),
    ("output=''", "'output' must be a non-empty text or null, got ''"),
    ("seeds=[1, 1]", "'seeds' must list every seed once, got 1 again"),
    (
        "seeds=0",
        "'seeds' must be a number of seeds from 1 to 10000 or a list of seeds, got 0",
    ),
    ("trials=0", "'trials' must be an integer of at least 1 or null, got 0"),
    ("sampler=gird", f"'sampler' must be {_SAMPLERS}, got 'gird'; did you mean 'grid'?"),
    (
        "sampler=random",
        "'trials' is missing; sampler 'random' needs a number of trials, an integer of at least 1",
    ),
    ("pruner=medain", f"'pruner' must be {_PRUNERS}, got 'medain'; did you mean 'median'?"),
    (
        "objective.direction=up",
        "'objective.direction' must be maximize or minimize, got 'up'",
    ),
    (
        "resources.gpus_per_run=1.5",
        "'resources.gpus_per_run' must be at most 1 or a whole number, got 1.5",
    ),
    ("budget.cycles=1.5", "'budget.cycles' must be an integer of at least 1, got 1.5"),
    (
        "data.train_size=60000",
        "'data.train_size' must be at most 59950 (60000 training images of mnist less 50 for "
        "validation), got 60000",
    ),
    (
        "data.validation_size=0",
        "'objective.metric' validation_accuracy needs validation images, but "
        "'data.validation_size' is 0; hold some out, or choose test_accuracy",
    ),
    (
        "space.learning_rate={low: 0.1}",
        "'space.learning_rate.high' is missing; it must be an integer or a number",
    ),
    (
        "space.learning_rate={low: 1, high: 0.1}",
        "'space.learning_rate' must have 'low' <= 'high', got 1 > 0.1",
    ),
    ("space.learning_rate=.nan", "'space.learning_rate' must be finite, got nan"),
    ("space.learning_rate=[]", "'space.learning_rate' must list at least one value, got []"),
    (
        "space.lerning_rate=0.1",
        "'space.lerning_rate' is not an option of sgd; did you mean 'learning_rate'?",
    ),
    (
        "space.batch_size=[25, big]",
        "'space.batch_size' must be an integer from 1 to 100, got 'big'",
    ),
    (
        "space.architecture=mlp(0)",
        "'space.architecture' must give mlp its hidden sizes as integers of at least 1, "
        "such as 'mlp(64,32)', got 'mlp(0)'",
    ),
    (
        "space.architecture=own: network",
        "'space.architecture' must be a name or a list of names, got {'own': 'network'}; "
        "did you mean 'own:network'?",
    ),
    ("nonsense", "'--set' must be KEY=VALUE, got 'nonsense'"),
    (
        "space.architecture=[",
        "'space.architecture' is not valid YAML: expected the node content, "
        "but found '<stream end>'",
    ),
    (
        "study.storage=studies.db",
        "'study.storage' must be an RDB address or grpc://HOST:PORT, got 'studies.db'; "
        "an example: postgresql+psycopg://USER:${DB_PASSWORD}@HOST/DATABASE",
    ),
    (
        "study.storage=oracle://host/studies",
        "'study.storage' must be a PostgreSQL, MySQL or SQLite address, "
        "got 'oracle://host/studies'; valid: grpc, mysql, postgresql, sqlite",
    ),
    (
        "study.storage=grpc://host:99999",
        "'study.storage' must be grpc://HOST:PORT, got 'grpc://host:99999'",
    ),
    (
        "study.storage=sqlite:///${HOME",
        "'study.storage' must refer to environment variables as ${NAME}, got 'sqlite:///${HOME'",
    ),
    ("study.storage=3", "'study.storage' must be a non-empty text or null, got 3"),
]


@pytest.mark.parametrize(("override", "message"), BAD_VALUES, ids=[bad[0] for bad in BAD_VALUES])
def test_a_bad_value_is_refused_with_its_place(
    refused: Refused, override: str, message: str
) -> None:
    refused(["check", "small.yaml", "--set", override], f"{message} (--set {override})")


def test_the_address_of_a_study_is_checked_with_the_rest_and_its_line_is_told(
    refused: Refused,
) -> None:
    text = Path("small.yaml").read_text()
    Path("bad.yaml").write_text(f"{text}limits:\n  attempts: 0\nstudy:\n  storage: postgres//x\n")
    refused(
        ["check", "bad.yaml"],
        "'limits.attempts' must be an integer of at least 1, got 0 (bad.yaml, line 10)",
        "'study.storage' must be an RDB address or grpc://HOST:PORT, got 'postgres//x'; "
        "an example: postgresql+psycopg://USER:${DB_PASSWORD}@HOST/DATABASE (bad.yaml, line 12)",
    )


def test_a_refused_override_is_shown_without_its_password(refused: Refused) -> None:
    refused(
        ["check", "small.yaml", "--set", "study.storage=postgresql://rso:hunter2@h:port/d"],
        "'study.storage' must be an address whose port is a number and whose password has its "
        "special characters percent-encoded, got 'postgresql://rso:***@h:port/d'; or give the "
        "password as ${NAME}, which needs no encoding "
        "(--set study.storage=postgresql://rso:***@h:port/d)",
    )


BAD_LINES = [
    (["run", ""], f"'' is neither a preset nor a file; valid: {', '.join(preset_names())}"),
    (["run", "x" * 300], f"'{'x' * 300}' is neither a preset nor a file; valid: ablations, ..."),
    (
        ["run", f"{'x' * 300}.yaml"],
        f"sweep file '{'x' * 300}.yaml' cannot be read (File name too long)",
    ),
    (
        ["run", "smal\nl.yaml"],
        "sweep file 'smal\\nl.yaml' does not exist; did you mean 'small.y...",
    ),
    (["run", "\x1b[31m"], "'\\x1b[31m' is neither a preset nor a file; valid: ablations, ..."),
    (["run", "small.yaml", "--executor", "cloud"], "Invalid value for '--executor': ..."),
    (["resume"], "Missing argument 'DIR|JOB'; see 'rso-sweep resume --help'"),
    (["bench", "nothing"], "No such command 'nothing'; see 'rso-sweep bench --help'"),
    (
        ["bench", "engine", "--network", "one_cnv"],
        "'--network' must be a network, got 'one_cnv'; did you mean 'one_conv'?",
    ),
    (["train", "--batch-size", "many"], "Invalid value for '--batch-size': ..."),
    (["train", "--set", "data.name=3"], "'data.name' must be a text, got 3"),
    (
        ["train", "--set", "perturbation_std=["],
        "'--set perturbation_std=[' is not valid YAML: expected the node content, "
        "but found '<stream end>'",
    ),
]


@pytest.mark.parametrize(
    ("arguments", "message"), BAD_LINES, ids=[str(b[0])[:60] for b in BAD_LINES]
)
def test_a_bad_command_line_is_refused(
    refused: Refused, arguments: list[str], message: str
) -> None:
    refused(arguments, message)


BAD_CLUSTERS = [
    ("nonsense", "must be HOST:PORT of a running Ray cluster, or auto, got 'nonsense'..."),
    ("", "must be HOST:PORT of a running Ray cluster, or auto, got ''..."),
    (":6379", "must be HOST:PORT of a running Ray cluster, or auto, got ':6379'..."),
    ("127.0.0.1:port", "must be HOST:PORT of a running Ray cluster, or auto, got '127.0.0.1:po..."),
    ("ray://nonsense", "must be HOST:PORT of a running Ray cluster, or auto, got 'ray://nonsen..."),
    ("127.0.0.1:99999", "must be a running Ray cluster, got '127.0.0.1:99999' (..."),
    ("nowhere.invalid:6379", "must be a running Ray cluster, got 'nowhere.invalid:6379' (..."),
]


@pytest.mark.parametrize(("address", "message"), BAD_CLUSTERS, ids=[b[0] for b in BAD_CLUSTERS])
def test_an_address_without_a_cluster_is_refused(
    refused: Refused, address: str, message: str
) -> None:
    refused(["run", "small.yaml", "--address", address], f"'--address' {message}")
