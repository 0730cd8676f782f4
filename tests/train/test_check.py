"""What is looked at before money is spent, on a real tiny line."""

from __future__ import annotations

from pathlib import Path

from ramify.model.config import ModelConfig
from ramify.optim.schedule import Constant
from ramify.train.check import check_run
from ramify.train.line import Line

from .conftest import VOCAB, trunk


def test_a_sound_run_passes_every_check(sources: dict[str, Path]) -> None:
    model = ModelConfig(layers=2, width=32, heads=2, kv_heads=1, ffw=64, vocab=VOCAB)
    fast = trunk(model=model, schedule=Constant(peak=1e-2, warmup=256), mask_documents=True)
    findings = list(check_run(Line([fast]), sources))
    assert all(finding.ok for finding in findings), findings
    told = " ".join(finding.what for finding in findings)
    for word in ("memory", "first loss", "got a gradient", "learned by heart"):
        assert word in told


def test_a_rate_that_learns_nothing_fails_and_says_so(sources: dict[str, Path]) -> None:
    slow = trunk(schedule=Constant(peak=1e-9, warmup=256))
    findings = list(check_run(Line([slow]), sources))
    assert [f.ok for f in findings][-1] is False


def test_an_initialization_that_is_off_is_seen_in_the_first_loss(sources: dict[str, Path]) -> None:
    model = ModelConfig(layers=2, width=16, heads=2, kv_heads=1, ffw=32, vocab=VOCAB, init_std=3.0)
    findings = list(check_run(Line([trunk(model=model)]), sources))
    first = next(f for f in findings if "first loss" in f.what)
    assert not first.ok
