"""Streams of ids from elsewhere become a source like any other, or a clear error."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.killing import Killed, Killing
from tokenizers import decoders

from ramify.ground import files
from ramify.ground.errors import BadInput, Mismatch, NotFound
from ramify.ground.step import Input, Ref
from ramify.tokens import bring, tokenizer
from ramify.tokens.bring import run_brought_tokens
from ramify.tokens.shards import Source, check_join
from ramify.tokens.steps import CONTROL, BroughtTokens

TEXTS = [f"{n}: Küche, branch {n * n} left the trunk — \U0001f333" for n in range(60)]
CODEC = tokenizer.train(TEXTS, 400, CONTROL)
END = CODEC.end_of_text
Row = dict[str, Any]


def quiet(done: float, total: float, unit: str, note: str = "") -> None:
    """Say nothing."""


def stream(texts: list[str], end: int = END) -> list[int]:
    return [id_ for text in texts for id_ in (*CODEC.encode(text), end)]


def write_bin(path: Path, ids: list[int], dtype: str = "<u2", header: bytes = b"") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header + np.array(ids, dtype).tobytes())
    return path


def write_npy(path: Path, ids: list[int], dtype: str = "uint16") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.array(ids, dtype))
    return path


def brought(work: Path, path: Path, out: str = "out", **fields: Any) -> Row:
    words = work / "words"
    if not words.exists():
        words.mkdir()
        CODEC.save(words)
    fields = {"max_context": 4, "segment": 8, "shard_tokens": 200, **fields}
    step = BroughtTokens(name="b", path=str(path), tokenizer=Ref(name="t"), **fields)
    (work / out).mkdir(exist_ok=True)
    return run_brought_tokens(step, {"tokenizer": Input(words, {}, "t")}, work / out, quiet)


def listed(out: Path) -> list[Row]:
    return [
        row
        for path in sorted(out.glob("shards/*.docs.parquet"))
        for row in pq.read_table(path).to_pylist()
    ]


def documents(out: Path) -> list[list[int]]:
    """Return the ids of each document of a source, in its order, by its index."""
    source = Source.open(out)
    ids = source.read(0, source.tokens).tolist()
    found = []
    for row in listed(out):
        last = row["start"] + row["tokens"]
        assert ids[last] == END
        found.append(ids[row["start"] : last])
    assert sum(len(each) + 1 for each in found) == len(ids)
    return found


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_every_document_of_every_file_is_packed_with_where_it_lay(tmp_path: Path) -> None:
    write_bin(tmp_path / "in/a.bin", stream(TEXTS[:20]))
    write_npy(tmp_path / "in/deep/b.npy", stream(TEXTS[20:40]), "uint32")
    write_bin(tmp_path / "in/c.ds", stream(TEXTS[40:]))
    write_bin(tmp_path / "in/.hidden.bin", [1])
    (tmp_path / "in/a.bin.idx").write_bytes(b"no stream")
    facts = brought(tmp_path, tmp_path / "in", license="mit", source="elsewhere")
    out = tmp_path / "out"
    assert sorted(map(CODEC.decode, documents(out))) == sorted(TEXTS)
    rows = listed(out)
    for row in rows:
        text = CODEC.decode(documents(out)[rows.index(row)])
        assert row["bytes"] == len(text.encode())
        assert (row["license"], row["source"]) == ("mit", "elsewhere")
    assert {row["origin"] for row in rows} == {"a.bin", "deep/b.npy", "c.ds"}
    first = next(row for row in rows if row["origin"] == "a.bin" and row["part"] == 0)
    assert CODEC.decode(documents(out)[rows.index(first)]) == TEXTS[0]
    assert facts["documents"] == len(TEXTS)
    assert facts["bytes"] == sum(len(text.encode()) for text in TEXTS)
    assert facts["tokens"] == facts["brought"]["read"] == len(stream(TEXTS))
    assert facts["brought"]["files"] == 3
    told = json.loads((out / "source.json").read_text())["brought"]["files"]
    assert [(file["path"], len(file["sha256"])) for file in told] == [
        (name, 64) for name in ("a.bin", "c.ds", "deep/b.npy")
    ]
    assert facts["provenance"]["license"][0]["tokens"] == facts["tokens"]


@given(
    texts=st.lists(st.sampled_from(["", *TEXTS[:6]]), min_size=8, max_size=30),
    stretch=st.integers(1, 200),
    ended=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_wherever_a_file_is_cut_its_documents_are_the_same(
    texts: list[str], stretch: int, ended: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    work = tmp_path_factory.mktemp("cut")
    texts = [*TEXTS[:20], *texts, TEXTS[7]]
    ids = stream(texts)
    file = write_bin(work / "a.bin", ids if ended else ids[:-1])
    whole = brought(work, file, "whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bring, "STRETCH_TOKENS", stretch)
        pieces = brought(work, file, "pieces")
    assert documents(work / "pieces") == documents(work / "whole")
    assert listed(work / "pieces") == listed(work / "whole")
    assert pieces["brought"] == whole["brought"]
    full = [text for text in texts if text]
    assert sorted(map(CODEC.decode, documents(work / "whole"))) == sorted(full)
    assert whole["brought"]["empty"] == len(texts) - len(full)
    assert whole["brought"]["unended"] == (not ended)


def test_held_out_documents_have_their_text_and_are_never_packed(tmp_path: Path) -> None:
    file = write_bin(tmp_path / "a.bin", stream(TEXTS))
    facts = brought(tmp_path, file, held_out=0.3)
    held_out = pq.read_table(tmp_path / "out/held_out.parquet").to_pylist()
    packed = [CODEC.decode(ids) for ids in documents(tmp_path / "out")]
    assert sorted([*packed, *(row["text"] for row in held_out)]) == sorted(TEXTS)
    assert 8 < len(held_out) == facts["held_out"]["documents"] < 30
    for row in held_out:
        assert row["tokens"] == CODEC.encode(row["text"])
        assert row["bytes"] == len(row["text"].encode())


def test_another_end_of_text_and_a_header_are_taken_as_told(tmp_path: Path) -> None:
    other = CODEC.control["<|im_end|>"]
    file = write_bin(tmp_path / "a.bin", stream(TEXTS, other), "<u4", header=b"\0" * 1024)
    brought(tmp_path, file, end_of_text=other, header_bytes=1024, dtype="uint32")
    assert sorted(map(CODEC.decode, documents(tmp_path / "out"))) == sorted(TEXTS)
    file = write_bin(tmp_path / "far.bin", stream(TEXTS, 50_256))
    brought(tmp_path, file, "far", end_of_text=50_256)
    assert sorted(map(CODEC.decode, documents(tmp_path / "far"))) == sorted(TEXTS)


def test_text_is_measured_where_a_vocabulary_is_not_of_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_bin(tmp_path / "a.bin", stream(TEXTS))
    brought(tmp_path, file)
    monkeypatch.setattr(decoders, "ByteLevel", int)  # so that this tokenizer's is none
    monkeypatch.setattr(bring, "DECODED_TOKENS", 100)
    brought(tmp_path, file, "decoded")
    assert listed(tmp_path / "decoded") == listed(tmp_path / "out")


def test_what_joins_them_is_held_to_their_tokenizer(tmp_path: Path) -> None:
    brought(tmp_path, write_bin(tmp_path / "a.bin", stream(TEXTS)))
    source = Source.open(tmp_path / "out")
    assert source.tokenizer == CODEC.sha256
    other = Source.open(tmp_path / "out")
    other.tokenizer = tokenizer.train(TEXTS, 270, CONTROL).sha256
    with pytest.raises(Mismatch, match="the sources come from 2 tokenizers"):
        check_join({"one": source, "other": other})


def _odd(path: Path) -> None:
    write_bin(path / "a.bin", stream(TEXTS))
    (path / "a.bin").write_bytes((path / "a.bin").read_bytes() + b"\1")


def _empty(path: Path) -> None:
    write_bin(path / "a.bin", stream(TEXTS))
    write_bin(path / "b.bin", [])


def _beyond(path: Path) -> None:
    write_bin(path / "a.bin", [*stream(TEXTS[:1]), CODEC.vocab, END])


def _negative(path: Path) -> None:
    write_npy(path / "a.npy", [*stream(TEXTS[:1]), -5, END], "int64")


def _endless(path: Path) -> None:
    write_bin(path / "a.bin", CODEC.encode(TEXTS[0]))


def _wide(path: Path) -> None:
    write_bin(path / "a.bin", stream(TEXTS), "<u4")


def _square(path: Path) -> None:
    path.mkdir()
    np.save(path / "a.npy", np.zeros((4, 4), np.uint16))


def _real(path: Path) -> None:
    path.mkdir()
    np.save(path / "a.npy", np.zeros(4, np.float32))


def _pickled(path: Path) -> None:
    path.mkdir()
    np.save(path / "a.npy", np.array([{}], object), allow_pickle=True)


def _torn(path: Path) -> None:
    write_npy(path / "a.npy", stream(TEXTS))
    (path / "a.npy").write_bytes((path / "a.npy").read_bytes()[:200])


def _nothing(path: Path) -> None:
    path.mkdir()


def _too_little(path: Path) -> None:
    write_bin(path / "a.bin", [5, 6, END])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_odd, r"a.bin has \d+ bytes after its header of 0, no whole number of uint16; look at"),
        (_empty, r"b.bin holds no token; remove it"),
        (_beyond, r"a.bin holds id (\d+) at token \d+, beyond the tokenizer's vocabulary of \1;"),
        (_negative, r"a.npy holds id -5 at token \d+, beyond"),
        (_endless, r"a.bin has no end of text \(id 0\) in \d+ tokens; give end_of_text="),
        (_wide, r"every second number of a.bin is 0, read as uint16; write dtype='uint32'"),
        (_square, r"a.npy holds uint16 in 2 dimensions, not a stream of ids"),
        (_real, r"a.npy holds float32 in 1 dimensions, not a stream"),
        (_pickled, r"a.npy is no .npy of numbers: "),
        (_torn, r"a.npy is no .npy of numbers: "),
        (_nothing, r"holds no tokens; give a folder with .bin, .ds or .npy files"),
        (_too_little, r"has 3 tokens, less than a segment of 8"),
    ],
)
def test_what_is_no_stream_of_this_tokenizer_is_one_line(
    make: Callable[[Path], None], said: str, tmp_path: Path
) -> None:
    make(tmp_path / "in")
    with pytest.raises(BadInput, match=said):
        brought(tmp_path, tmp_path / "in")


def test_nothing_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="is not there; give the path"):
        brought(tmp_path, tmp_path / "none")


def test_killed_between_any_two_file_operations_it_goes_on_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bring, "STRETCH_TOKENS", 500)
    file = write_bin(tmp_path / "a.bin", stream(TEXTS))
    fields = {"held_out": 0.1, "shard_tokens": 800}
    brought(tmp_path, file, "whole", **fields)
    expected = contents(tmp_path / "whole")
    for kills in itertools.count(1):
        killing = Killing(kills)
        monkeypatch.setattr(files, "failpoint", killing)
        out = str(kills)
        try:
            brought(tmp_path, file, out, **fields)
        except Killed:
            brought(tmp_path, file, out, **fields)
        assert contents(tmp_path / out) == expected
        shutil.rmtree(tmp_path / out)
        if killing.left > 0:  # there was no such operation any more
            break
    assert kills > 20
