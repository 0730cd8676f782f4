"""A document is traced to every step that has it and to every batch that read it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ramify.ground.errors import NotFound
from ramify.runs.find import line_of
from ramify.runs.lab import Lab
from ramify.runs.trace import trace
from ramify.tokens.path import SourceSize
from ramify.tokens.shards import Source


def test_a_document_is_read_at_just_the_batches_that_trace_names(whole: Lab) -> None:
    """Held to every row of every batch of the run, looked through one by one."""
    path = line_of(whole, "cosine").path(
        {n: SourceSize(s.segments, s.segment) for n, s in (
            (name, Source.open(whole.at(name))) for name in ("words", "sums")
        )}
    )  # fmt: skip
    documents = pq.read_table(whole.at("words") / "shards/00000.docs.parquet").to_pylist()
    read = 0
    for row in documents:
        first, last = row["start"], row["start"] + row["tokens"]
        expected = sorted(
            {
                batch * 64
                for batch in range(15)
                for each in path.rows(batch * 64)
                if each.source == "words" and each.start < last and each.start + 16 > first
            }
        )
        lines = [line for line in trace(whole, row["id"]) if line.startswith("cosine: words,")]
        told = re.findall(r"([\d,]+) \(epoch", lines[0])
        assert [int(at.replace(",", "")) for at in told] == expected
        read += bool(expected)
    assert read > 3


def test_trace_tells_each_step_and_a_branch_of_its_own_tokens_alone(whole: Lab) -> None:
    (row, *_) = pq.read_table(whole.at("clean") / "words/documents").to_pylist()
    lines = list(trace(whole, row["id"][:12]))
    assert lines[0] == f"── {row['id']}"
    assert "text/words: kept (documents/00000.parquet)" in lines
    assert "clean: kept (words/documents/00000.parquet)" in lines
    assert any(line.startswith("words: tokens ") for line in lines)
    assert {line.split(":")[0] for line in lines} >= {"trunk", "cool-10", "cool-15", "cosine"}
    (cool,) = [line for line in lines if line.startswith("cool-10: words,")]
    at = [int(x.replace(",", "")) for x in re.findall(r"([\d,]+) \(epoch", cool)]
    assert all(tokens >= line_of(whole, "cool-10").begins_at for tokens in at)


def test_what_was_dropped_is_traced_to_its_reason(whole: Lab) -> None:
    (row, *_) = pq.read_table(whole.at("text/words") / "dropped").to_pylist()
    assert list(trace(whole, row["origin"])) == [
        f"── {row['id']}",
        f"text/words: dropped, {row['reason']} (dropped/00000.parquet)",
    ]


def test_a_url_is_traced_on_the_shards_alone(whole: Lab, tmp_path: Path) -> None:
    lab = Lab(tmp_path / "alone").create()
    shutil.copytree(whole.at("words"), lab.at("words"))
    index = lab.at("words") / "shards/00000.docs.parquet"
    held_out = lab.at("words") / "held_out.parquet"
    for path in (index, held_out):  # as of a corpus whose documents have addresses
        table = pq.read_table(path)
        urls = pa.array([f"https://a.org/{x}" for x in table["id"].to_pylist()])
        at = table.column_names.index("url")
        pq.write_table(table.set_column(at, "url", urls), path)
    row = pq.read_table(index).to_pylist()[3]
    assert list(trace(lab, row["url"])) == [
        f"── {row['id']}",
        f"words: tokens {row['start']:,} to {row['start'] + row['tokens']:,}",
    ]
    row = pq.read_table(held_out).to_pylist()[0]
    assert list(trace(lab, row["url"])) == [
        f"── {row['id']}",
        "words: held out (held_out.parquet)",
    ]


def test_sources_of_an_earlier_version_are_traced_by_id_and_origin(
    whole: Lab, tmp_path: Path
) -> None:
    lab = Lab(tmp_path / "alone").create()
    shutil.copytree(whole.at("words"), lab.at("words"))
    index = lab.at("words") / "shards/00000.docs.parquet"
    table = pq.read_table(index).drop_columns(["url", "license", "source"])
    pq.write_table(table, index)
    row = table.to_pylist()[0]
    for asked in (row["id"], row["origin"]):
        assert f"words: tokens {row['start']:,} to " in "".join(trace(lab, asked))


def test_a_document_that_no_step_has_is_an_error(whole: Lab) -> None:
    for unknown in ("0" * 32, "https://nowhere.org/"):
        with pytest.raises(NotFound, match="no step of"):
            list(trace(whole, unknown))
