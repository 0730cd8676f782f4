"""Every step that passes documents on loses none and doubles none, and its counts are those of its tables."""

from __future__ import annotations

import csv
import io
import json
import random
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from rich.console import Console
from tests.runs.tiny import make

from ramify.curate.filters import C4, Mask, TooLong, TooShort
from ramify.curate.quality_steps import Annotate, Audit, Classify, FromFile, Score, Select, Sheet
from ramify.curate.rubrics import Rubric
from ramify.curate.selection_steps import (
    Apportion,
    Contamination,
    Decontaminate,
    DomainRecall,
    NgramIndex,
    Remove,
)
from ramify.curate.steps import Dedup, Files, Read, Sift
from ramify.ground.errors import NotFound
from ramify.ground.ids import digest
from ramify.ground.step import Ref, Step
from ramify.report.funnel import funnel, funnel_table
from ramify.runs.job import KINDS
from ramify.runs.lab import Lab
from ramify.runs.look import documents
from ramify.runs.recipe import Recipe
from ramify.tokens.steps import Corpus, Tokenize, Tokenizer

from .labelled import PLAIN, RARE

pytest.importorskip("sklearn")
ITEM = "a farmer sells nine baskets of plums at the market and keeps two thirds of what he earns"
PLACES = ("documents", "held_out", "dropped")
COUNT = 120
READ = ("raw/a", "raw/b", "raw/c")
# what passes documents on, by the folders of corpora that it was given
PASSING = {
    "clean": ("raw/a", "raw/b"),
    "later": ("raw/c",),
    "labels": ("clean/a",),
    "scored": ("clean/a",),
    "chosen": ("scored",),
    "sifted": ("clean/a",),
    "sentences": ("clean/a",),
    "decontaminated": ("clean/a",),
    "removed": ("decontaminated",),
    "apportioned": ("clean/a", "clean/b"),
}
# what looks at documents and passes none on; Fetch has a test of its own
LOOKING = {"sheet", "audit", "classify", "contamination", "ngramindex", "domainrecall", "fetch"}


def level(number: int) -> int:
    """Return the true score of a document."""
    return number % 4


def rows_of(label: str) -> Iterator[dict[str, Any]]:
    """Yield documents of four levels; some too short, copies, near-copies, or with an item in them."""
    for number in range(COUNT):
        draw = random.Random(f"{label} {number}")
        words = [
            draw.choice(RARE if draw.random() < level(number) / 4 else PLAIN) for _ in range(90)
        ]
        text = (
            ". ".join(" ".join(words[at : at + 15]).capitalize() for at in range(0, 90, 15)) + "."
        )
        if number in (5, 6):
            text = "Too short é."
        elif number in (7, 8):
            text = "The same text, more than once, is read but a single time. " * 3
        elif number % 20 == 9:  # the same sentences in both corpora: near-copies
            draw = random.Random(number)
            text = " ".join(draw.choice(PLAIN + RARE) for _ in range(120)) + f" end of {label}"
        elif number % 20 == 11:
            text += f" {ITEM}."
        if number % 10 == 3:
            text = f"A title é\n{text}\nno sentence"
        yield {
            "id": f"{label}{number}",
            "text": text,
            "url": f"https://site{number % 7}.org/{label}/{number}",
            "license": "mit" if number % 3 else "gpl-3.0",
            "source": f"crawl-{number % 2}",
        }


def id_of(label: str, number: int) -> str:
    """Return what a document is called after it was read."""
    return digest(json.dumps(f"{label}{number}"))


def write_inputs(home: Path) -> None:
    """Write two sources, labels for one of them, evaluation items, and a list of what must go."""
    for label in "abc":
        lines = [json.dumps(row) for row in rows_of(label)]
        lines.insert(30, "{broken")
        (home / f"{label}.jsonl").write_text("\n".join(lines) + "\n")
    for name, off in (("labels", 0), ("others", 1)):
        with (home / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("id", "score"))
            for number in range(0, COUNT, 1 + off):
                score = 9 if number % 25 == 4 else min(3, level(number) + off * (number % 3 == 0))
                writer.writerow((id_of("a", number), score))
    item = {"id": "plums", "task": "farm", "text": ITEM, "answer": "6"}
    (home / "items.jsonl").write_text(json.dumps(item))
    (home / "gone.txt").write_text(f"{id_of('a', 20)}\nhttps://site1.org/a/22\n")


