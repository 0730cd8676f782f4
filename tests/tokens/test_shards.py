"""A source read back from its shards, and what is refused about a broken one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ramify.ground.errors import BadInput, Corrupt, Mismatch, NotFound
from ramify.tokens import shards
from ramify.tokens.shards import Source, check_join

TOKENS = np.random.default_rng(0).integers(0, 5_000, 1_003)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, write_source: Any) -> Source:
    """1,003 tokens in 32 shards of 32 tokens, the last of 11."""
    return Source.open(write_source(tmp_path_factory.mktemp("s") / "source", TOKENS))


@given(st.integers(0, 1_003), st.integers(0, 200))
@settings(max_examples=200, deadline=None)
def test_any_stretch_is_what_was_written_also_across_shards(
    source: Source, start: int, count: int
) -> None:
    count = min(count, TOKENS.size - start)
    assert source.read(start, count).tolist() == TOKENS[start : start + count].tolist()


def test_a_source_tells_its_size_and_where_it_comes_from(source: Source) -> None:
    assert (source.tokens, source.segment, source.segments) == (1_003, 8, 125)
    assert (source.vocab, source.end_of_text, source.dtype.name) == (65_536, 0, "uint16")
    assert source.tokenizer == "a" * 64


@pytest.mark.parametrize(("tokens", "segments"), [(9, 1), (16, 1), (17, 2), (24, 2), (25, 3)])
def test_the_last_sequence_of_an_epoch_needs_one_token_more(
    tmp_path: Path, write_source: Any, tokens: int, segments: int
) -> None:
    assert Source.open(write_source(tmp_path / "s", TOKENS[:tokens])).segments == segments


def test_ids_beyond_sixteen_bits_come_back_from_wider_shards(
    tmp_path: Path, write_source: Any
) -> None:
    wide = TOKENS * 40
    source = Source.open(write_source(tmp_path / "s", wide, dtype="uint32", vocab=200_000))
    assert source.read(0, wide.size).tolist() == wide.tolist()


def test_few_shards_are_open_at_once(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "OPEN_SHARDS", 3)
    source._maps.clear()
    for start in (0, 500, 990, 0, 300, 600, 900, 0):
        source.read(start, 13)
        assert len(source._maps) <= 3
    assert source.read(0, 1_003).tolist() == TOKENS.tolist()


@pytest.mark.parametrize(("start", "count"), [(-1, 2), (1_000, 4), (0, 1_004), (5, -1)])
def test_a_stretch_outside_the_source_is_refused(source: Source, start: int, count: int) -> None:
    with pytest.raises(BadInput, match="which has 1003"):
        source.read(start, count)


def test_a_missing_shard_is_named_when_it_is_needed(tmp_path: Path, write_source: Any) -> None:
    folder = write_source(tmp_path / "s", TOKENS)
    (folder / "shards/00002.bin").unlink()
    source = Source.open(folder)
    assert source.read(0, 64).size == 64
    with pytest.raises(Corrupt, match=r"00002\.bin is missing; restore the file"):
        source.read(60, 8)


@pytest.mark.parametrize("change", [-1, -64, 2])
def test_a_shard_of_another_size_is_named_and_not_read(
    tmp_path: Path, write_source: Any, change: int
) -> None:
    folder = write_source(tmp_path / "s", TOKENS)
    shard = folder / "shards/00001.bin"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:change] if change < 0 else whole + b"\0" * change)
    with pytest.raises(Corrupt, match=rf"00001\.bin has {64 + change} bytes, not 64"):
        Source.open(folder).read(33, 4)


def test_a_token_beyond_the_vocabulary_is_corrupt_and_its_shard_is_named(
    tmp_path: Path, write_source: Any
) -> None:
    source = Source.open(write_source(tmp_path / "s", np.arange(100), vocab=50))
    assert source.read(0, 50).tolist() == list(range(50))
    with pytest.raises(Corrupt, match=r"00001\.bin holds token 50, beyond the vocabulary of 50"):
        source.read(30, 21)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not what tokenize writes"),
        ("\xff", "not what tokenize writes"),
        ("[]", "not what tokenize writes"),
        ("{}", "not what tokenize writes"),
        ('{"format": 1}', "not what tokenize writes"),
    ],
)
def test_a_broken_source_json_is_corrupt(
    tmp_path: Path, write_source: Any, text: str, why: str
) -> None:
    folder = write_source(tmp_path / "s", TOKENS)
    (folder / "source.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(Corrupt, match=why):
        Source.open(folder)


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"tokens": 1_004}, "says 1004 tokens, its shards hold 1003"),
        ({"shards": []}, "says 1003 tokens, its shards hold 0"),
        ({"dtype": "float32"}, "not what tokenize writes"),
        ({"vocab": 65_537}, "says a vocabulary of 65537 in uint16"),
    ],
)
def test_a_source_json_that_contradicts_itself_is_corrupt(
    tmp_path: Path, write_source: Any, facts: dict[str, Any], why: str
) -> None:
    folder = write_source(tmp_path / "s", TOKENS)
    about = json.loads((folder / "source.json").read_text()) | facts
    (folder / "source.json").write_text(json.dumps(about))
    with pytest.raises(Corrupt, match=why):
        Source.open(folder)


def test_a_later_format_is_not_guessed_at(tmp_path: Path, write_source: Any) -> None:
    with pytest.raises(BadInput, match="is of format 2, not 1"):
        Source.open(write_source(tmp_path / "s", TOKENS, format=2))


def test_a_folder_without_a_source_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no source\.json in"):
        Source.open(tmp_path)


@pytest.mark.parametrize("tokens", [1, 8])
def test_a_source_too_small_for_one_segment_is_refused(
    tmp_path: Path, write_source: Any, tokens: int
) -> None:
    with pytest.raises(BadInput, match="no whole segment of 8 and one token more"):
        Source.open(write_source(tmp_path / "s", TOKENS[:tokens]))


def test_sources_of_two_tokenizers_do_not_join(tmp_path: Path, write_source: Any) -> None:
    one = Source.open(write_source(tmp_path / "one", TOKENS))
    other = Source.open(write_source(tmp_path / "other", TOKENS, tokenizer="b" * 64))
    check_join({"prose": one, "code": one})
    with pytest.raises(Mismatch, match="2 tokenizers: aaaaaaaaaaaa made prose, code; bbbb"):
        check_join({"prose": one, "code": one, "math": other})
