"""A clock's offset, whatever the network does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.doctor.clocks import Exchange, clock_of

_Delay = st.floats(0.0, 2.0)


def exchange(offset: float, sent: float, there: float, held: float, back: float) -> Exchange:
    """A message with those delays to a clock that is off by so much."""
    received = sent + there + offset
    answered = received + held
    return Exchange(sent, received, answered, answered - offset + back)


@given(
    st.floats(-1000, 1000),
    st.lists(st.tuples(_Delay, _Delay, _Delay), min_size=1, max_size=12),
)
def test_the_true_offset_is_no_further_off_than_is_said(
    offset: float, delays: list[tuple[float, float, float]]
) -> None:
    exchanges = [exchange(offset, float(at), *delay) for at, delay in enumerate(delays)]
    clock = clock_of(exchanges)
    assert abs(clock.offset_s - offset) <= clock.uncertainty_s + 1e-9
    # and all together are at least as certain as the best of them
    assert clock.uncertainty_s <= min(e.uncertainty_s for e in exchanges) + 1e-9


def test_equal_delays_give_the_offset_itself() -> None:
    clock = clock_of([exchange(5.0, 100.0, 0.25, 3.0, 0.25)])
    assert clock.offset_s == pytest.approx(5.0)
    assert clock.uncertainty_s == pytest.approx(0.25)


def test_one_sided_delays_of_several_messages_narrow_it_down() -> None:
    slow_there, slow_back = exchange(1.0, 0.0, 0.5, 0.0, 0.0), exchange(1.0, 9.0, 0.0, 0.0, 0.5)
    clock = clock_of([slow_there, slow_back])
    assert clock.offset_s == pytest.approx(1.0)
    assert clock.uncertainty_s == pytest.approx(0.0)


def test_a_clock_that_is_set_meanwhile_is_told_by_the_most_certain_message() -> None:
    clock = clock_of([exchange(0.0, 0.0, 0.1, 0.0, 0.1), exchange(60.0, 9.0, 0.01, 0.0, 0.01)])
    assert clock.offset_s == pytest.approx(60.0)
    assert clock.uncertainty_s == pytest.approx(0.01)
