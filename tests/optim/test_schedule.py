"""Learning rates at their edges, against the papers' equations, and for any line."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from ramify.optim.schedule import (
    START,
    Asked,
    Constant,
    Cooldown,
    Cosine,
    Leaving,
    Schedule,
    decayed,
    rate,
    warmup_of,
)

B = 100  # tokens of a batch
TRUNK = Constant(peak=1e-3, warmup=1000)
PEAKS = st.floats(1e-6, 1.0)
FINALS = st.floats(0, 1)
NAMED = ("sqrt", "linear", "square", "cosine", "mirror_cosine")
SHAPES = st.one_of(st.sampled_from(NAMED), st.floats(0.05, 8.0))
COOLDOWNS = st.one_of(
    st.builds(Cooldown, shape=SHAPES, final=FINALS),
    st.builds(Cooldown, shape=st.just("exp"), final=st.floats(1e-6, 1)),
)
TRUNKS = st.builds(Constant, peak=PEAKS, warmup=st.integers(0, 10**6))


@st.composite
def branches(draw: st.DrawFn) -> Leaving:
    """Draw a cooldown off a trunk, anywhere after its warm-up."""
    trunk = draw(TRUNKS)
    leaves = trunk.warmup + draw(st.integers(0, 10**13))
    ends = leaves + draw(st.integers(1, 10**13))
    return draw(COOLDOWNS).leaving(trunk, leaves_at=leaves, ends_at=ends)


@pytest.mark.parametrize(
    ("schedule", "tokens", "expected"),
    [
        (TRUNK, 0, 1e-5),  # peak / 100
        (TRUNK, 500, 0.5 * 1e-3 + 0.5 * 1e-5),
        (TRUNK, 1000 - B, 0.9 * 1e-3 + 0.1 * 1e-5),  # the last step of the warm-up
        (TRUNK, 1000, 1e-3),
        (TRUNK, 11 * 10**12, 1e-3),
        (Constant(peak=1e-3), 0, 1e-3),  # no warm-up
        (Cosine(peak=2e-3, warmup=1000, horizon=9000), 0, 2e-5),
        (Cosine(peak=2e-3, warmup=1000, horizon=9000), 1000, 2e-3),
        (Cosine(peak=2e-3, warmup=1000, horizon=9000), 5000, 2e-3 * 0.55),
        (Cosine(peak=2e-3, warmup=1000, horizon=9000), 9000, 2e-4),
        (Cosine(peak=2e-3, warmup=1000, horizon=9000), 9001, 2e-4),
    ],
)
def test_a_trunk_and_a_cosine_have_these_rates_at_their_edges(
    schedule: Schedule, tokens: int, expected: float
) -> None:
    assert rate(schedule, tokens) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("shape", "final", "tokens", "share"),
    [
        ("linear", 0.0, 8000 - B, 1.0),
        ("linear", 0.0, 8000, 1.0),  # the leaving point: the trunk's next step
        ("linear", 0.0, 8000 + B, 0.95),
        ("linear", 0.0, 9000, 0.5),
        ("linear", 0.0, 10_000 - B, 0.05),  # the last step
        ("linear", 0.0, 10_000, 0.0),
        ("linear", 0.0, 10_001, 0.0),  # one past the end
        ("linear", 0.1, 10_000 - B, 0.1 + 0.9 * 0.05),
        ("linear", 0.1, 10_000, 0.1),
        ("sqrt", 0.0, 8000, 1.0),
        ("sqrt", 0.0, 8500, 0.5),
        ("sqrt", 0.0, 10_000 - B, 1 - math.sqrt(0.95)),
        ("sqrt", 0.0, 10_000, 0.0),
        ("sqrt", 0.2, 8500, 0.6),
        ("sqrt", 0.2, 10_001, 0.2),
        ("square", 0.0, 8000, 1.0),
        ("square", 0.0, 9000, 0.75),
        ("square", 0.0, 10_000 - B, 1 - 0.95**2),
        ("square", 0.0, 10_000, 0.0),
        ("square", 0.2, 9000, 0.2 + 0.8 * 0.75),
        ("cosine", 0.0, 8000, 1.0),
        ("cosine", 0.0, 8500, 0.5 + 0.25 * math.sqrt(2)),
        ("cosine", 0.0, 9000, 0.5),
        ("cosine", 0.0, 10_000 - B, 0.5 + 0.5 * math.cos(0.95 * math.pi)),
        ("cosine", 0.0, 10_001, 0.0),
        ("mirror_cosine", 0.0, 8000, 1.0),
        ("mirror_cosine", 0.0, 8500, 1.5 - (0.5 + 0.25 * math.sqrt(2))),  # 2·linear - cosine
        ("mirror_cosine", 0.0, 9000, 0.5),
        ("mirror_cosine", 0.0, 10_000, 0.0),
        ("mirror_cosine", 0.1, 10_001, 0.1),
        (0.1, 0.0, 8000 + B, 1 - 0.05**0.1),
        (0.1, 0.0, 10_000, 0.0),
        (3.0, 0.0, 9000, 1 - 0.125),
        (3.0, 0.5, 10_000, 0.5),
        ("exp", 0.01, 8000, 1.0),
        ("exp", 0.01, 9000, 0.1),
        ("exp", 0.01, 10_000, 0.01),
        ("exp", 0.01, 10_001, 0.01),
    ],
)
def test_a_cooldown_has_these_rates_at_its_edges(
    shape: str | float, final: float, tokens: int, share: float
) -> None:
    cooldown = Cooldown.model_validate({"shape": shape, "final": final})
    branch = cooldown.leaving(TRUNK, leaves_at=8000, ends_at=10_000)
    assert rate(branch, tokens) == pytest.approx(share * 1e-3, rel=1e-12, abs=1e-18)


@settings(deadline=None)
@given(
    peak=PEAKS,
    warmup=st.integers(0, 50),
    constant=st.integers(0, 50),
    decay=st.integers(1, 50),
    shape=st.sampled_from(["sqrt", "linear"]),
)
def test_a_cooldown_is_equation_1_of_the_paper_after_the_warm_up(
    peak: float, warmup: int, constant: int, decay: int, shape: str
) -> None:
    total = warmup + constant + decay
    trunk = Constant(peak=peak, warmup=warmup * B)
    branch = Cooldown.model_validate({"shape": shape}).leaving(
        trunk, leaves_at=(total - decay) * B, ends_at=total * B
    )
    for n in range(warmup, total):
        x = (n - (total - decay)) / decay
        f = 1.0 if n <= total - decay else 1 - (math.sqrt(x) if shape == "sqrt" else x)
        assert rate(branch, n * B) == pytest.approx(f * peak, rel=1e-12)


@settings(deadline=None)
@given(branch=branches(), tokens=st.integers(0, 3 * 10**13))
def test_a_branch_agrees_with_its_trunk_until_it_leaves(branch: Leaving, tokens: int) -> None:
    if tokens <= branch.leaves_at:
        assert rate(branch, tokens) == rate(branch.parent, tokens)


@settings(deadline=None)
@given(branch=branches(), more=st.integers(0, 10**13))
def test_where_a_cooldown_ends_changes_nothing_before_it_leaves(branch: Leaving, more: int) -> None:
    longer = branch.cooldown.leaving(
        branch.parent, leaves_at=branch.leaves_at, ends_at=branch.ends_at + more
    )
    for tokens in (0, branch.leaves_at // 2, branch.leaves_at):
        assert rate(longer, tokens) == rate(branch, tokens)


@settings(deadline=None)
@given(branch=branches(), places=st.lists(st.floats(0, 1.5), min_size=2, max_size=20))
def test_a_cooldown_only_falls_and_stays_between_its_ends(
    branch: Leaving, places: list[float]
) -> None:
    length = branch.ends_at - branch.leaves_at
    tokens = sorted(branch.leaves_at + round(place * length) for place in places)
    rates = [rate(branch, at) for at in tokens]
    start = rate(branch, branch.leaves_at)
    slack = 1e-12 * start
    assert rate(branch, branch.ends_at) == pytest.approx(branch.cooldown.final * start, abs=slack)
    assert all(a >= b - slack for a, b in pairwise(rates))
    assert all(branch.cooldown.final * start - slack <= r <= start + slack for r in rates)


@settings(deadline=None)
@given(branch=branches(), cooldown=COOLDOWNS, place=st.floats(0, 0.99))
def test_a_cooldown_leaves_any_parent_at_its_rate(
    branch: Leaving, cooldown: Cooldown, place: float
) -> None:
    leaves = branch.leaves_at + math.floor(place * (branch.ends_at - branch.leaves_at))
    nested = cooldown.leaving(branch, leaves_at=leaves, ends_at=leaves + 1000)
    assert rate(nested, leaves) == rate(branch, leaves)
    assert rate(nested, leaves + 1000) == pytest.approx(cooldown.final * rate(branch, leaves))
    assert warmup_of(nested) == warmup_of(branch.parent)


@settings(deadline=None)
@given(final=FINALS, over=st.floats(0, 1))
def test_a_mirror_cosine_lies_as_far_from_the_line_as_the_cosine_does(
    final: float, over: float
) -> None:
    mirror, line, cosine = (
        Cooldown.model_validate({"shape": shape, "final": final}).factor(over)
        for shape in ("mirror_cosine", "linear", "cosine")
    )
    assert mirror - line == pytest.approx(line - cosine, abs=1e-12)


@pytest.mark.parametrize(("exponent", "name"), [(0.5, "sqrt"), (1, "linear"), (2.0, "square")])
def test_an_exponent_that_has_a_name_is_that_shape(exponent: float, name: str) -> None:
    given = Cooldown.model_validate({"shape": exponent})
    assert given == Cooldown.model_validate({"shape": name})
    assert given.factor(0.3) == pytest.approx(1 - 0.3**exponent, rel=1e-12)


@settings(deadline=None)
@given(branch=branches(), rewarm=st.floats(0, 0.9), place=st.floats(0, 1))
def test_a_branch_that_warms_again_comes_up_to_its_parents_rate_and_then_descends(
    branch: Leaving, rewarm: float, place: float
) -> None:
    length = branch.ends_at - branch.leaves_at
    over = math.floor(rewarm * length)
    again = branch.model_copy(update={"rewarm": over})
    top = rate(branch.parent, branch.leaves_at)
    assert rate(again, branch.leaves_at) == (START * top if over else top)
    assert rate(again, branch.leaves_at + over) == top
    assert warmup_of(again) == (branch.leaves_at + over if over else warmup_of(branch.parent))
    up = math.floor(place * over)
    expected = top * (0.01 + 0.99 * up / over) if over else top
    assert rate(again, branch.leaves_at + up) == pytest.approx(expected, rel=1e-9)
    assert rate(again, branch.ends_at) == rate(branch, branch.ends_at)


def test_a_cooldown_can_leave_a_cosine() -> None:
    cosine = Cosine(peak=2e-3, horizon=10_000)
    branch = Cooldown(shape="linear").leaving(cosine, leaves_at=5000, ends_at=6000)
    assert rate(branch, 5500) == pytest.approx(rate(cosine, 5000) / 2)


@settings(deadline=None)
@given(schedule=st.one_of(TRUNKS, branches()))
def test_a_schedule_is_its_own_json(schedule: Schedule) -> None:
    reader: TypeAdapter[Schedule] = TypeAdapter(Schedule)
    assert reader.validate_json(reader.dump_json(schedule)) == schedule


def test_tokens_can_be_written_as_people_write_them() -> None:
    asked: TypeAdapter[Asked] = TypeAdapter(Asked)
    given = {"kind": "cosine", "peak": 1e-3, "warmup": "2K", "horizon": "2M"}
    assert asked.validate_python(given) == Cosine(peak=1e-3, warmup=2000, horizon=2_000_000)


def test_only_a_line_that_came_to_its_end_is_decayed() -> None:
    branch = Cooldown().leaving(TRUNK, leaves_at=8000, ends_at=10_000)
    assert [decayed(branch, at) for at in (8000, 9999, 10_000)] == [False, False, True]
    assert not decayed(TRUNK, 10**15)
    assert decayed(Cosine(peak=1e-3, horizon=100), 100)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"kind": "constant", "peak": 0}, "peak=0.0 is no learning rate; give a positive"),
        ({"kind": "constant", "peak": -1e-3}, "peak=-0.001"),
        ({"kind": "constant", "peak": float("nan")}, "peak=nan"),
        ({"kind": "constant", "peak": float("inf")}, "peak=inf"),
        ({"kind": "cosine", "peak": 1, "warmup": 10, "horizon": 10}, "horizon=10 is over before"),
        ({"kind": "cosine", "peak": 1, "horizon": 10, "final": 1.5}, "final=1.5 is no fraction"),
        ({"kind": "cooldown", "final": -0.1}, "final=-0.1 .* give a number from 0 to 1"),
        ({"kind": "cooldown", "final": float("nan")}, "final=nan"),
        ({"kind": "cooldown", "shape": "cubic"}, "is called 'cubic'; use sqrt, linear"),
        ({"kind": "cooldown", "shape": 0.0}, "shape=0.0 is no exponent"),
        ({"kind": "cooldown", "shape": -0.5}, "shape=-0.5 is no exponent"),
        ({"kind": "cooldown", "shape": float("nan")}, "shape=nan is no exponent"),
        ({"kind": "cooldown", "shape": "exp"}, "never comes to final=0.0; give it a final above 0"),
        ({"kind": "constant", "peak": 1, "warm_up": 3}, "warm_up"),
        ({"kind": "wsd", "peak": 1}, "kind"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(fields: dict[str, object], says: str) -> None:
    asked: TypeAdapter[Asked] = TypeAdapter(Asked)
    with pytest.raises(ValidationError, match=says):
        asked.validate_python(fields)


def test_a_warm_up_again_as_long_as_its_branch_is_refused() -> None:
    with pytest.raises(ValidationError, match="over before its rewarm=500 is; give a rewarm below"):
        Cooldown().leaving(TRUNK, leaves_at=8000, ends_at=8500, rewarm=500)


def test_nothing_leaves_a_branch_that_is_warming_again() -> None:
    again = Cooldown().leaving(TRUNK, leaves_at=8000, ends_at=10_000, rewarm=1000)
    with pytest.raises(ValidationError, match="before the warm-up ends at 9000"):
        Cooldown().leaving(again, leaves_at=8900, ends_at=11_000)


@pytest.mark.parametrize(
    ("leaves", "ends", "says"),
    [
        (8000, 8000, "leaves at 8000 tokens ends at 8000; let it end above 8000"),
        (8000, 7000, "ends at 7000"),
        (900, 2000, "before the warm-up ends at 1000; let it leave at 1000 or later"),
    ],
)
def test_a_cooldown_that_cannot_be_placed_is_refused(leaves: int, ends: int, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Cooldown().leaving(TRUNK, leaves_at=leaves, ends_at=ends)


def test_a_cooldown_may_leave_with_the_last_token_of_the_warm_up() -> None:
    branch = Cooldown().leaving(TRUNK, leaves_at=1000, ends_at=2000)
    assert rate(branch, 1000) == TRUNK.peak


def test_nothing_leaves_a_line_that_has_come_down_to_zero() -> None:
    branch = Cooldown().leaving(TRUNK, leaves_at=8000, ends_at=10_000)
    with pytest.raises(ValidationError, match="its parent's rate is 0; leave earlier"):
        Cooldown().leaving(branch, leaves_at=10_000, ends_at=11_000)
