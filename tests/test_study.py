"""The verdicts of the study: what rows say of each claim, told of rows that whole steps have rounded."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SEEDS, BUDGETS = (0, 1, 2), (999_424, 1_998_848, 4_001_792)  # whole steps of 4096 tokens
LEFT = {999_424: 798_720, 1_998_848: 1_597_440, 4_001_792: 3_203_072}
COUNTED = 1e6  # FLOPs of a token


@pytest.fixture(scope="module")
def study() -> Iterator[Any]:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    yield importlib.import_module("study.claims")
    sys.path.remove(str(ROOT / "benchmarks"))


def row(arm: str, mean: float, seed: int, tokens: int, **more: Any) -> dict[str, Any]:
    return {
        "name": f"{arm}-{more}-{tokens}-{seed}", "arm": arm, "part": "core", "size": "0.4M", "seed": seed,
        "tokens": tokens, "parameters": 426_816, "mean": mean + 1e-4 * seed, "bits": {"code": mean}, **more,
    }  # fmt: skip


def cooldown(mean: float, seed: int, tokens: int, **more: Any) -> dict[str, Any]:
    left = LEFT[tokens]
    fields = {"shape": "sqrt", "fraction": round(1 - left / tokens, 4), "leaves_at": left}
    return row(
        "cooldown", mean, seed, tokens, flops=COUNTED * (tokens - left), **{**fields, **more}
    )


def cosine(mean: float, seed: int, tokens: int) -> dict[str, Any]:
    return row("cosine", mean, seed, tokens, flops=COUNTED * tokens)


def core() -> list[dict[str, Any]]:
    return [
        one
        for seed in SEEDS
        for tokens in BUDGETS
        for one in (cooldown(2.0, seed, tokens), cosine(1.96, seed, tokens))
    ]


def by_key(study: Any, rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {claim.key: claim for claim in study.claims(rows)}


def test_a_cooldown_of_a_fifth_rounded_to_whole_steps_is_held_against_cosine(study: Any) -> None:
    assert core()[0]["fraction"] == 0.2008
    told = by_key(study, core())
    assert (told["a"].n, told["a"].verdict) == (3, "does not hold at this scale")
    assert "2.0M +2.04%" in told["a"].seen


def test_what_a_trunk_saves_is_counted_from_its_leaving_points(study: Any) -> None:
    told = by_key(study, core())["g-cost"]
    tree = LEFT[BUDGETS[-1]] + sum(tokens - left for tokens, left in LEFT.items())
    assert f"{tree / sum(BUDGETS):.1%}" in told.seen
    assert told.verdict == "holds"


@pytest.mark.parametrize("budget", BUDGETS)  # a longer one may have been run without them
def test_shapes_and_fractions_are_paired_with_the_usual_cooldown(study: Any, budget: int) -> None:
    rows = core()
    for seed in SEEDS:
        rows.append(cooldown(2.02, seed, budget, shape="linear"))
        rows += [cooldown(2.1 - f, seed, budget, fraction=f) for f in (0.0502, 0.1003)]
    told = by_key(study, rows)
    assert (told["b-linear"].n, told["b-linear"].verdict) == (3, "holds")
    assert {key for key in told if key.startswith("c-")} == {"c-0.1", "c-0.2"}
    assert told["c-0.1"].verdict == "holds"


@pytest.mark.parametrize("budget", BUDGETS)  # a longer one may have been run without them
def test_the_line_ends_at_the_usual_cooldown(study: Any, budget: int) -> None:
    rows = core()
    for seed in SEEDS:
        rows.append(row("trunk", 2.2, seed, LEFT[budget]))
        shares = ((0.25, 2.15), (0.5, 2.1), (0.75, 2.05))
        rows += [row("interpolate", bits, seed, budget, share=share) for share, bits in shares]
    told = by_key(study, rows)["f"]
    assert (told.n, told.verdict) == (3, "holds")
    only = [one for one in rows if one["arm"] == "interpolate"]
    assert "f" not in by_key(study, only)


def test_the_best_window_of_a_seed_is_chosen_on_the_others(study: Any) -> None:
    rows = core()
    losses = {0: {1: 1.0, 2: 2.0}, 1: {1: 2.1, 2: 2.0}, 2: {1: 2.1, 2: 2.0}}
    for seed, by_last in losses.items():
        rows.append(row("emaaverage", 2.05, seed, BUDGETS[-1]))
        rows.append(row("trunk", 2.2, seed, BUDGETS[-1]))
        rows += [row("average", bits, seed, BUDGETS[-1], last=k) for k, bits in by_last.items()]
    best = study._best_windows([one for one in rows if one["arm"] == "average"])
    assert [(one["seed"], one["last"]) for one in best] == [(0, 2), (1, 1), (2, 1)]
    assert {"e-windows", "e-above", "e-ema"} <= by_key(study, rows).keys()


def foretold(seed: int, error: float, tokens: int) -> dict[str, Any]:
    return {
        "name": f"forecast-{seed}-{tokens}", "arm": "forecast", "part": "core", "size": "0.4M", "seed": seed,
        "tokens": tokens, "foretold": 2.0, "low": 1.9, "high": 2.1, "level": 0.9, "seen": 2.0 * (1 + error),
        "learned_from": 1, "made_before": True, "method": "trunk",
    }  # fmt: skip


def test_forecasts_that_err_to_both_sides_are_not_right_on_average(study: Any) -> None:
    wide = [foretold(s, e, t) for s in SEEDS for e, t in ((0.03 + s / 1e4, 1), (-0.03, 2))]
    assert by_key(study, wide)["h"].verdict == "does not hold at this scale"
    near = [foretold(s, e, t) for s in SEEDS for e, t in ((0.003 + s / 1e4, 1), (-0.003, 2))]
    told = by_key(study, near)["h"]
    assert (told.verdict, told.n) == ("holds", 3)


def test_a_rate_that_one_arm_has_not_widens_no_spread(study: Any) -> None:
    rows = []
    for seed in SEEDS:
        for peak, bits in ((1e-3, 2.2), (2e-3, 2.0), (4e-3, 2.2)):
            rows.append(cooldown(bits, seed, BUDGETS[0], part="rates", peak=peak))
            rows.append({**cosine(bits, seed, BUDGETS[0]), "part": "rates", "peak": peak})
        rows.append({**cosine(9.0, seed, BUDGETS[0]), "part": "rates", "peak": 8e-3})
    told = by_key(study, rows)["d-flat"]
    assert told.verdict == "cannot be told"
    assert "rates 4 times apart" in told.seen


@pytest.mark.parametrize(
    ("found", "verdict"),
    [(None, "cannot be told"), ((-2.0, -1.0), "holds"), ((0.5, 1.0), "does not hold at this scale"), ((-1.0, 1.0), "cannot be told")],
)  # fmt: skip
def test_only_a_whole_interval_decides(
    study: Any, found: tuple[float, float] | None, verdict: str
) -> None:
    assert study.below(found) == verdict
