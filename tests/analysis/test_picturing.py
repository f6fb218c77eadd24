"""Pictures drawn in a process of their own."""

from __future__ import annotations

import subprocess

import pytest

from analysis import picturing
from analysis.picturing import Picture, begin_pictures, picture_of

BAR = {
    "data": {"values": [{"a": 1, "b": 2}]},
    "mark": "bar",
    "encoding": {"x": {"field": "a"}, "y": {"field": "b"}},
}


def test_a_process_of_its_own_draws_the_same_pictures():
    titled = BAR | {"title": "“Größe” </script>"}
    drawn = begin_pictures([BAR, titled])()
    assert [each.svg for each in drawn] == [picture_of(each).svg for each in (BAR, titled)]
    assert all(each.png.startswith(b"\x89PNG") for each in drawn)
    assert all(each.pdf.startswith(b"%PDF") for each in drawn)


@pytest.mark.parametrize(
    "failure",
    [
        OSError("no processes"),
        subprocess.CalledProcessError(1, ["python"]),
        subprocess.CompletedProcess(["python"], 0, stdout=b"no JSON"),
    ],
    ids=["none can be begun", "it fails", "it says something else"],
)
def test_where_no_process_can_draw_them_this_one_does(monkeypatch, failure):
    def run(*_, **__):
        if isinstance(failure, Exception):
            raise failure
        return failure

    monkeypatch.setattr(picturing.subprocess, "run", run)
    (drawn,) = begin_pictures([BAR])()
    assert isinstance(drawn, Picture)
    assert drawn.svg == picture_of(BAR).svg


def test_nothing_is_drawn_without_a_process():
    assert begin_pictures([])() == []
