"""Corpora are read from the hub and from buckets just as from a folder, and a kill changes nothing."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests import far as places
from tests import hub_server
from tests.curate.corpora import contents, quiet
from tests.hub_server import Hub
from tests.killing import Killed, Killing

from ramify.curate import copies, read
from ramify.curate.read import run_read
from ramify.curate.sources import changed
from ramify.curate.steps import Files, Pages, Read
from ramify.ground import files
from ramify.ground.errors import Corrupt, Mismatch, NotFound
from ramify.ground.far import FarFile

HERE = "hf://datasets/people/texts"
SHARED = Path(__file__).parents[3] / "shared" / "data" / "web" / "warc"
MANY = {f"{n:02}.jsonl": places.rows(3 * n, 3 * n + 1, 3 * n + 2) for n in range(9)}


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("ramify.ground.far.WAITS", (0.0,))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Return a hub with a dataset of one commit, MANY."""
    with hub_server.serving(Hub()) as there:
        there.commit(MANY)
        monkeypatch.setenv("HF_ENDPOINT", there.url)
        yield there


def run(path: str, out: Path, **fields: Any) -> dict[str, Any]:
    out.mkdir(exist_ok=True)
    return run_read(Read(name="c", source=Files(path=path), **fields), {}, out, quiet)


def documents(out: Path) -> list[dict[str, Any]]:
    return list(pq.read_table(out / "documents").to_pylist())


def test_the_same_files_give_the_same_documents_wherever_they_lie(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = hub.commit(places.texts())
    places.lay(tmp_path / "here", places.texts())
    expected = run(str(tmp_path / "here" / "a"), tmp_path / "local")
    assert run(f"{HERE}/a", tmp_path / "hub") == {**expected, "commit": commit}
    with places.bucket(places.texts(), monkeypatch):
        assert run("s3://texts/a", tmp_path / "s3") == expected
    for out in ("hub", "s3"):
        assert documents(tmp_path / out) == documents(tmp_path / "local")
        manifest = json.loads((tmp_path / out / "manifest.json").read_text())
        local = json.loads((tmp_path / "local" / "manifest.json").read_text())
        tags = [file.pop("tag") for file in manifest["files"]]
        assert manifest["files"] == local["files"]
        assert all(tag.startswith(("etag:", "git:", "sha256:")) for tag in tags)
        assert not (tmp_path / out / "copies").exists()
        written = b"".join(contents(tmp_path / out).values())
        assert not any(key.encode() in written for key in places.KEYS.values())


def test_pages_are_read_from_far_away_too(hub: Hub, tmp_path: Path) -> None:
    pytest.importorskip("resiliparse")
    page = f"<html><body><p>{places.story(1)}</p></body></html>"
    hub.commit({"p/one.html": page.encode(), "p/rows.jsonl": json.dumps({"html": page}).encode()})
    step = Read(name="c", source=Pages(path=f"{HERE}/p"), filters=())
    (tmp_path / "out").mkdir()
    facts = run_read(step, {}, tmp_path / "out", quiet)
    assert (facts["kept"], facts["dropped"]) == (1, {"duplicate": 1})


def test_an_attempt_that_goes_on_reads_the_commit_of_the_first(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "LEAST_SHARD_BYTES", 600)
    first = hub.branches["main"]
    hub.wrong.add("04.jsonl")
    with pytest.raises(Corrupt, match=r"04\.jsonl of people/texts came with other bytes"):
        run(HERE, tmp_path / "out")
    hub.wrong.clear()
    hub.commit({"later.jsonl": places.rows(99)})
    facts = run(HERE, tmp_path / "out")
    assert facts["commit"] == first
    assert facts["kept"] == 27
    monkeypatch.setattr(read, "LEAST_SHARD_BYTES", 600)
    run(f"{HERE}@{first}", tmp_path / "whole")
    assert documents(tmp_path / "out") == documents(tmp_path / "whole")


def test_a_bucket_that_changes_between_attempts_is_begun_afresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "LEAST_SHARD_BYTES", 600)
    real = copies.Shelf.near
    with places.bucket(MANY, monkeypatch) as client:

        def changing(self: copies.Shelf, asked: Any) -> Any:
            client.put_object(Bucket="texts", Key="04.jsonl", Body=places.rows(77))
            return real(self, asked)

        monkeypatch.setattr(copies.Shelf, "near", changing)
        with pytest.raises(Mismatch, match="a file of s3://texts changed since it was listed"):
            run("s3://texts", tmp_path / "out")
        monkeypatch.setattr(copies.Shelf, "near", real)
        said = []
        step = Read(name="c", source=Files(path="s3://texts"))
        facts = run_read(step, {}, tmp_path / "out", lambda d, t, u, note="": said.append(note))
    assert facts["kept"] == 25
    assert "the source has changed; begun afresh" in said


