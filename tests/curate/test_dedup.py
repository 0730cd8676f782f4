"""Deduplication across corpora: one of each cluster stays, and what is held out is never trained on."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.killing import Killed, Killing

from ramify.curate import dedup
from ramify.curate.dedup import run_dedup
from ramify.curate.look import sample
from ramify.curate.near import jaccard, shingles
from ramify.curate.steps import Dedup
from ramify.curate.tables import DOCUMENT
from ramify.ground import files
from ramify.ground.errors import BadInput, Corrupt, Mismatch, NotFound
from ramify.ground.ids import digest
from ramify.ground.step import Input, Ref

Row = dict[str, Any]
Corpora = Mapping[str, list[Row]]


def quiet(done: float, total: float, unit: str, note: str = "") -> None:
    """Say nothing."""


def prose(seed: object, words: int = 60) -> str:
    """Return words that no other seed has in this order."""
    chance = random.Random(str(seed))
    return " ".join(f"word{chance.randrange(10_000)}" for _ in range(words))


def row(text: str, origin: str, part: int = 0) -> Row:
    return {"id": digest(origin, part), "text": text, "origin": origin, "part": part}


def corpus(name: str, count: int) -> list[Row]:
    return [row(prose((name, n)), f"{name}/{n}") for n in range(count)]


def given_as(folder: Path, corpora: Corpora, per_file: int = 15) -> dict[str, Input]:
    """Write corpora as the folders that a Read step leaves."""
    for label, rows in corpora.items():
        more = [("cluster_size", pa.int64())] if any("cluster_size" in x for x in rows) else []
        schema = pa.schema([*DOCUMENT, *more])
        for number in range(0, max(1, len(rows)), per_file):
            path = folder / label / "documents" / f"{number // per_file:05}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            some = pa.Table.from_pylist(rows[number : number + per_file], schema=schema)
            pq.write_table(some, path)
    return {f"corpora.{label}": Input(folder / label, {}, label) for label in corpora}


def run(base: Path, corpora: Corpora, name: str = "out", per_file: int = 15, **fields: Any) -> Row:
    inputs = given_as(base / "in" / name, corpora, per_file)
    for number, ref in enumerate(fields.get("against", ())):
        inputs[f"against.{number}"] = Input(base / ref.name, {}, ref.name)
    out = base / name
    out.mkdir(parents=True, exist_ok=True)
    refs = {label: Ref(name=label) for label in corpora}
    step = Dedup(name="t", corpora=refs, **{"held_out_least": 1, "held_out": 0.05, **fields})
    return run_dedup(step, inputs, out, quiet)


def rows(folder: Path) -> list[Row]:
    paths = sorted(folder.glob("*.parquet"))
    return [found for path in paths for found in pq.read_table(path).to_pylist()]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".tmp"
    }


def stays(out: Path, label: str) -> list[Row]:
    return rows(out / label / "documents") + rows(out / label / "held_out")


@given(
    plan=st.lists(
        st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, 11), st.integers(0, 3)),
        min_size=1,
        max_size=40,
    )
)
@settings(max_examples=12, deadline=None)
def test_every_document_goes_to_one_place_and_one_of_each_cluster_stays(
    plan: list[tuple[str, int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    base = tmp_path_factory.mktemp("any")
    corpora = {label: corpus(label, 25) for label in ("a", "b", "c")}
    for number, (label, story, cut) in enumerate(plan):  # copies with their end cut off
        text = prose(("story", story)).rsplit(" ", cut)[0]
        corpora[label].append(row(text, f"copy/{label}/{number}"))
    facts = run(base, corpora)
    out = base / "out"
    gone = rows(out / "dropped")
    places = [*(("stays", x["id"]) for label in corpora for x in stays(out, label))]
    places += [("gone", x["id"]) for x in gone]
    everyone = {x["id"]: x for some in corpora.values() for x in some}
    assert Counter(id_ for _, id_ in places) == Counter(dict.fromkeys(everyone, 1))
    for label, counts in facts["corpora"].items():
        assert counts["seen"] == len(corpora[label])
        assert counts["seen"] == counts["kept"] + counts["held_out"] + counts["dropped"]
        assert counts["dropped"] == sum(x["corpus"] == label for x in gone)
        assert counts["held_out"] == len(rows(out / label / "held_out"))
    kept = {id_ for place, id_ in places if place == "stays"}
    for story in {story for _, story, _ in plan}:
        copies = [x for x in everyone.values() if x["text"].startswith(prose(("story", story), 50))]
        first = min(copies, key=lambda x: (x["origin"].split("/")[1], x["id"]))
        assert {x["id"] for x in copies} & kept == {first["id"]}
    for x in gone:
        leader, similarity = x["reason"].removeprefix("near_duplicate: of ").split(" ", 1)
        assert leader in kept
        sets = (shingles(everyone[id_]["text"], 5) for id_ in (x["id"], leader))
        assert similarity == f"(jaccard {jaccard(*sets):.2f})"


def test_the_first_corpus_keeps_what_several_have(tmp_path: Path) -> None:
    shared = [row(prose(("both", n)), f"both/{n}") for n in range(5)]
    corpora = {"a": corpus("a", 10) + shared, "b": corpus("b", 10) + shared}
    run(tmp_path, corpora, "forth")
    run(tmp_path, dict(reversed(corpora.items())), "back")
    ids = {x["id"] for x in shared}
    for name, first, second in (("forth", "a", "b"), ("back", "b", "a")):
        assert ids <= {x["id"] for x in stays(tmp_path / name, first)}
        assert not ids & {x["id"] for x in stays(tmp_path / name, second)}


def test_a_chain_of_near_copies_is_one_cluster(tmp_path: Path) -> None:
    words = prose("chain", 100).split()
    links = [" ".join(words[n * 8 : n * 8 + 60]) for n in range(5)]
    corpora = {"a": corpus("a", 10) + [row(x, f"link/{n}") for n, x in enumerate(links)]}
    ends = jaccard(shingles(links[0], 5), shingles(links[4], 5))
    facts = run(tmp_path, corpora, bands=60, rows=2)
    assert ends < 0.7
    assert (facts["clusters"], facts["largest_cluster"]) == (1, 5)


def test_thousands_of_copies_leave_one(tmp_path: Path) -> None:
    copies = [row(prose("copy") + f" {n % 3}", f"copy/{n:05}") for n in range(3000)]
    facts = run(tmp_path, {"a": corpus("a", 10) + copies}, per_file=1500)
    assert facts["largest_cluster"] == 3000
    assert facts["corpora"]["a"]["dropped"] == 2999


def test_an_origin_file_is_held_out_whole_and_everywhere(tmp_path: Path) -> None:
    corpora = {
        label: [
            row(prose((label, n, p)), f"file/{n}", p + 10 * (label == "b"))
            for n in range(40)
            for p in range(3)
        ]
        for label in ("a", "b")
    }
    run(tmp_path, corpora, held_out=0.2)
    out = tmp_path / "out"
    trained = {x["origin"] for label in corpora for x in rows(out / label / "documents")}
    held = [{x["origin"] for x in rows(out / label / "held_out")} for label in corpora]
    assert not trained & (held[0] | held[1])
    assert held[0] == held[1]
    assert 3 <= len(held[0]) <= 16
    run(tmp_path, corpora, "single", held_out=0.2, held_out_by="document")
    origins = [
        {x["origin"] for x in rows(tmp_path / "single/a" / y)} for y in ("documents", "held_out")
    ]
    assert origins[0] & origins[1]


def test_who_is_held_out_does_not_change_when_documents_are_added(tmp_path: Path) -> None:
    some = corpus("a", 200)
    run(tmp_path / "1", {"a": some}, held_out=0.1)
    run(tmp_path / "2", {"a": some + corpus("more", 100)}, held_out=0.1)
    held = [{x["origin"] for x in rows(tmp_path / n / "out/a/held_out")} for n in ("1", "2")]
    assert held[0] == {origin for origin in held[1] if origin.startswith("a/")}
    run(tmp_path / "1", {"a": some}, "seed", held_out=0.1, seed=1)
    assert {x["origin"] for x in rows(tmp_path / "1/seed/a/held_out")} != held[0]


@pytest.mark.parametrize(("share", "seed"), [(0, 0), (0.2, 0), (0.2, 1)])
def test_what_was_held_out_before_is_held_out_again_and_no_copy_of_it_is_kept(
    share: float, seed: int, tmp_path: Path
) -> None:
    run(tmp_path, {"a": corpus("a", 60)}, "first", held_out=0.2)
    folder = tmp_path / "first" / "a"
    before = rows(folder / "held_out")
    copies = [row(x["text"], f"copy/{n}") for n, x in enumerate(before)]
    path = folder / "documents" / "99999.parquet"
    pq.write_table(
        pa.Table.from_pylist(copies, pq.read_schema(folder / "held_out/00000.parquet")), path
    )
    step = Dedup(
        name="t", corpora={"a": Ref(name="a")}, held_out=share, held_out_least=1, seed=seed, keep_index=True
    )  # fmt: skip
    out = tmp_path / "second"
    out.mkdir()
    facts = run_dedup(step, {"corpora.a": Input(folder, {}, "a")}, out, quiet)["corpora"]["a"]
    trained, held = rows(out / "a/documents"), rows(out / "a/held_out")
    assert facts["seen"] == 60 + len(copies) == len(trained) + len(held) + len(copies)
    texts = {x["text"] for x in before}
    assert texts <= {x["text"] for x in held}
    assert not texts & {x["text"] for x in trained}
    assert len(rows(out / "dropped")) == facts["dropped"] == len(copies)
    if not (share and seed):
        assert len(held) == len(before)
    indexed = [pq.read_metadata(x).num_rows for x in (out / "index/a").glob("*.parquet")]
    assert sum(indexed) == len(trained) + len(held)


@pytest.mark.parametrize("least", [1, 7])
def test_at_least_so_many_documents_are_held_out(least: int, tmp_path: Path) -> None:
    run(tmp_path, {"a": corpus("a", 60)}, held_out=0.001, held_out_least=least)
    assert len(rows(tmp_path / "out/a/held_out")) == least


def test_nothing_is_held_out_if_nothing_is_asked_for(tmp_path: Path) -> None:
    facts = run(tmp_path, {"a": corpus("a", 3)}, held_out=0)
    assert facts["corpora"]["a"]["kept"] == 3


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        (corpus("a", 3), "'a' is too small: of its 3 documents, 3 would be held out"),
        ([row(prose(n), "one file", n) for n in range(99)], "of its 99 documents, 99 would be"),
        (corpus("b", 30), "nothing is left of corpus 'a'"),
        ([], "corpus 'a' holds no documents"),
    ],
)
def test_a_corpus_too_small_to_hold_out_is_an_error_with_a_hint(
    documents: list[Row], said: str, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        run(tmp_path, {"b": corpus("b", 30), "a": documents}, held_out_least=3)
    assert caught.value.hint


def test_a_folder_without_documents_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    step = Dedup(name="t", corpora={"a": Ref(name="a")})
    with pytest.raises(BadInput, match="corpus 'a' holds no documents"):
        run_dedup(step, {"corpora.a": Input(tmp_path / "a", {}, "a")}, tmp_path, quiet)


@pytest.mark.parametrize("ids", [["0" * 32] * 2, ["0" * 31, "1" * 33], ["x" * 32, "y" * 32]])
def test_ids_that_are_no_ids_are_an_error(ids: list[str], tmp_path: Path) -> None:
    wrong = [{**x, "id": id_} for x, id_ in zip(corpus("a", 2), ids, strict=True)]
    with pytest.raises(Corrupt, match="read the corpus again"):
        run(tmp_path, {"a": wrong})


TWO = {label: [*corpus(label, 40), row(prose("all"), f"all/{label}")] for label in ("a", "b")}


def test_killed_between_any_two_file_operations_it_goes_on_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, TWO, "whole", 45, bands=2)
    expected = contents(tmp_path / "whole")
    for kills in itertools.count(1):
        killing = Killing(kills)
        monkeypatch.setattr(files, "failpoint", killing)
        try:
            run(tmp_path, TWO, str(kills), 45, bands=2)
        except Killed:
            run(tmp_path, TWO, str(kills), 45, bands=2)
        assert contents(tmp_path / str(kills)) == expected
        if killing.left > 0:  # there was no such operation any more
            break
    assert kills > 20


def test_signatures_of_an_earlier_attempt_are_used_unless_the_corpora_have_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*args: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(dedup, "_write_shard", die)
        with pytest.raises(Killed):
            run(tmp_path, TWO)
    assert len([*(tmp_path / "out/signatures").glob("*.parquet")]) == 6
    signed: list[object] = []
    real: Callable[..., object] = dedup._write_signatures

    def count(*args: Any) -> None:
        signed.append(args[2])
        real(*args)

    monkeypatch.setattr(dedup, "_write_signatures", count)
    with monkeypatch.context() as patch:
        patch.setattr(dedup, "_write_shard", die)
        with pytest.raises(Killed):
            run(tmp_path, TWO)
    assert signed == []
    changed = {**TWO, "a": [{**x, "text": x["text"] + " more"} for x in TWO["a"]]}
    run(tmp_path, changed)
    assert len(signed) == 6
    assert json.loads((tmp_path / "out/counts.json").read_text())["corpora"]["a"]["seen"] == 41


def test_documents_can_be_looked_at_by_where_they_went_and_why(tmp_path: Path) -> None:
    run(tmp_path, TWO, held_out=0.2)
    out = tmp_path / "out"
    assert len(sample(out, count=7)) == 7
    assert sample(out, seed=3) == sample(out, seed=3) != sample(out, seed=4)
    assert {x["in"] for x in sample(out, label="b", count=99)} == {"b/documents", "b/held_out"}
    everyone = {x["id"] for label in TWO for x in stays(out, label)}
    assert {x["id"] for x in sample(out, count=999)} == everyone
    (gone,) = sample(out, kept=False)
    assert [gone] == sample(out, why="near_dup", label="b")
    assert gone["corpus"] == "b"
    for asked in ({"why": "too_short"}, {"kept": False, "label": "a"}, {"label": "c"}):
        with pytest.raises(NotFound, match="near_duplicate"):
            sample(out, **asked)
    with pytest.raises(NotFound, match="is it a folder of a read or dedup step"):
        sample(tmp_path / "in" / "nothing")


def test_further_columns_are_carried_and_a_corpus_of_an_earlier_version_has_nulls(
    tmp_path: Path,
) -> None:
    scored = [{**x, "url": f"https://a.example/{n}"} for n, x in enumerate(corpus("a", 20))]
    inputs = given_as(tmp_path / "in", {"a": scored, "b": corpus("b", 20)})
    path = tmp_path / "in" / "a" / "documents" / "00000.parquet"
    table = pq.read_table(path)
    pq.write_table(
        table.append_column("score", pa.array(range(table.num_rows), pa.float32())), path
    )
    for path in (tmp_path / "in" / "b" / "documents").glob("*.parquet"):
        pq.write_table(pq.read_table(path, columns=["id", "text", "origin", "part"]), path)
    out = tmp_path / "out"
    out.mkdir()
    step = Dedup(name="t", corpora={x: Ref(name=x) for x in "ab"}, held_out_least=1)
    run_dedup(step, inputs, out, quiet)
    urls = {x["id"]: x["url"] for x in scored}
    assert all(x["url"] == urls[x["id"]] for x in stays(out, "a"))
    assert sum("score" in x for x in stays(out, "a")) == 15
    assert {x["url"] for x in stays(out, "b")} == {None}


def test_a_document_says_how_many_it_stands_for(tmp_path: Path) -> None:
    copies = [row(prose("copy") + f" {n}", f"copy/{n}") for n in range(4)]
    run(tmp_path, {"a": corpus("a", 10) + copies[:2], "b": corpus("b", 10) + copies[2:]})
    sizes = {x["id"]: x["cluster_size"] for label in "ab" for x in stays(tmp_path / "out", label)}
    assert Counter(sizes.values()) == {1: 20, 4: 1}
    assert sizes.keys() & {x["id"] for x in copies} == {min(x["id"] for x in copies[:2])}
    again = [*stays(tmp_path / "out", "a"), row(prose("copy"), "copy/more")]
    run(tmp_path, {"a": [{**x, "cluster_size": x.get("cluster_size")} for x in again]}, "again")
    assert max(x["cluster_size"] for x in stays(tmp_path / "again", "a")) == 5


@pytest.mark.parametrize(
    ("within", "dropped"), [(None, (0, 3)), ("corpus", (0, 2)), ("source", (0, 2))]
)
def test_documents_are_compared_within_what_is_asked(
    within: str | None, dropped: tuple[int, int], tmp_path: Path
) -> None:
    corpora = {
        label: [
            *corpus(label, 10),
            *(
                {**row(prose("copy"), f"copy/{label}/{n}"), "source": source}
                for n, source in enumerate(sources)
            ),
        ]
        for label, sources in (("a", ["x"]), ("b", ["x", "x", "y"]))
    }
    facts = run(tmp_path, corpora, within=within)
    assert tuple(facts["corpora"][label]["dropped"] for label in "ab") == dropped


def test_a_column_that_is_not_there_cannot_be_deduplicated_within(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no column 'crawl' to deduplicate within"):
        run(tmp_path, {"a": corpus("a", 10)}, within="crawl")


def test_a_corpus_that_comes_later_loses_what_an_earlier_one_kept(tmp_path: Path) -> None:
    """In two steps or in one: the same documents stay, and an origin held out stays held out."""
    both = [row(prose(("both", n)), f"both/{n}") for n in range(9)]
    first, second = corpus("a", 30) + both, corpus("b", 30) + both[3:]
    second += [row(prose(("a", n, "more")), f"a/{n}", 1) for n in range(30)]
    run(tmp_path, {"a": first}, "first", 7, keep_index=True, held_out=0.2)
    fields = {"held_out": 0.2, "against": (Ref(name="first"),)}
    facts = run(tmp_path, {"b": second}, "second", 7, **fields)
    run(tmp_path, {"a": first, "b": second}, "at once", 7, held_out=0.2)
    kept = {x["id"] for x in stays(tmp_path / "second", "b")}
    assert kept == {x["id"] for x in stays(tmp_path / "at once", "b")}
    assert facts["corpora"]["b"]["dropped"] == 6
    assert not (tmp_path / "second/a").exists()
    held = {x["origin"] for x in rows(tmp_path / "first/a/held_out")}
    assert not held & {x["origin"] for x in rows(tmp_path / "second/b/documents")}


def test_an_index_of_other_hashes_or_none_is_an_error(tmp_path: Path) -> None:
    run(tmp_path, {"a": corpus("a", 10)}, "without")
    run(tmp_path, {"a": corpus("a", 10)}, "with", keep_index=True)
    with pytest.raises(BadInput, match="without kept no index"):
        run(tmp_path, {"b": corpus("b", 10)}, against=(Ref(name="without"),))
    with pytest.raises(Mismatch, match="give both the same bands, rows, words and seed"):
        run(tmp_path, {"b": corpus("b", 10)}, against=(Ref(name="with"),), bands=2)


def test_of_a_cluster_too_large_only_what_is_like_the_one_kept_goes(tmp_path: Path) -> None:
    words = prose("chain", 200).split()
    links = [" ".join(words[n * 8 : n * 8 + 60]) for n in range(12)]
    corpora = {"a": corpus("a", 10) + [row(x, f"link/{n:02}") for n, x in enumerate(links)]}
    whole = run(tmp_path, corpora, bands=60, rows=2)
    broken = run(tmp_path, corpora, "broken", bands=60, rows=2, largest=6)
    assert (whole["broken"], broken["broken"]) == (0, 1)
    assert whole["largest_cluster"] == broken["largest_cluster"] == 12
    assert whole["corpora"]["a"]["dropped"] == 11
    text = {x["id"]: x["text"] for x in corpora["a"]}
    gone = rows(tmp_path / "broken/dropped")
    assert 4 <= len(gone) < 11
    for x in gone:
        leader = x["reason"].removeprefix("near_duplicate: of ").split(" ", 1)[0]
        assert jaccard(shingles(x["text"], 5), shingles(text[leader], 5)) >= 0.7


def test_a_single_band_of_ten_hashes_joins_copies_and_nothing_else(tmp_path: Path) -> None:
    copies = [row(prose(("c", n // 2)), f"copy/{n:03}") for n in range(40)]
    facts = run(tmp_path, {"a": corpus("a", 100) + copies}, bands=1, rows=10)
    assert facts["corpora"]["a"]["dropped"] == 20
