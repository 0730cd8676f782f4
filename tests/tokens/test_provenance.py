"""Where a document is from goes with its tokens, and licences and sources are counted to the last token."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ramify.ground.step import Input, Ref
from ramify.tokens import make, pack, provenance, tokenizer
from ramify.tokens.shards import Source
from ramify.tokens.steps import CONTROL, Corpus, Tokenize

TEXTS = [f"{n}: where the {n}th branch left the trunk" for n in range(40)]
CODEC = tokenizer.train(TEXTS, 300, CONTROL)
LICENSES = ("mit", "cc-by-4.0", None)
Row = dict[str, Any]


def quiet(done: float, total: float, unit: str, note: str = "") -> None:
    """Say nothing."""


def documents(count: int = len(TEXTS)) -> list[Row]:
    return [
        {
            "id": f"{n:032x}",
            "text": TEXTS[n],
            "origin": f"f{n // 4}",
            "part": n % 4,
            "url": f"https://a.org/{n}" if n % 5 else None,
            "license": LICENSES[n % 3],
            "source": f"crawl-{n % 2}",
        }
        for n in range(count)
    ]


def packed(work: Path, rows: list[Row], held_out: list[Row] | None = None) -> Row:
    """Tokenize rows into work/out; a missing column is missing in all."""
    (work / "words").mkdir()
    CODEC.save(work / "words")
    for name, part in (("documents", rows), ("held_out", held_out or [])):
        (work / "text" / name).mkdir(parents=True)
        for at in range(0, len(part), 9):
            table = pa.Table.from_pylist(part[at : at + 9])
            pq.write_table(table, work / "text" / name / f"{at:05}.parquet")
    step = Tokenize(
        name="p",
        corpus=Corpus(ref=Ref(name="text")),
        tokenizer=Ref(name="words"),
        max_context=4,
        segment=8,
        shard_tokens=80,
    )
    inputs = {
        "corpus.ref": Input(work / "text", {}, "c"),
        "tokenizer": Input(work / "words", {}, "t"),
    }
    (work / "out").mkdir()
    return make.run_tokenize(step, inputs, work / "out", quiet)


def listed(out: Path) -> list[Row]:
    return [
        row
        for path in sorted(out.glob("shards/*.docs.parquet"))
        for row in pq.read_table(path).to_pylist()
    ]


def test_every_document_of_the_shards_says_where_it_is_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack, "SPOOL_BYTES", 400)  # several spool files, merged
    rows = documents()
    packed(tmp_path, rows[:30], rows[30:])
    by_id = {row["id"]: row for row in rows}
    found = listed(tmp_path / "out")
    assert len(found) == 30
    held_out = pq.read_table(tmp_path / "out/held_out.parquet").to_pylist()
    assert len(held_out) == 10
    for row in (*found, *held_out):
        for name in provenance.COLUMNS:
            assert row[name] == by_id[row["id"]][name]


def test_licenses_and_sources_are_counted_to_the_last_token(tmp_path: Path) -> None:
    facts = packed(tmp_path, documents())
    found = listed(tmp_path / "out")
    for name in ("license", "source"):
        told = facts["provenance"][name]
        for row in told:
            own = [each for each in found if each[name] == row["value"]]
            assert row["documents"] == len(own)
            assert row["tokens"] == sum(each["tokens"] + 1 for each in own)
        assert sum(row["tokens"] for row in told) == facts["tokens"]
        assert sum(row["documents"] for row in told) == facts["documents"]
        assert [row["tokens"] for row in told] == sorted((r["tokens"] for r in told), reverse=True)
    source = json.loads((tmp_path / "out/source.json").read_text())
    assert source["provenance"] == facts["provenance"]


def test_a_corpus_without_these_columns_is_packed_as_before(tmp_path: Path) -> None:
    bare = [{key: row[key] for key in ("id", "text", "origin", "part")} for row in documents()]
    facts = packed(tmp_path, bare)
    assert all(row[name] is None for row in listed(tmp_path / "out") for name in provenance.COLUMNS)
    whole = {"value": None, "documents": len(bare), "tokens": facts["tokens"]}
    assert facts["provenance"] == {"license": [whole], "source": [whole]}


def test_what_a_corpus_says_of_its_documents_changes_no_token(tmp_path: Path) -> None:
    bare = [{key: row[key] for key in ("id", "text", "origin", "part")} for row in documents()]
    streams = []
    for name, rows in (("with", documents()), ("without", bare)):
        (tmp_path / name).mkdir()
        packed(tmp_path / name, rows)
        source = Source.open(tmp_path / name / "out")
        streams.append(source.read(0, source.tokens).tolist())
    assert streams[0] == streams[1]


@given(
    rows=st.lists(
        st.tuples(st.sampled_from(["a", "b", "c", "d", None]), st.integers(0, 99)), min_size=1
    ),
    most=st.integers(1, 5),
    cut=st.integers(0, 50),
)
@settings(max_examples=60, deadline=None)
def test_counts_meet_however_many_are_told(
    rows: list[tuple[str | None, int]], most: int, cut: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(provenance, "MOST_TOLD", most)
        names = pa.array([name for name, _ in rows], pa.large_string())
        sizes = pa.array([size for _, size in rows], pa.int64())
        table = pa.table({"license": names, "source": names, "tokens": sizes})
        told = provenance.counted([table.slice(0, cut), table.slice(cut)])
    for counts in told.values():
        assert sum(row["documents"] for row in counts) == len(rows)
        assert sum(row["tokens"] for row in counts) == sum(size + 1 for _, size in rows)
        assert len(counts) <= most + 1
        values = len({name for name, _ in rows})
        assert sum(row.get("values", 1) for row in counts) == values