def test_few_copies_are_on_the_disk_at_a_time(hub: Hub, tmp_path: Path) -> None:
    most = 0
    step = Files(path=HERE)
    shelf = copies.Shelf(step, tmp_path)
    for file in shelf.near(shelf.files):
        assert file.path.read_bytes() == MANY[file.origin]
        most = max(most, len(list((tmp_path / "copies").iterdir())))
    assert 1 < most <= copies.AT_ONCE + 1
    assert not (tmp_path / "copies").exists()


def test_a_large_file_is_not_copied_ahead_of_another(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "AHEAD_BYTES", 1)
    shelf = copies.Shelf(Files(path=HERE), tmp_path)
    for _ in shelf.near(shelf.files):
        assert len(list((tmp_path / "copies").iterdir())) <= 2


def test_files_beyond_a_limit_are_not_copied(hub: Hub, tmp_path: Path) -> None:
    facts = run(HERE, tmp_path / "out", limit_bytes=100)
    assert facts["files"] == 1
    assert sum(n for what, n in hub.asked.items() if what.startswith("GET /datasets")) <= 6
    assert not (tmp_path / "out/copies").exists()


def test_a_finished_corpus_far_away_is_not_asked_for_again(hub: Hub, tmp_path: Path) -> None:
    run(HERE, tmp_path / "out")
    asked = hub.asked.total()
    assert changed(Read(name="c", source=Files(path=HERE)), tmp_path / "out") == []
    assert hub.asked.total() == asked


def test_what_is_not_there_is_an_error_before_anything_is_made(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="has nothing at 'none'"):
        run(f"{HERE}/none", tmp_path / "out")
    assert contents(tmp_path / "out") == {}


@pytest.mark.shared
def test_real_archives_on_a_hub_give_the_documents_that_they_give_in_a_folder(
    hub: Hub, tmp_path: Path
) -> None:
    if not SHARED.exists():
        pytest.skip(f"{SHARED} is not there")
    hub.commit({f"warc/{path.name}": path.read_bytes() for path in SHARED.iterdir()})
    made = []
    for name, path in (("local", str(SHARED)), ("hub", f"{HERE}/warc")):
        (tmp_path / name).mkdir()
        facts = run_read(Read(name="c", source=Pages(path=path)), {}, tmp_path / name, quiet)
        facts.pop("commit", None)
        made.append((facts, documents(tmp_path / name)))
    assert made[0] == made[1]


class Quick:
    """A place far away that answers at once, for what is done hundreds of times."""

    def __init__(self, path: str, commit: str | None) -> None:
        self.commit: str | None = commit or "0123abcd"

    def listing(self) -> list[FarFile]:
        """Return three files."""
        return [FarFile(name, name, len(MANY[name]), "git:0") for name in sorted(MANY)[:3]]

    def copy(self, file: FarFile, folder: Path) -> Path:
        """Write a file."""
        (folder / file.name).write_bytes(MANY[file.name])
        return folder / file.name


def test_killed_between_any_two_file_operations_it_goes_on_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "LEAST_SHARD_BYTES", 700)
    monkeypatch.setattr(copies, "far", Quick)
    run(HERE, tmp_path / "whole")
    expected = contents(tmp_path / "whole")
    assert len(list((tmp_path / "whole/documents").iterdir())) == 2
    for kills in itertools.count(1):
        killing = Killing(kills)
        monkeypatch.setattr(files, "failpoint", killing)
        out = tmp_path / str(kills)
        try:
            run(HERE, out)
        except Killed:
            run(HERE, out)
        assert contents(out) == expected
        if killing.left > 0:  # there was no such operation any more
            break
    assert kills > 30


class Changed(Quick):
    """The same place after its files were written anew, each of as many bytes as before."""

    def listing(self) -> list[FarFile]:
        """Return the same names and sizes, with other tags."""
        return [replace(file, tag="git:1") for file in super().listing()]

    def copy(self, file: FarFile, folder: Path) -> Path:
        """Write a file of other words."""
        (folder / file.name).write_bytes(MANY[file.name].replace(b"a", b"e"))
        return folder / file.name


def test_a_source_that_changed_between_two_attempts_is_read_afresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise Killed

    monkeypatch.setattr(copies, "far", Changed)
    run(HERE, tmp_path / "whole")
    with monkeypatch.context() as before:
        before.setattr(copies, "far", Quick)
        before.setattr(read, "_finish", killed)  # after the last shard was entered
        with pytest.raises(Killed):
            run(HERE, tmp_path / "c")
    run(HERE, tmp_path / "c")
    assert contents(tmp_path / "c") == contents(tmp_path / "whole")
