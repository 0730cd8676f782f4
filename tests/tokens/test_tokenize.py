"""A corpus packed: every document in one place, in a stated order, whole after any death."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ramify.ground import files
from ramify.ground.errors import BadInput, Corrupt, NotFound
from ramify.ground.step import Input, Ref
from ramify.tokens import corpus, encode, make, pack, tokenizer
from ramify.tokens.shards import Source
from ramify.tokens.steps import CONTROL, Corpus, Tokenize

LINES = [
    f"{n}: the {['quick', 'brown'][n % 2]} fox — {n * n} times <|endoftext|>" for n in range(60)
]
CODEC = tokenizer.train(LINES, 300, CONTROL)
Row = tuple[str, str, str, int]  # id, text, origin, part


def quiet(done: float, total: float, unit: str, note: str = "") -> None:
    """Say nothing."""


def rows_of(texts: Sequence[str]) -> list[Row]:
    return [(f"{n:032x}", text, f"file{n // 3}.txt", n % 3) for n, text in enumerate(texts)]


def write_corpus(
    folder: Path,
    rows: Sequence[Row],
    *,
    held_out: Sequence[Row] = (),
    per_file: int = 7,
    group: int = 3,
) -> Path:
    for name, part in (("documents", rows), ("held_out", held_out)):
        (folder / name).mkdir(parents=True)
        for at in range(0, len(part), per_file):
            columns = list(zip(*part[at : at + per_file], strict=True))
            table = pa.table(dict(zip(corpus.COLUMNS, columns, strict=True)))
            pq.write_table(table, folder / name / f"{at:05d}.parquet", row_group_size=group)
    return folder


def asked(**changes: Any) -> Tokenize:
    fields: dict[str, Any] = {"max_context": 4, "segment": 8, "shard_tokens": 40, **changes}
    return Tokenize(
        name="packed", corpus=Corpus(ref=Ref(name="text")), tokenizer=Ref(name="words"), **fields
    )


def packed(work: Path, step: Tokenize, out: str = "out") -> tuple[Path, dict[str, Any]]:
    """Tokenize work/text with work/words into work/out."""
    words = work / "words"
    if not words.exists():
        words.mkdir()
        CODEC.save(words)
    inputs = {"corpus.ref": Input(work / "text", {}, "c"), "tokenizer": Input(words, {}, "t")}
    (work / out).mkdir(exist_ok=True)
    return work / out, make.run_tokenize(step, inputs, work / out, quiet)


def stream(folder: Path) -> list[int]:
    source = json.loads((folder / "source.json").read_bytes())
    parts = [np.fromfile(folder / s["file"], source["dtype"]) for s in source["shards"]]
    ids: list[int] = np.concatenate(parts).tolist()
    return ids


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


texts_of_a_corpus = st.lists(
    st.one_of(st.sampled_from(LINES), st.text(max_size=30)), min_size=1, max_size=25
)


@given(texts_of_a_corpus, st.integers(1, 60), st.sampled_from([4, 8]))
@settings(max_examples=40, deadline=None)
def test_every_document_is_in_exactly_one_place(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], shard_tokens: int, segment: int
) -> None:
    work = tmp_path_factory.mktemp("pack")
    rows = rows_of([*texts, *LINES[:2]])
    write_corpus(work / "text", rows)
    out, facts = packed(work, asked(segment=segment, shard_tokens=shard_tokens))
    ids = stream(out)
    by_id = {row[0]: row for row in rows}
    listed = [
        entry
        for path in sorted(out.glob("shards/*.docs.parquet"))
        for entry in pq.read_table(path).to_pylist()
    ]
    assert [entry["id"] for entry in listed] == sorted(by_id, key=lambda i: corpus.order_key(i, 0))
    at = 0
    for entry in listed:
        _, text, origin, part = by_id[entry["id"]]
        end = at + entry["tokens"]
        assert (entry["start"], entry["origin"], entry["part"]) == (at, origin, part)
        assert entry["bytes"] == len(text.encode())
        assert CODEC.decode(ids[at:end]) == text
        assert ids[end] == CODEC.end_of_text
        at = end + 1
    assert at == len(ids) == facts["tokens"]
    assert facts["documents"] == len(rows)
    assert facts["bytes"] == sum(entry["bytes"] for entry in listed)


@given(texts_of_a_corpus, st.integers(1, 60))
@settings(max_examples=15, deadline=None)
def test_every_shard_but_the_last_holds_whole_segments_and_the_reader_reads_them(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], shard_tokens: int
) -> None:
    work = tmp_path_factory.mktemp("pack")
    write_corpus(work / "text", rows_of([*texts, *LINES[:2]]))
    out, _ = packed(work, asked(shard_tokens=shard_tokens, encoder="tokenizers"))
    source = json.loads((out / "source.json").read_bytes())
    for shard in source["shards"][:-1]:
        assert shard["tokens"] % 8 == 0
    for shard in source["shards"]:
        listed = pq.read_table(out / shard["file"].replace(".bin", ".docs.parquet"))
        assert listed.num_rows == shard["documents"]
    opened = Source.open(out)
    assert opened.read(0, opened.tokens).tolist() == stream(out)


def test_which_file_holds_a_document_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = rows_of(LINES)
    for name, order, shape in (("a", rows, (7, 3)), ("b", rows[::-1], (60, 60))):
        (tmp_path / name).mkdir()
        write_corpus(tmp_path / name / "text", order, per_file=shape[0], group=shape[1])
    one, _ = packed(tmp_path / "a", asked())
    monkeypatch.setattr(pack, "SPOOL_BYTES", 400)
    other, _ = packed(tmp_path / "b", asked())
    assert {k: v for k, v in contents(one).items() if k != "source.json"} == {
        k: v for k, v in contents(other).items() if k != "source.json"
    }


def test_both_encoders_write_the_same_bytes(tmp_path: Path) -> None:
    write_corpus(tmp_path / "text", rows_of(LINES))
    fast, quickly = packed(tmp_path, asked(), "fast")
    plain, slowly = packed(tmp_path, asked(encoder="tokenizers"), "plain")
    assert stream(fast) == stream(plain)
    assert (quickly["encoder"]["name"], slowly["encoder"]["name"]) == ("fastokens", "tokenizers")
    assert slowly["encoder"]["why"] == "asked for"


def test_another_seed_is_another_order_of_the_same_documents(tmp_path: Path) -> None:
    write_corpus(tmp_path / "text", rows_of(LINES))
    one, _ = packed(tmp_path, asked(), "one")
    other, _ = packed(tmp_path, asked(seed=1), "other")
    assert stream(one) != stream(other)
    assert sorted(stream(one)) == sorted(stream(other))


def test_held_out_documents_are_tokenized_apart_and_never_packed(tmp_path: Path) -> None:
    rows = rows_of(LINES)
    write_corpus(tmp_path / "text", rows[:50], held_out=rows[50:])
    out, facts = packed(tmp_path, asked())
    held_out = pq.read_table(out / "held_out.parquet").to_pylist()
    assert [(e["id"], e["text"], e["origin"]) for e in held_out] == [r[:3] for r in rows[50:]]
    assert all(e["tokens"] == CODEC.encode(e["text"]) for e in held_out)
    assert all(e["bytes"] == len(e["text"].encode()) for e in held_out)
    assert facts["held_out"]["documents"] == 10
    assert facts["documents"] == 50
    for path in out.glob("shards/*.docs.parquet"):
        assert not set(pq.read_table(path)["id"].to_pylist()) & {row[0] for row in rows[50:]}


def test_a_corpus_without_held_out_documents_has_an_empty_table_of_them(tmp_path: Path) -> None:
    write_corpus(tmp_path / "text", rows_of(LINES))
    out, _ = packed(tmp_path, asked())
    assert pq.read_table(out / "held_out.parquet").num_rows == 0


def test_a_part_of_a_corpus_folder_can_be_taken(tmp_path: Path) -> None:
    write_corpus(tmp_path / "text" / "code", rows_of(LINES))
    whole = Corpus(ref=Ref(name="text"), part="code")
    _, facts = packed(tmp_path, asked().but(corpus=whole))
    assert facts["documents"] == len(LINES)


class Killed(BaseException):
    """What stands for kill -9 inside one process: nothing of ours catches it."""


def die_at(monkeypatch: pytest.MonkeyPatch, operation: int) -> None:
    """Make the file operation of that number raise Killed."""
    passed: list[str] = []

    def failpoint(label: str) -> None:
        passed.append(label)
        if len(passed) == operation:
            raise Killed(label)

    monkeypatch.setattr(files, "failpoint", failpoint)


def test_killed_between_any_two_file_operations_it_goes_on_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = rows_of(LINES[:24])
    write_corpus(tmp_path / "text", rows[:20], held_out=rows[20:])
    monkeypatch.setattr(pack, "SPOOL_BYTES", 1000)
    step = asked(shard_tokens=200, encoder="tokenizers")
    whole, _ = packed(tmp_path, step, "whole")
    operations = 0
    while True:
        operations += 1
        out = tmp_path / f"out{operations}"
        with monkeypatch.context() as patched:
            die_at(patched, operations)
            try:
                packed(tmp_path, step, out.name)
                break
            except Killed:
                pass
        packed(tmp_path, step, out.name)
        for left in out.glob("**/.*.tmp"):  # what sealing an artifact sweeps away
            left.unlink()
        assert contents(out) == contents(whole)
        shutil.rmtree(out)
    assert operations > 25


def test_finished_spools_and_shards_are_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_corpus(tmp_path / "text", rows_of(LINES))
    monkeypatch.setattr(pack, "SPOOL_BYTES", 1000)
    encoded: list[int] = []
    spool = pack.spool

    def counting(writer: pack.Writer, groups: Sequence[corpus.RowGroup], *rest: Any) -> None:
        if len(encoded) == 2:
            raise Killed
        encoded.append(len(groups))
        spool(writer, groups, *rest)

    monkeypatch.setattr(pack, "spool", counting)
    attempts = 0
    with pytest.raises(Killed):
        packed(tmp_path, asked())
    while attempts < 20:
        attempts += 1
        encoded.clear()
        try:
            _, facts = packed(tmp_path, asked())
            break
        except Killed:
            continue
    assert facts["documents"] == len(LINES)
    assert attempts > 1


@pytest.mark.parametrize(
    "changed", [{"shard_tokens": 400}, {"encoder": "tokenizers"}, {"dtype": "uint32"}]
)
def test_an_attempt_that_is_conducted_otherwise_keeps_nothing_of_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any]
) -> None:
    def die(*_: object) -> None:
        raise Killed

    write_corpus(tmp_path / "text", rows_of(LINES))
    with monkeypatch.context() as patched:
        patched.setattr(pack, "encode_held_out", die)
        with pytest.raises(Killed):
            packed(tmp_path, asked())
    for path in (tmp_path / "out").glob("shards/*.bin"):
        path.write_bytes(b"old")
    out, _ = packed(tmp_path, asked(**changed))
    fresh, _ = packed(tmp_path, asked(**changed), "fresh")
    assert contents(out) == contents(fresh)


def test_kill_nine_in_a_process_of_its_own(tmp_path: Path) -> None:
    write_corpus(tmp_path / "text", rows_of(LINES))
    whole, _ = packed(tmp_path, asked(), "whole")
    step = asked()
    program = (
        "import sys; from pathlib import Path; from ramify.ground.step import Input;"
        "from ramify.tokens import make; from ramify.tokens.steps import Tokenize;"
        "work = Path(sys.argv[1]); out = work / 'out'; out.mkdir();"
        "make.run_tokenize(Tokenize.model_validate_json(sys.argv[2]), {'corpus.ref': "
        "Input(work / 'text', {}, 'c'), 'tokenizer': Input(work / 'words', {}, 't')}, out, print)"
    )
    died = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), step.model_dump_json()],
        env={**os.environ, "RAMIFY_FAILPOINT": "14"},
        capture_output=True,
        check=False,
    )
    assert died.returncode == -signal.SIGKILL
    assert not (tmp_path / "out" / "source.json").exists()
    out, _ = packed(tmp_path, step)
    assert contents(out) == contents(whole)


def test_a_missing_corpus_is_named(tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    with pytest.raises(NotFound, match="no corpus"):
        packed(tmp_path, asked())


def test_a_corpus_of_no_documents_is_refused(tmp_path: Path) -> None:
    write_corpus(tmp_path / "text", [])
    with pytest.raises(BadInput, match="no documents"):
        packed(tmp_path, asked())


@pytest.mark.parametrize("keep", [0, 100, 0.9])
def test_a_truncated_corpus_file_is_named(tmp_path: Path, keep: float) -> None:
    write_corpus(tmp_path / "text", rows_of(LINES))
    path = tmp_path / "text" / "documents" / "00014.parquet"
    data = path.read_bytes()
    path.write_bytes(data[: int(keep if keep >= 1 else keep * len(data))])
    with pytest.raises(Corrupt, match=r"00014\.parquet"):
        packed(tmp_path, asked())


def test_damaged_pages_are_named(tmp_path: Path) -> None:
    write_corpus(tmp_path / "text", rows_of(LINES * 5), per_file=300, group=300)
    path = tmp_path / "text" / "documents" / "00000.parquet"
    data = bytearray(path.read_bytes())
    data[4:400] = bytes(396)
    path.write_bytes(data)
    with pytest.raises(Corrupt, match=r"00000\.parquet"):
        packed(tmp_path, asked())


def test_a_corpus_without_a_column_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text" / "documents").mkdir(parents=True)
    table = pa.table({"id": ["a"], "text": ["b"], "origin": ["c"]})
    pq.write_table(table, tmp_path / "text" / "documents" / "0.parquet")
    with pytest.raises(BadInput, match="no column part"):
        packed(tmp_path, asked())


def test_a_document_without_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text" / "documents").mkdir(parents=True)
    table = pa.table(
        {"id": ["a"], "text": pa.array([None], pa.string()), "origin": ["c"], "part": [0]}
    )
    pq.write_table(table, tmp_path / "text" / "documents" / "0.parquet")
    with pytest.raises(BadInput, match="without text"):
        packed(tmp_path, asked())


def test_a_document_that_is_there_twice_is_named(tmp_path: Path) -> None:
    rows = rows_of(LINES)
    write_corpus(tmp_path / "text", [*rows, rows[3]])
    with pytest.raises(BadInput, match=f"{rows[3][0]} is in the corpus twice"):
        packed(tmp_path, asked())


def test_a_corpus_smaller_than_a_segment_is_refused(tmp_path: Path) -> None:
    write_corpus(tmp_path / "text", rows_of(["a"]))
    with pytest.raises(BadInput, match="less than a segment of 2048"):
        packed(tmp_path, asked(max_context=2048, segment=None))


def test_a_forced_shard_type_is_taken_or_refused(tmp_path: Path) -> None:
    write_corpus(tmp_path / "text", rows_of(LINES))
    narrow, _ = packed(tmp_path, asked(), "narrow")
    wide, facts = packed(tmp_path, asked(dtype="uint32"), "wide")
    assert facts["dtype"] == "uint32"
    assert stream(wide) == stream(narrow)
    whole = json.loads(CODEC.json)
    whole["model"]["vocab"] |= {f"unused{n}": n for n in range(CODEC.vocab, 70_000)}
    big = tokenizer.Codec(tokenizer.canonical(whole), CONTROL[0])
    shutil.rmtree(tmp_path / "words")
    (tmp_path / "words").mkdir()
    big.save(tmp_path / "words")
    with pytest.raises(BadInput, match="vocabulary of 70000 does not fit dtype=uint16"):
        packed(tmp_path, asked(dtype="uint16"), "refused")
    roomy, facts = packed(tmp_path, asked(), "roomy")
    assert facts["dtype"] == "uint32"
    assert stream(roomy) == stream(narrow)


def test_a_fast_encoder_that_goes_wrong_later_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class WrongOnFoxes(encode.Fast):
        def encode(self, texts: Sequence[str]) -> Any:
            ids, offsets = super().encode(texts)
            wrong = len(texts) == 1 and "rare" in texts[0]
            return (np.where(ids == ids[0], 7, ids) if wrong else ids), offsets

    rare = [(f"{n:032x}", "rare fox", "z", 0) for n in range(900, 920)]
    write_corpus(tmp_path / "text", [*rows_of(LINES), *rare], per_file=1, group=1)
    monkeypatch.setattr(encode, "Fast", WrongOnFoxes)
    monkeypatch.setattr(encode, "SAMPLE_BYTES", 1)
    monkeypatch.setattr(pack, "AUDIT_ONE_IN", 1)
    with pytest.raises(BadInput, match="encodes a document differently"):
        packed(tmp_path, asked())


@given(st.integers(1, 10**13), st.integers(0, 13).map(lambda k: 2**k))
@settings(max_examples=300, deadline=None)
def test_a_segment_is_whole_contexts_and_wastes_less_than_one_percent(
    tokens: int, max_context: int
) -> None:
    segment = pack.choose_segment(tokens, max_context)
    assert segment % max_context == 0
    assert segment <= 2**20
    if tokens >= 100 * max_context:
        assert (tokens - 1) % segment < 0.01 * tokens
    else:
        assert segment == max_context
    if tokens >= 100 * 2**20:
        assert segment == 2**20