def steps(home: Path) -> Iterator[Step]:
    """Yield a step of every kind of curation, and the tokens of one corpus."""
    short = (TooShort(characters=100),)
    for label in "abc":
        source = Files(
            path=str(home / f"{label}.jsonl"), id_column="id", url_column="url",
            license_column="license", source_column="source",
        )  # fmt: skip
        yield Read(name=f"raw/{label}", source=source, filters=short)
    corpora = {label: Ref(name=f"raw/{label}") for label in "ab"}
    yield Dedup(
        name="clean", corpora=corpora, held_out=0.2, held_out_by="document", keep_index=True
    )
    yield Dedup(
        name="later", corpora={"c": Ref(name="raw/c")}, against=(Ref(name="clean"),), held_out=0
    )
    given: dict[str, Any] = {"corpus": Ref(name="clean"), "part": "a"}
    rubric = Rubric(name="rare", highest=3, text="Count rare words.")
    for name in ("labels", "others"):
        labeller = FromFile(path=str(home / f"{name}.csv"))
        yield Annotate(name=name, **given, labeller=labeller, rubric=rubric)
    labels = Ref(name="labels")
    yield Sheet(name="sheet", labels=labels, per_label=4)
    yield Audit(name="audit", labels=labels, others={"other": Ref(name="others")}, resamples=100)
    yield Classify(name="classifier", labels=labels, group="document")
    yield Score(name="scored", **given, classifier=Ref(name="classifier"))
    scored = Ref(name="scored")
    yield Select(name="chosen", corpus=scored, at_least=1, shares={2: 0.5})
    yield DomainRecall(name="recall", corpus=scored, least_pages=3)
    yield Sift(name="sifted", **given, filters=(TooLong(characters=650),))
    yield Sift(name="sentences", **given, filters=(C4(),))
    items = (str(home / "items.jsonl"),)
    yield Decontaminate(name="decontaminated", **given, items=items)
    yield Contamination(name="report", **given, items=items)
    yield NgramIndex(name="ngrams", **given)
    yield Remove(
        name="removed", corpus=Ref(name="decontaminated"), lists=(str(home / "gone.txt"),), licenses=("mit",)
    )  # fmt: skip
    yield Apportion(
        name="apportioned", corpora={"a": Ref(name="clean"), "b": Ref(name="clean")},
        parts={"a": "a", "b": "b"}, shares={"a": 1, "b": 3},
    )  # fmt: skip
    corpus = Corpus(ref=Ref(name="removed"))
    yield Tokenizer(name="tokenizer", corpora={"own": corpus}, vocab=300)
    some = Corpus(ref=Ref(name="apportioned"), part="b")
    for name, each in (("tokens", corpus), ("some", some)):
        yield Tokenize(name=name, corpus=each, tokenizer=Ref(name="tokenizer"), max_context=64)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Return a lab in which each of the steps was made."""
    home = tmp_path_factory.mktemp("funnel")
    write_inputs(home)
    return make(Recipe(name="funnel", steps=tuple(steps(home))), Lab(home / "lab"))


def test_every_kind_of_curation_is_held_to_its_sums() -> None:
    kinds = {kind for kind, cls in KINDS.items() if cls.__module__.startswith("ramify.curate")}
    held = {step.kind() for step in steps(Path()) if step.name in (*READ, *PASSING)}
    assert kinds == held | LOOKING


def table(folder: Path, place: str) -> list[dict[str, Any]]:
    """Return the documents of one place of a step, those of its parts too."""
    paths = sorted({*folder.glob(f"{place}/*.parquet"), *folder.glob(f"*/{place}/*.parquet")})
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def size(rows: list[dict[str, Any]]) -> int:
    return sum(len(row["text"].encode()) for row in rows)


def facts_of(lab: Lab, name: str) -> dict[str, Any]:
    """Return what the record says was seen, kept, dropped and how many bytes, of all parts together."""
    record = lab.record(name)
    assert record is not None
    facts = record.facts
    if record.kind != "dedup":
        return facts
    total: Counter[str] = Counter()
    size: Counter[str] = Counter()
    for corpus in facts["corpora"].values():
        total.update({key: count for key, count in corpus.items() if key != "bytes"})
        size.update(corpus["bytes"])
    return {
        "seen": total["seen"],
        "kept": total["kept"] + total["held_out"],
        "held_out": total["held_out"],
        "dropped": {"near_duplicate": total["dropped"]},
        "bytes": {"kept": size["kept"] + size["held_out"], "dropped": size["dropped"]},
    }


@pytest.mark.parametrize("name", [*READ, *PASSING])
def test_a_step_counts_what_its_tables_hold(lab: Lab, name: str) -> None:
    facts = facts_of(lab, name)
    kept, held, gone = (table(lab.at(name), place) for place in PLACES)
    assert facts["kept"] == len(kept) + len(held)
    assert facts.get("held_out", 0) == len(held)
    assert facts["dropped"] == Counter(row["reason"].split(":")[0] for row in gone)
    assert facts["seen"] == facts["kept"] + sum(facts["dropped"].values())
    assert facts["bytes"]["kept"] == size(kept) + size(held)
    if "dropped" in facts["bytes"]:
        assert facts["bytes"]["dropped"] == size(gone)
    assert gone or name == "scored"  # else the sums prove little


@pytest.mark.parametrize("name", PASSING)
def test_a_step_passes_on_or_drops_each_document_that_it_was_given_once(
    lab: Lab, name: str
) -> None:
    places = PLACES[
        : 1 if name == "labels" else 2
    ]  # a sample to learn from is of what is trained on
    given = [
        row for folder in PASSING[name] for place in places for row in table(lab.at(folder), place)
    ]
    made = [row for place in PLACES for row in table(lab.at(name), place)]
    ids = sorted(row["id"] for row in made)
    assert ids == sorted(row["id"] for row in given)
    assert len(ids) == len({*ids}) == facts_of(lab, name)["seen"]
    if name != "sentences":  # which takes lines out
        assert size(made) == size(given)
    held = {row["id"] for folder in PASSING[name] for row in table(lab.at(folder), "held_out")}
    for row in table(lab.at(name), "documents"):
        assert row["id"] not in held, "what was held out came back"


def test_a_reader_gives_every_line_one_fate(lab: Lab) -> None:
    for name in READ:
        ids = [row["id"] for place in PLACES for row in table(lab.at(name), place)]
        assert len(ids) == len({*ids}) == COUNT + 1
        assert facts_of(lab, name)["dropped"] == {"duplicate": 1, "malformed": 1, "too_short": 2}


def shown(lab: Lab, name: str) -> list[tuple[str, str | None, int, int]]:
    """Return the rows of a funnel; in each, what goes in comes out or has a reason."""
    steps = funnel(lab, name)
    assert all(step.seen == step.kept + sum(step.dropped.values()) for step in steps)
    return [(step.name, step.part, step.seen, step.kept) for step in steps]


def test_bytes_are_counted_of_documents_as_they_came(tmp_path: Path) -> None:
    """Though a table holds only the beginning of a long one, and what is left of one that was edited."""
    word, address = "é" * 1_200_000, "write to someone.there@place.org about the é of it " * 4
    texts = (word, "short é", address, address, f"{address}{word}", "a plain text of several words")
    source = tmp_path / "texts"
    source.mkdir()
    for number, text in enumerate(texts):
        (source / f"{number}.txt").write_text(text)
    (source / "rows.jsonl").write_text("x" * ((64 << 20) + 100))
    whole = sum(path.stat().st_size for path in source.iterdir())
    filters = (TooLong(characters=1_000_000), TooShort(characters=10), Mask())
    read = Read(name="read", source=Files(path=str(source), cut_characters=None), filters=filters)
    lab = make(Recipe(name="long", steps=(read,)), Lab(tmp_path / "lab"))
    facts = facts_of(lab, "read")
    kept, gone = (table(lab.at("read"), place) for place in ("documents", "dropped"))
    assert facts["dropped"] == {"duplicate": 1, "too_long": 3, "too_short": 1}
    assert facts["bytes"]["seen"] == whole
    assert facts["bytes"]["kept"] == size(kept)
    taken = len("someone.there@place.org") - len("email@example.com")
    assert facts["bytes"]["edited"] == 4 * taken
    assert facts["bytes"]["dropped"] == whole - facts["bytes"]["kept"] - facts["bytes"]["edited"]
    assert facts["bytes"]["dropped"] > size(gone) + 60_000_000
    assert max(len(row["text"]) for row in gone) == 1_000_000


def test_the_funnel_shows_each_step_with_what_the_one_before_it_kept(lab: Lab) -> None:
    rows = shown(lab, "tokens")
    assert [row[:2] for row in rows] == [
        ("raw/a", None), ("clean", "a"), ("decontaminated", None), ("removed", None), ("tokens", None)
    ]  # fmt: skip
    for (*_, kept), (_, _, seen, _) in pairwise(rows):
        assert seen == kept


def test_a_funnel_of_several_corpora_has_a_row_for_each_that_was_taken(lab: Lab) -> None:
    (a, clean_a, b, clean_b, both), whole = shown(lab, "apportioned"), shown(lab, "clean")[-1]
    assert [row[:2] for row in (clean_a, clean_b)] == [("clean", "a"), ("clean", "b")]
    assert (clean_a[2], clean_b[2]) == (a[3], b[3])
    assert both[2] == clean_a[3] + clean_b[3] == whole[3]
    assert whole == ("clean", None, a[3] + b[3], both[2])
    (_, part, seen, kept), tokens = shown(lab, "some")[-2:]
    assert part == "b"
    assert (
        tokens[2]
        == kept
        == len([x for place in PLACES[:2] for x in table(lab.at("apportioned/b"), place)])
    )
    assert seen == clean_b[3]


@pytest.mark.parametrize("name", ["chosen", "sifted", "sentences", "report", "recall"])
def test_beside_its_labels_every_chain_meets(lab: Lab, name: str) -> None:
    rows = [row for row in shown(lab, name) if row[0] != "labels"]
    assert len(rows) >= 3
    for (*_, kept), (_, _, seen, _) in pairwise(rows):
        assert seen == kept


def test_labels_are_told_apart_from_the_chain_that_they_stand_beside(lab: Lab) -> None:
    terminal = Console(width=200, record=True, file=io.StringIO())
    terminal.print(funnel_table(funnel(lab, "chosen")))
    rows = [line.split("  ")[0] for line in terminal.export_text().splitlines()]
    assert rows == ["step", "raw/a", "clean/a", "labels (beside)", "scored", "chosen"]


def looked(lab: Lab, name: str, *, kept: bool = True) -> list[str]:
    """Return the heading of each document of a corpus, kept or dropped."""
    lines = documents(lab, name, kept=kept, why=None, count=1000, seed=0)
    return [line for line in lines if line.startswith("── ")]


def test_every_row_of_a_funnel_can_be_looked_at_and_shown_by_the_name_it_has_there(
    lab: Lab,
) -> None:
    for at in ("apportioned", "tokens", "some"):
        for name, part, _, kept in shown(lab, at)[:-1]:
            named = name if part is None else f"{name}/{part}"
            assert len(looked(lab, named)) == kept
            assert shown(lab, named)[-1] == next(
                row for row in shown(lab, at) if row[:2] == (name, part)
            )


def test_of_a_part_only_what_it_lost_is_dropped(lab: Lab) -> None:
    lost = {"clean": "b", "apportioned": "a"}
    for name, label in lost.items():
        gone = table(lab.at(name), "dropped")
        assert {row["corpus"] for row in gone} == {label}
        lines = looked(lab, f"{name}/{label}", kept=False)
        assert len(lines) == len(gone) > 0
        assert all(f"{label}.jsonl" in line for line in lines)
        other = "ab".replace(label, "")
        with pytest.raises(NotFound, match=f"{name}/{other} has no such documents") as error:
            looked(lab, f"{name}/{other}", kept=False)
        assert str(error.value.hint).startswith("reasons to be dropped from all its parts were: ")


def test_a_part_that_is_not_there_is_told_with_those_that_are(lab: Lab) -> None:
    for ask in (looked, shown):
        with pytest.raises(NotFound, match="clean has no part 'c'") as error:
            ask(lab, "clean/c")
        assert error.value.hint == "parts: a, b"
        with pytest.raises(NotFound, match="raw/a/x is not in"):
            ask(lab, "raw/a/x")


def test_a_funnel_leaves_out_what_documents_were_only_compared_with(lab: Lab) -> None:
    assert [name for name, *_ in shown(lab, "later")] == ["raw/c", "later"]
