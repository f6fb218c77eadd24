"""No password and no token gets into a text that is kept or shown."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sweeps.storage import redaction
from sweeps.storage.redaction import (
    hide,
    hide_secrets_of,
    redacted,
    redacted_address,
    without_secrets,
)


@pytest.fixture(autouse=True)
def _nothing_hidden_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_HIDDEN_BY_CALLERS", set())


@pytest.mark.parametrize(
    ("text", "without"),
    [
        ("postgresql://rso:pw@db/s", "postgresql://rso:***@db/s"),
        ("postgresql+psycopg://rso:p%40w%2F@db:5432/s", "postgresql+psycopg://rso:***@db:5432/s"),
        ("postgresql://rso:a/b?c#d@e@db:5432/s", "postgresql://rso:***@db:5432/s"),
        ("postgresql://rso@server:pw@db/s", "postgresql://rso@server:***@db/s"),
        ("redis://:pw@cache:6379/0", "redis://:***@cache:6379/0"),
        ("postgresql://rso:p'w@db/s", "postgresql://rso:***@db/s"),
        (
            "got 'mysql://a:b@c/d' and 'mysql://e:f@g/h'",
            "got 'mysql://a:***@c/d' and 'mysql://e:***@g/h'",
        ),
        ("a://u:p@h,b://v:q@i", "a://u:***@h,b://v:***@i"),
        ('{"a":"a://u:p@h","b":"b://v:q@i"}', '{"a":"a://u:***@h","b":"b://v:***@i"}'),
        ("first\nmysql://a:b@c\nlast", "first\nmysql://a:***@c\nlast"),
        ("https://ghp_0123@github.com/x.git", "https://***@github.com/x.git"),
        ("git+https://ghp_0123@github.com/x.git", "git+https://***@github.com/x.git"),
        ("https://ghp_0123:x-oauth-basic@github.com", "https://***:x-oauth-basic@github.com"),
        ("https://oauth2:glpat-0@gitlab.com/x", "https://oauth2:***@gitlab.com/x"),
        ("https://user:80/21@host", "https://user:***@host"),
    ],
)
def test_the_password_of_a_url_is_hidden(text: str, without: str) -> None:
    assert redacted(text) == without


@pytest.mark.parametrize(
    ("text", "without"),
    [
        ("https://h/x?token=abc&n=1", "https://h/x?token=***&n=1"),
        ("https://h/x?n=1&Password=abc", "https://h/x?n=1&Password=***"),
        ("postgresql://h/d?user=u&password=a'b&x=1", "postgresql://h/d?user=u&password=***&x=1"),
        (
            "pg://h/d?sslpassword=a&sslkey=b&sslmode=c",
            "pg://h/d?sslpassword=***&sslkey=***&sslmode=c",
        ),
        (
            "http://h?client_secret=a&key=b&passwd=c",
            "http://h?client_secret=***&key=***&passwd=***",
        ),
        ("http://h?access_token=a#access_token=b", "http://h?access_token=***#access_token=***"),
        (
            "see 'https://b.s3.amazonaws.com/k?X-Amz-Credential=AKIA%2F1&X-Amz-Signature=0f&e=1'",
            "see 'https://b.s3.amazonaws.com/k?X-Amz-Credential=***&X-Amz-Signature=***&e=1'",
        ),
        ("host=db password=abc user=u", "host=db password=*** user=u"),
        ("password = 'a b\\' c' host=db", "password = *** host=db"),
        ("connect(user='u', password='abc')", "connect(user='u', password=***)"),
        ("PGPASSWORD=abc psql", "PGPASSWORD=*** psql"),
        ("{'password': 'abc', 'n': 1}", "{'password': '***', 'n': 1}"),
    ],
)
def test_secret_parameters_and_keywords_are_hidden(text: str, without: str) -> None:
    assert redacted(text) == without


@pytest.mark.parametrize(
    "text",
    [
        "",
        "postgresql://rso@db/s",
        "http://host.org:8080/people/someone@elsewhere",
        "http://127.0.0.1:8265/#/jobs",
        "http://[::1]:80/x@y",
        "ssh://git@github.com/x",
        "s3://bucket/path:with@signs",
        "someone@example.org: hello",
        "--set KEY=VALUE budget.cycles=3",
        "sorted(rows, key=len)",
        "wrong password: check it",
        "12:30:00 trial 3 at 0.5",
        "postgresql://rso:${DB_PASSWORD}@db/s?sslpassword=${SSL}",
        "password=",
        "postgresql://rso:@db/s",
        "the tokens=5 of max_tokens=7",
    ],
)
def test_what_holds_no_secret_stays_as_it_is(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.parametrize(
    "name",
    [
        *("PGPASSWORD", "MYSQL_PWD", "MY_PASSWD", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY"),
        *("AWS_ACCESS_KEY_ID", "HF_TOKEN", "GITHUB_TOKEN", "DB_CREDENTIALS", "SSH_PRIVATE_KEY"),
        *("client_secret", "APIKEY", "GPG_PASSPHRASE"),
    ],
)
def test_the_value_of_a_secret_variable_is_hidden(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "tr0ub4dor&3")
    assert redacted("a tr0ub4dor&3, tr0ub4dor%263 and xtr0ub4dor&3y") == "a ***, *** and x***y"


@pytest.mark.parametrize("name", ["HOME", "PWD", "SSH_AUTH_SOCK", "TOKENIZERS_PARALLELISM", "KEYS"])
def test_the_value_of_another_variable_is_not(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "tr0ub4dor&3")
    assert redacted("a tr0ub4dor&3") == "a tr0ub4dor&3"


@pytest.mark.parametrize("value", ["true", "abc", "postgres", "password", "      ", "*******", ""])
def test_a_short_or_common_value_spoils_no_text(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("A_PASSWORD", value)
    text = f"postgresql: password {value}, user postgres"
    assert redacted(text) == text


def test_a_word_is_hidden_only_where_it_is_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_PASSWORD", "weight")
    assert redacted("weight weights reweight (weight)") == "*** weights reweight (***)"


def test_a_path_to_a_secret_is_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path))
    assert redacted(f"in {tmp_path}") == f"in {tmp_path}"


def test_a_secret_of_many_lines_is_hidden_also_in_one_and_line_by_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = ["-----BEGIN PRIVATE KEY-----", "MIIEvQIBADANBgkqhkiG9w0", "-----END PRIVATE KEY-----"]
    monkeypatch.setenv("MY_PRIVATE_KEY", "\n".join(lines))
    for text in ("\n".join(lines), " ".join(lines), repr("\n".join(lines)), lines[1]):
        assert "MIIE" not in redacted(f"got {text}.")


def test_a_secret_given_to_hide_is_hidden_from_then_on() -> None:
    assert redacted("hunter2") == "hunter2"
    hide("hunter2")
    assert redacted("is hunter2") == "is ***"


def test_the_secrets_of_an_address_are_hidden_outside_of_it_too() -> None:
    hide_secrets_of("postgresql://rso:hunter%402/x@db.example.org:5432/s?sslpassword=hunter%233")
    text = "hunter@2/x hunter%402/x hunter%402%2Fx hunter#3 db.example.org rso"
    assert redacted(text) == "*** *** *** *** db.example.org rso"


def test_an_address_may_have_a_password_with_spaces_and_no_scheme() -> None:
    assert redacted_address("postgresql://rso:my pass@db:x/s") == "postgresql://rso:***@db:x/s"
    assert redacted_address("rso:my pass@db") == "rso:***@db"
    assert redacted_address("grpc://db:13000") == "grpc://db:13000"


def test_nested_content_is_redacted_at_any_depth_and_left_unchanged_itself() -> None:
    content = {
        "study": {"storage": "mysql://a:b@c", "password": "x y", "n": 1},
        "command": ["run", "--set", "s=mysql://a:b@c"],
        "pair": ("mysql://a:b@c", 0.5),
        "mysql://a:b@c": None,
        "token": "${TOKEN}",
        "n_tokens": "7",
        3: True,
    }
    before = repr(content)

    assert without_secrets(content) == {
        "study": {"storage": "mysql://a:***@c", "password": "***", "n": 1},
        "command": ["run", "--set", "s=mysql://a:***@c"],
        "pair": ("mysql://a:***@c", 0.5),
        "mysql://a:***@c": None,
        "token": "${TOKEN}",
        "n_tokens": "7",
        3: True,
    }
    assert repr(content) == before


# --- properties ----------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        *("://", "postgresql", "https", "user", "password", "token", "key", "secret", "hunter2"),
        *("***", "${A}", "x-oauth-basic", "8080", "s3cr3t+", "%40", "a", "é", "\ud800", "\0"),
        *":@/?#&=*%,.'\"\\[] \n",
    ]
)
TEXTS = st.one_of(st.lists(PIECES, max_size=30).map("".join), st.text())


@given(text=TEXTS, secrets=st.lists(TEXTS, max_size=3))
@example(text="https://hunter2://u:p@h", secrets=["https://"])
@example(text="a***b1", secrets=["***b1***", "a***b1"])
def test_redacting_a_second_time_changes_nothing(text: str, secrets: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redaction, "_HIDDEN_BY_CALLERS", set())
        patch.setenv("A_PASSWORD", "s3cr3t+")
        for secret in secrets:
            hide(secret)
            hide_secrets_of(secret)
        once = redacted(text)
        assert redacted(once) == once


PASSWORD_CHARACTERS = "abcXYZ019/?#@%&=+!$^~.,;-_()[]{}'\"<>|\\é"


@given(
    password=st.text(PASSWORD_CHARACTERS, min_size=1),
    scheme=st.sampled_from(["postgresql", "mysql+pymysql", "redis", "https", "s3"]),
    before=st.sampled_from(["", "got '", "a b://c "]),
)
def test_no_password_is_left_in_a_url(password: str, scheme: str, before: str) -> None:
    ambiguous = any(quote + end in password for quote in "'\"" for end in ",;)]}")
    marked = f"{'' if ambiguous else password}Qq7"
    for written in (marked, quote(marked, safe="")):
        hidden = redacted(f"{before}{scheme}://rso:{written}@db.example.org/s")
        assert hidden == f"{before}{scheme}://rso:***@db.example.org/s"


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "a://",
        "a://b:",
        "a://b:c@",
        "password=",
        "password='",
        "'",
        "?key=",
        "=",
        "@",
        "a-",
        "*",
    ],
)
def test_long_texts_take_no_long_time(text: str) -> None:
    begun = time.monotonic()
    redacted(text * (100_000 // len(text)))
    redacted("postgresql://u:" + text * (100_000 // len(text)))
    assert time.monotonic() - begun < 5
