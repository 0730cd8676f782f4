"""Reading a corpus: everything is kept or dropped with a reason, and a kill changes nothing."""

from __future__ import annotations

import gzip
import itertools
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.killing import Killed, Killing

from ramify.curate import read
from ramify.curate.read import run_read
from ramify.curate.readers import documents
from ramify.curate.sources import SourceFile
from ramify.curate.steps import Files, Pages, Read
from ramify.ground import files
from ramify.ground.errors import BadInput


def quiet(done: float, total: float, unit: str, note: str = "") -> None:
    """Say nothing."""


def run(folder: Path, out: Path, **fields: Any) -> dict[str, Any]:
    out.mkdir(parents=True, exist_ok=True)
    source = {name: fields.pop(name) for name in list(fields) if name.endswith("_column")}
    step = Read(name="c", source=Files(path=str(folder), **source), **fields)
    return run_read(step, {}, out, quiet)


def rows(folder: Path) -> list[dict[str, Any]]:
    paths = sorted(folder.glob("*.parquet"))
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def lines(path: Path, *values: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return path


def story(number: int) -> str:
    return f"Story {number} tells how the {number}th branch left the trunk, and where it went next."


LINE = st.one_of(
    st.integers(0, 9).map(lambda n: json.dumps({"text": story(n), "more": n}).encode()),
    st.just(b"{broken"),
    st.just(b""),
    st.just(b"   "),
    st.just(b"[1, 2]"),
    st.just(b'{"text": null}'),
    st.just(b'{"text": 5}'),
    st.just(b'{"other": "x"}'),
    st.just(b'{"text": "\\ud800 alone, and after it enough characters to be kept"}'),
    st.just(b'{"text": "nul \\u0000, and after it enough characters to be kept otherwise"}'),
    st.just(b'{"text": "\xff\xfe, and after it enough characters to be kept otherwise ok"}'),
)


@given(written=st.lists(st.lists(LINE, max_size=12), min_size=1, max_size=4), zipped=st.booleans())
@settings(max_examples=40, deadline=None)
def test_every_line_is_kept_or_dropped_once_whatever_the_lines_are(
    written: list[list[bytes]], zipped: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    base = tmp_path_factory.mktemp("any")
    source, out = base / "in", base / "out"
    source.mkdir()
    written[0].append(json.dumps({"text": story(99)}).encode())
    for number, some in enumerate(written):
        data = b"\n".join(some) + b"\n"
        name = f"{number}.jsonl.gz" if zipped else f"{number}.jsonl"
        (source / name).write_bytes(gzip.compress(data) if zipped else data)
    seen = sum(bool(line.strip()) for some in written for line in some)
    facts = run(source, out)
    kept, dropped = rows(out / "documents"), rows(out / "dropped")
    assert facts["seen"] == seen == len(kept) + len(dropped)
    assert facts["kept"] == len(kept)
    assert sum(facts["dropped"].values()) == len(dropped)
    assert len({row["id"] for row in kept + dropped}) == seen
    assert len({row["text"] for row in kept}) == len(kept)
    assert all(row["reason"].split(":")[0] in facts["dropped"] for row in dropped)
    assert json.loads((out / "counts.json").read_text())["kept"] == len(kept)


def test_all_kinds_of_files_are_read_and_gz_and_zst_of_them(tmp_path: Path) -> None:
    source = tmp_path / "in"
    lines(source / "a.jsonl", {"text": story(1)})
    lines(source / "lines.json", {"text": story(2)}, {"text": story(3)})
    (source / "whole.json").write_text(json.dumps({"not": [story(4)]}, indent=1))
    (source / "note.txt").write_text("\ufeff" + story(5))
    (source / "tree").mkdir()
    (source / "tree" / "main.c").write_text(f"/* {story(6)} */\nint main(void) {{ return 0; }}\n")
    pq.write_table(pa.table({"text": [story(7), story(8)]}), source / "b[1]*.parquet")
    (source / "c.md.gz").write_bytes(gzip.compress(story(9).encode()))
    for name, text in (("d.txt.zst", story(10)), ("e.jsonl.zst", json.dumps({"text": story(11)}))):
        with pa.CompressedOutputStream(str(source / name), "zstd") as stream:
            stream.write(text.encode())
    facts = run(source, tmp_path / "out")
    texts = " ".join(row["text"] for row in rows(tmp_path / "out" / "documents"))
    assert facts["seen"] == facts["kept"] == 11
    assert all(f"Story {n} " in texts for n in range(1, 12))
    assert "\ufeff" not in texts


def test_ids_come_from_where_a_document_lies_or_from_the_users_own(tmp_path: Path) -> None:
    source = lines(
        tmp_path / "a.jsonl", *({"text": story(n), "key": n, "url": "u"} for n in (1, 2))
    )
    run(source, tmp_path / "out")
    run(source, tmp_path / "own", id_column="key", origin_column="url")
    there, own = rows(tmp_path / "out/documents"), rows(tmp_path / "own/documents")
    assert [(row["origin"], row["part"]) for row in there] == [("a.jsonl:0", 0), ("a.jsonl:1", 0)]
    assert [(row["origin"], row["part"]) for row in own] == [("u", 0), ("u", 1)]
    moved = lines(tmp_path / "b.jsonl", {"text": story(2), "key": 2}, {"text": "x" * 50, "key": 3})
    run(moved, tmp_path / "moved", id_column="key")
    assert rows(tmp_path / "moved/documents")[0]["id"] == own[1]["id"] != there[1]["id"]
    assert all(len(row["id"]) == 32 for row in there + own)


def test_of_several_licences_of_a_row_all_hold(tmp_path: Path) -> None:
    said: tuple[object, ...] = (["mit", "isc"], [], "mit", None)
    source = lines(
        tmp_path / "a.jsonl", *({"text": story(n), "l": each} for n, each in enumerate(said))
    )
    run(source, tmp_path / "out", license_column="l")
    licenses = [row["license"] for row in rows(tmp_path / "out/documents")]
    assert licenses == ["mit AND isc", None, "mit", None]


def test_exact_duplicates_name_the_document_that_stays(tmp_path: Path) -> None:
    texts = (story(1), story(2), story(1).replace(" ", " \n"))
    source = lines(tmp_path / "a.jsonl", *({"text": text} for text in texts))
    run(source, tmp_path / "out")
    kept, dropped = rows(tmp_path / "out/documents"), rows(tmp_path / "out/dropped")
    assert [row["reason"] for row in dropped] == [f"duplicate: of {kept[0]['id']}"]


def test_a_second_document_under_the_users_id_is_a_counted_drop(tmp_path: Path) -> None:
    values = [(1, story(1)), (1, story(2)), (1, story(1)), (None, story(3)), ("1", story(4))]
    source = lines(tmp_path / "a.jsonl", *({"text": text, "id": id_} for id_, text in values))
    facts = run(source, tmp_path / "out", id_column="id")
    assert facts["kept"] == 2
    assert facts["dropped"] == {"duplicate": 1, "duplicate_id": 1, "no_id": 1}


def test_a_limit_takes_a_fair_prefix_and_says_what_was_not_read(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for number in range(40):
        (source / f"{number}.txt").write_text(story(number) * 10)
    facts = run(source, tmp_path / "out", limit_bytes="8K")
    whole = run(source, tmp_path / "whole")
    assert 8000 <= facts["bytes"]["kept"] < 8000 + 1000
    assert facts["files"] + facts["files_not_read"] == whole["files"] == 40
    some = [row["id"] for row in rows(tmp_path / "out/documents")]
    assert some == [row["id"] for row in rows(tmp_path / "whole/documents")][: len(some)]
    assert len({row["origin"][0] for row in rows(tmp_path / "out/documents")}) > 1


def _gz(data: bytes) -> bytes:
    return gzip.compress(data)[:-40]


def _zst(data: bytes) -> bytes:
    packed = pa.compress(data, codec="zstd", asbytes=True)
    assert isinstance(packed, bytes)
    return packed[:-40]


@pytest.mark.parametrize(
    ("name", "broken", "said"),
    [
        ("b.jsonl.gz", _gz, "Truncated compressed stream"),
        ("b.jsonl.zst", _zst, "Truncated compressed stream"),
        ("b.txt.gz", lambda data: data, "inflate failed"),
        ("b.parquet", lambda data: data, "not a valid parquet file"),
        ("b.parquet", lambda data: b"", "parquet"),
    ],
)
def test_a_corrupt_file_is_a_counted_drop_that_names_it(
    name: str, broken: Callable[[bytes], bytes], said: str, tmp_path: Path
) -> None:
    source = tmp_path / "in"
    lines(source / "a.jsonl", {"text": story(1)})
    many = "".join(json.dumps({"text": story(n)}) + "\n" for n in range(2, 3000))
    (source / name).write_bytes(broken(many.encode()))
    facts = run(source, tmp_path / "out")
    assert facts["dropped"]["unreadable"] == 1
    last = rows(tmp_path / "out/dropped")[-1]
    assert last["origin"] == name
    assert said in last["reason"]
    assert str(tmp_path) not in last["reason"]
    assert facts["kept"] >= 1


FEW = {"gzip": 30, "zstd": 300}  # rows: of 4 KiB, and of the block of 128 KiB that a zstd decodes


@pytest.mark.parametrize("kind", [*FEW])
def test_a_compressed_file_that_breaks_off_loses_no_row_far_from_there(
    kind: str, tmp_path: Path
) -> None:
    chance = random.Random(0)
    told = [f"{story(n)} {chance.randbytes(200).hex()}" for n in range(3000)]
    whole = "".join(json.dumps({"text": each}) + "\n" for each in told).encode()
    name = "a.jsonl.gz" if kind == "gzip" else "a.jsonl.zst"
    data = pa.compress(whole, codec=kind, asbytes=True)
    (tmp_path / name).write_bytes(data[: len(data) * 9 // 10])
    facts = run(tmp_path / name, tmp_path / "out")
    assert facts["dropped"] == {"unreadable": 1}
    assert facts["kept"] > 3000 * 0.9 - FEW[kind]


def test_a_dangling_link_is_a_counted_drop(tmp_path: Path) -> None:
    source = tmp_path / "in"
    lines(source / "a.jsonl", {"text": story(1)})
    (source / "gone.txt").symlink_to(tmp_path / "nowhere")
    assert run(source, tmp_path / "out")["dropped"] == {"unreadable": 1}


def test_one_line_of_100_megabytes_is_a_counted_drop(tmp_path: Path) -> None:
    source = lines(tmp_path / "a.jsonl", {"text": story(1)}, {"text": "x" * 100_000_000})
    with source.open("a") as file:
        file.write(json.dumps({"text": story(2)}) + "\n")
    facts = run(source, tmp_path / "out")
    assert (facts["kept"], facts["dropped"]) == (2, {"too_long": 1})
    assert len(rows(tmp_path / "out/dropped")[0]["text"]) <= 1_048_576


def test_binary_among_the_texts_is_a_counted_drop(tmp_path: Path) -> None:
    source = tmp_path / "in"
    lines(source / "a.jsonl", {"text": story(1)})
    (source / "picture.png").write_bytes(bytes(range(256)) * 10)
    (source / "latin.txt").write_bytes(
        "déjà vu, et encore déjà vu, mais en latin-1".encode("latin-1")
    )
    (source / "bad\udcff.txt").write_text(story(2))
    (source / "bad\udcff.txt.gz").write_bytes(gzip.compress(story(3).encode()))
    facts = run(source, tmp_path / "out")
    assert (facts["kept"], facts["dropped"]) == (2, {"not_text": 2, "unreadable": 1})
    assert "bad\\udcff.txt" in {row["origin"] for row in rows(tmp_path / "out/documents")}


@pytest.mark.parametrize("table", [True, False])
def test_a_wrong_text_column_is_an_error_that_names_those_there_are(
    table: bool, tmp_path: Path
) -> None:
    source = lines(tmp_path / "a.jsonl", *({"body": story(n), "title": "t"} for n in range(3)))
    if table:
        source = tmp_path / "a.parquet"
        pq.write_table(pa.table({"body": ["x"], "title": ["t"]}), source)
    with pytest.raises(BadInput, match=r"no column 'text', only body, title; name the column"):
        run(source, tmp_path / "out")
    assert run(source, tmp_path / "right", text_column="body", filters=())["kept"] >= 1


@pytest.mark.parametrize(("name", "data"), [("a.jsonl", b"\n\n"), ("a.txt", b""), ("a.txt", b"hi")])
def test_nothing_left_is_an_error_that_says_why(name: str, data: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(BadInput, match=r"nothing is left of \d documents in 1 files"):
        run(tmp_path / name, tmp_path / "out")


def test_parquet_of_many_row_groups_keeps_its_order(tmp_path: Path) -> None:
    texts = [story(n) for n in range(5000)]
    pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet", row_group_size=100)
    run(tmp_path / "a.parquet", tmp_path / "out")
    made = rows(tmp_path / "out/documents")
    assert [row["text"] for row in made] == texts
    assert [row["origin"] for row in made] == [f"a.parquet:{n}" for n in range(5000)]


@given(text=st.text(alphabet="ab \n\ud7ff\U0001f600", max_size=3000), most=st.integers(100, 400))
@settings(max_examples=60, deadline=None)
def test_a_long_text_file_is_cut_into_parts_that_joined_are_the_file(
    text: str, most: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("cut") / "book.txt"
    path.write_bytes(text.encode())
    file = SourceFile("book.txt", path, 0, 0, "whole")
    parts = list(documents(file, Files(path="", cut_characters=most)))
    assert "".join(part.text for part in parts) == text
    assert [part.part for part in parts] == list(range(len(parts)))
    assert all(len(part.text) <= most for part in parts)
    assert all(len(part.text) >= most // 2 for part in parts[:-1])


def test_a_book_is_cut_between_paragraphs(tmp_path: Path) -> None:
    book = "".join(f"Chapter {n}. {story(n)}\n{story(-n)}\n\n" for n in range(40_000))
    (tmp_path / "book.txt").write_text(book)
    facts = run(tmp_path / "book.txt", tmp_path / "out")
    made = rows(tmp_path / "out/documents")
    assert facts["kept"] == len(made) > len(book) / 50_000
    assert all(row["text"].startswith("Chapter ") and row["text"].endswith("\n\n") for row in made)
    assert "".join(row["text"] for row in made) == book
    assert {row["origin"] for row in made} == {"book.txt"}


@pytest.fixture
def many_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(read, "LEAST_SHARD_BYTES", 300)
    source = tmp_path / "in"
    for number in range(8):
        some = ({"text": story(number * 2 + n), "id": number * 2 + n} for n in (0, 1, 2))
        lines(source / f"{number}.jsonl", *some)
    return source


def test_killed_between_any_two_file_operations_it_goes_on_to_the_same_bytes(
    many_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(many_shards, tmp_path / "whole", id_column="id")
    expected = contents(tmp_path / "whole")
    assert len([name for name in expected if name.startswith("documents/")]) > 4
    for kills in itertools.count(1):
        out, killing = tmp_path / str(kills), Killing(kills)
        monkeypatch.setattr(files, "failpoint", killing)
        try:
            run(many_shards, out, id_column="id")
        except Killed:
            run(many_shards, out, id_column="id")
        made = {name: data for name, data in contents(out).items() if not name.endswith(".tmp")}
        assert made == expected
        if killing.left > 0:  # there was no such operation any more
            break
    assert kills > 40


def test_what_was_finished_before_a_kill_is_not_read_again(
    many_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    asked: list[str] = []

    def count(done: float, total: float, unit: str, note: str = "") -> None:
        asked.append(note)
        if len(asked) == 3:
            raise Killed

    out.mkdir()
    step = Read(name="c", source=Files(path=str(many_shards)))
    with pytest.raises(Killed):
        run_read(step, {}, out, count)
    before = {path: path.stat().st_mtime_ns for path in out.glob("documents/*.parquet")}
    assert len(before) == 3
    run_read(step, {}, out, quiet)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_source_that_changed_between_two_attempts_is_read_afresh(
    many_shards: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(many_shards, out)
    lines(many_shards / "9.jsonl", {"text": story(1000)})
    notes = set()
    step = Read(name="c", source=Files(path=str(many_shards)))
    run_read(step, {}, out, lambda done, total, unit, note="": notes.add(note))
    assert notes == {"the source has changed; begun afresh"}
    run(many_shards, tmp_path / "new")
    assert contents(out) == contents(tmp_path / "new")


@pytest.mark.parametrize("harm", ["torn", "gone", "garbage"])
def test_a_harmed_ledger_or_shard_is_made_again(
    harm: str, many_shards: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(many_shards, out)
    expected = contents(out)
    ledger = out / "ledger.jsonl"
    if harm == "torn":
        ledger.write_bytes(ledger.read_bytes()[:-20])
    elif harm == "gone":
        (out / "documents/00002.parquet").unlink()
    else:
        ledger.write_text("not a ledger\n" + ledger.read_text())
    run(many_shards, out)
    assert contents(out) == expected


def test_where_a_row_is_from_is_carried_as_text_and_null_where_nobody_said(tmp_path: Path) -> None:
    lines(
        tmp_path / "in" / "a.jsonl",
        {"text": story(1), "u": "https://a.example/1", "l": "CC0", "s": 3},
        {"text": story(2), "u": None},
    )
    run(tmp_path / "in", tmp_path / "out", url_column="u", license_column="l", source_column="s")
    kept = {row["text"]: row for row in rows(tmp_path / "out" / "documents")}
    first, second = kept[story(1)], kept[story(2)]
    assert (first["url"], first["license"], first["source"]) == ("https://a.example/1", "CC0", "3")
    assert (second["url"], second["license"], second["source"]) == (None, None, None)


PAGE = (
    "<html><body><nav><a href='/'>Home</a></nav><article><h1>Circles</h1><p>{text} Its area is"
    " <math><mi>&pi;</mi><msup><mi>r</mi><mn>2</mn></msup></math> and no other.</p></article></body></html>"
)


def test_rows_of_web_pages_become_their_text_with_formulas_as_latex(tmp_path: Path) -> None:
    pytest.importorskip("resiliparse")
    lines(
        tmp_path / "in" / "a.jsonl",
        *({"html": PAGE.format(text=story(n)), "url": f"https://a.example/{n}"} for n in range(3)),
        {"html": None},
    )
    out = tmp_path / "out"
    out.mkdir()
    source = Pages(path=str(tmp_path / "in"))
    facts = run_read(Read(name="c", source=source), {}, out, quiet)
    assert facts["dropped"] == {"no_text": 1}
    assert facts["formulas"] == {"seen": 3, "kept": 3}
    kept = rows(out / "documents")
    assert [row["url"] for row in kept] == [f"https://a.example/{n}" for n in range(3)]
    for number, row in enumerate(kept):
        assert f"{story(number)} Its area is $\\pi r^{{2}}$ and no other." in row["text"]
        assert "Home" not in row["text"]


def test_shards_without_a_row_hold_nothing_and_stop_nothing(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    out.mkdir()
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), source / "zero.parquet")
    for name in ("empty.jsonl", "empty.jsonl.gz", "empty.ndjson.zst"):
        (source / name).touch()
    text = "This is a sentence that has enough characters to be kept as it is."
    (source / "one.jsonl").write_text(json.dumps({"text": text}))
    facts = run_read(Read(name="r", source=Files(path=str(source))), {}, out, quiet)
    dropped = pq.read_table(out / "dropped").to_pylist() if any((out / "dropped").iterdir()) else []
    assert [(x["origin"], x["reason"]) for x in dropped] == []
    assert (facts["seen"], facts["kept"]) == (1, 1)
