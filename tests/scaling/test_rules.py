"""Published rules give what their papers print, and nothing outside what their papers saw."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramify.ground.errors import BadInput
from ramify.scaling.rules import RULES, advise, scaled_to_width

M, B = 10**6, 10**9


@pytest.mark.parametrize(
    ("parameters", "tokens", "cosine", "constant"),
    [
        (33 * M, B, 2e-3, 1e-3),
        (93 * M, 26 * B // 10, 2e-3, 1e-3),
        (124 * M, 15 * B // 10, 1e-3, 5e-4),
        (360 * M, 10 * B, 1e-3, 5e-4),
    ],
)
def test_the_table_of_haegele_gives_both_of_its_columns(
    parameters: int, tokens: int, cosine: float, constant: float
) -> None:
    told = advise("haegele", parameters=parameters, tokens=tokens)
    assert (told.cosine_peak, told.constant_peak) == (cosine, constant)


def test_the_step_law_gives_its_formula_and_names_its_paper() -> None:
    told = advise("step_law", parameters=10**9, tokens=100 * B)
    assert told.cosine_peak == pytest.approx(1.79 * 1e9**-0.713 * 1e11**0.307)
    assert told.batch_tokens == pytest.approx(0.58 * 1e11**0.571)
    assert "2503.04715" in told.source


def test_deepseeks_rule_is_one_of_compute() -> None:
    one = advise("deepseek", parameters=100 * M, tokens=2 * B)
    other = advise("deepseek", parameters=200 * M, tokens=B)
    assert one == other
    assert one.cosine_peak == pytest.approx(0.3118 * 1.2e18**-0.125)


@pytest.mark.parametrize(
    ("rule", "parameters", "tokens", "says"),
    [
        ("kaplan", M, M, "no rule is called 'kaplan'; use one of haegele, step_law, deepseek"),
        ("haegele", M, B, "from 33M to 360M all parameters, not at 1M; sweep there"),
        ("step_law", 100 * M, B, "from 2B to 100B tokens, not at 1B"),
        ("deepseek", M, M, r"from 1e17 to 1e20 FLOPs \(6ND\), not at 6e12"),
    ],
)
def test_outside_what_its_authors_saw_a_rule_is_refused(
    rule: str, parameters: int, tokens: int, says: str
) -> None:
    with pytest.raises(BadInput, match=says):
        advise(rule, parameters=parameters, tokens=tokens)


@given(rule=st.sampled_from(["step_law", "deepseek"]), factor=st.floats(1.01, 2))
def test_a_larger_network_never_gets_a_higher_rate(rule: str, factor: float) -> None:
    small = advise(rule, parameters=100 * M, tokens=3 * B)
    large = advise(rule, parameters=round(100 * M * factor), tokens=3 * B)
    assert large.cosine_peak < small.cosine_peak


def test_every_rule_tells_its_source() -> None:
    assert all("arXiv" in rule.source for rule in RULES.values())


def test_a_rate_tuned_at_one_width_halves_at_twice_the_width() -> None:
    assert scaled_to_width(2e-3, width=512, tuned_at=256) == 1e-3
    with pytest.raises(BadInput, match="too far"):
        scaled_to_width(2e-3, width=8192, tuned_at=256)
