"""The filter ablation is one trunk a seed with branches of equal tokens, and runs to a verdict for each filter."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path

import pytest
from rich.console import Console
from tests.runs.tiny import make

from ramify.curate.filters import LongLines, MostlySymbols, TooFewWords, TooShort
from ramify.curate.steps import Read, Sift
from ramify.evals.steps import Ablation, Evaluate
from ramify.ground.errors import BadInput
from ramify.recipes.filter_ablation import recipe
from ramify.report.page import render
from ramify.report.summary import summary
from ramify.report.terminal import tree
from ramify.runs.lab import Lab
from ramify.runs.plan import plan
from ramify.train.steps import Cooldown, Trunk

FILTERS = (TooShort(characters=120), MostlySymbols(), TooFewWords(words=20))


def test_every_arm_leaves_one_trunk_at_one_token_and_is_evaluated_alike() -> None:
    found = recipe(filters=FILTERS, seeds=(0, 1))
    for seed in (0, 1):
        cools = [
            s for s in found.steps if isinstance(s, Cooldown) and s.name.startswith(f"s{seed}/")
        ]
        assert {c.name.partition("/")[2] for c in cools} == {
            "none", "full", *(f"{w}-{f.kind}" for w in ("without", "only") for f in FILTERS),
        }  # fmt: skip
        assert len({(c.parent, c.tokens) for c in cools}) == 1
    assert sum(isinstance(step, Trunk) for step in found.steps) == 2
    evaluations = [step for step in found.steps if isinstance(step, Evaluate)]
    assert len({str(e.corpora) for e in evaluations}) == 1
    ablation = found.by_name["ablation"]
    assert isinstance(ablation, Ablation)
    assert len(ablation.trials) == 1 + 2 * len(FILTERS)
    assert ablation.judged_on == ("passing",)


def test_the_text_is_read_once_and_arms_are_sifted_on_from_what_they_share() -> None:
    found = recipe(filters=(*FILTERS, LongLines()), ways=("without",))
    assert sum(isinstance(step, Read) for step in found.steps) == 1
    parents = {s.name: str(s.corpus) for s in found.steps if isinstance(s, Sift)}
    assert parents["sifted/without-too_few_words"] == "sifted/first-2"
    assert parents["sifted/without-too_short"] == "clean"
    assert parents["sifted/first-4"] == "sifted/first-3"
    last = found.by_name["arms/without-long_lines"].refs()["corpus.ref"]
    assert last.name == "sifted/first-3"


def test_two_filters_give_no_arm_twice_and_one_gives_nothing_to_compare() -> None:
    found = recipe(filters=FILTERS[:2], seeds=(0,))
    arms = [s for s in found.steps if isinstance(s, Cooldown)]
    assert len(arms) == 4
    with pytest.raises(BadInput, match="1 filters leave nothing"):
        recipe(filters=FILTERS[:1])
    with pytest.raises(BadInput, match="a target is called 'all'"):
        recipe(targets={"all": "x"})


def write_texts(home: Path) -> None:
    """Write sentences, and among them what is too short or mostly symbols."""
    draw = random.Random(0)
    words = [a + b for a in ("ka", "lo", "mi", "ren") for b in ("ba", "do", "fi", "gu", "se")]
    for number in range(240):
        said = " ".join(draw.choice(words) for _ in range(60))
        symbols = " ".join(f"{draw.randrange(9999)} += {draw.randrange(99)};" for _ in range(40))
        text = (said, said, said[:90], symbols)[number % 4]
        (home / f"{number:03}.txt").write_text(text)


def test_it_runs_from_texts_to_a_table_on_the_terminal_and_the_page(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    write_texts(tmp_path / "texts")
    wanted = recipe(
        text=str(tmp_path / "texts"), filters=FILTERS[:2], budget=1280, rows=2, seq_len=16,
        vocab=300, model="nano", seeds=(0, 1), held_out=2000, ways=("without",),
    )  # fmt: skip
    lab = make(wanted, Lab(tmp_path / "lab"))
    assert not plan(wanted, lab).to_do
    record = lab.record("ablation")
    assert record is not None
    trials = record.facts["trials"]
    assert [*trials] == ["all together", "too_short last", "mostly_symbols last"]
    assert trials["all together"]["documents"] > trials["too_short last"]["documents"] > 0
    assert all(trial["seeds"] == 2 for trial in trials.values())
    assert json.loads((lab.at("ablation") / "ablation.json").read_text()) == record.facts
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(tree(summary(lab)))
    shown = console.export_text()
    assert "mostly_symbols last" in shown
    assert "95% over 2 seeds" in " ".join(shown.split())
    assert "What earned its place" in render(lab)
