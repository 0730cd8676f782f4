"""The law of one size: recovered, refused where it cannot be carried, and right about OLMo's ladder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ramify.ground.errors import BadInput
from ramify.scaling.one_size import fit_tokens
from ramify.scaling.points import checked
from ramify.scaling.table import read_rows

LADDER = Path(__file__).parents[3] / "shared/data/scaling/olmo_ladder"
TOKENS = np.geomspace(1e9, 3e10, 6)


def test_the_law_of_one_size_is_recovered_from_its_own_samples() -> None:
    found = fit_tokens(checked([1e8] * 6, TOKENS, 3.0 + 5000 / TOKENS**0.42))
    assert (found.E, found.beta) == pytest.approx((3.0, 0.42), rel=1e-3)
    assert found.loss(1e11) == pytest.approx(3.0 + 5000 / 1e11**0.42, rel=1e-4)
    assert found.intervals() == {}
    assert found.loss_interval(1e11) is None


def test_an_interval_widens_with_the_distance() -> None:
    noise = np.exp(np.random.default_rng(0).normal(0, 0.002, 18))
    tokens = np.tile(TOKENS, 3)
    points = checked([1e8] * 18, tokens, (3.0 + 5000 / tokens**0.42) * noise)
    found = fit_tokens(points, draws=60)
    near, far = found.loss_interval(1e10), found.loss_interval(1e12)
    assert near is not None
    assert far is not None
    assert near[1] - near[0] < far[1] - far[0]
    assert set(found.intervals()) == {"E", "B", "beta"}


def test_several_sizes_and_few_budgets_are_refused() -> None:
    with pytest.raises(BadInput, match="2 sizes have no law of one size"):
        fit_tokens(checked([1e8, 2e8] * 3, TOKENS, np.linspace(4, 3, 6)))
    with pytest.raises(BadInput, match=r"3 budgets of tokens.*add 1 more"):
        fit_tokens(checked([1e8] * 3, TOKENS[:3], [4.0, 3.8, 3.7]))


@pytest.mark.shared
def test_the_longest_run_of_a_ladder_is_predicted_from_the_shorter() -> None:
    if not LADDER.is_dir():
        pytest.skip("the shared data is not beside this project")
    finals = []
    for name in ("0.5xC", "1xC", "2xC", "5xC", "10xC"):
        last = read_rows(LADDER / f"190M-{name}.csv.zst")[-1]
        loss = float(last["eval/c4_en-validation/CrossEntropyLoss"])
        finals.append((float(last["throughput/total_tokens"]), loss))
    *shorter, (tokens, loss) = finals
    points = checked([190e6] * 4, *(list(c) for c in zip(*shorter, strict=True)))
    assert float(fit_tokens(points).loss(tokens)) == pytest.approx(loss, abs=0.01)
