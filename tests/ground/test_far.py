"""Files far away are listed once, copied as they were listed, and what goes wrong is one line."""

from __future__ import annotations

import pickle
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests import far as places
from tests import hub_server, s3_server
from tests.hub_server import Hub

from ramify.ground.errors import (
    BadInput,
    Corrupt,
    Failed,
    Mismatch,
    MissingExtra,
    NotFound,
    RamifyError,
)
from ramify.ground.far import checked, far

HERE = "hf://datasets/people/texts"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("ramify.ground.far.WAITS", (0.0, 0.0))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Return a hub with a dataset of one commit."""
    with hub_server.serving(Hub()) as there:
        there.commit({"README.md": b"# About", ".gitattributes": b"*", **places.texts()})
        monkeypatch.setenv("HF_ENDPOINT", there.url)
        yield there


@pytest.mark.parametrize(
    "path",
    [
        "hf://datasets/a/b",
        "hf://datasets/a/b@main/x y/z.parquet",
        "hf://datasets/a/b@refs/convert/parquet/default",
        "hf://datasets/a/b@refs%2Fpr%2F3",
        "s3://bucket",
        "s3://my.bucket-1/a/b",
        "texts/of/mine",
    ],
)
def test_a_path_is_of_this_machine_or_names_a_place_without_asking_it(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "socket", None)
    assert checked(path) == path


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("hf://people/texts", "hf://datasets/OWNER/NAME"),
        ("hf://datasets/alone", "hf://datasets/OWNER/NAME"),
        ("s3://key:SECRET@bucket/x", "write s3://BUCKET"),
        ("s3://", "write s3://BUCKET"),
        ("gs://SECRET/x", "or a path of this machine"),
    ],
)
def test_any_other_path_is_refused_and_not_repeated(path: str, hint: str) -> None:
    with pytest.raises(BadInput) as error:
        checked(path)
    assert hint in str(error.value)
    assert "SECRET" not in str(error.value)


def listed(path: str) -> list[str]:
    return [file.name for file in far(path).listing()]


def test_both_places_list_a_folder_as_it_would_be_walked(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks = {"c/": b"", "a/deep/": b""}  # as some tools leave them for folders
    with places.bucket({**places.texts(), **marks}, monkeypatch):
        for folder, expected in (
            ("/a", ["deep/four.txt", "deep/three.jsonl.gz", "one.jsonl", "two.parquet"]),
            ("/a/deep/", ["four.txt", "three.jsonl.gz"]),
            ("/b/five.jsonl", ["five.jsonl"]),
            (
                "",
                [
                    "a/deep/four.txt",
                    "a/deep/three.jsonl.gz",
                    "a/one.jsonl",
                    "a/two.parquet",
                    "b/five.jsonl",
                ],
            ),
        ):
            assert listed(f"{HERE}{folder}") == expected
            assert listed(f"s3://texts{folder}") == expected


def test_a_copy_has_the_bytes_of_the_file(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with places.bucket(places.texts(), monkeypatch):
        for number, path in enumerate((HERE, "s3://texts")):
            there = far(path)
            for file in there.listing():
                folder = tmp_path / f"{number}-{file.name.replace('/', '-')}"
                folder.mkdir()
                assert there.copy(file, folder).read_bytes() == places.texts()[file.at]


def test_a_branch_is_resolved_once(hub: Hub, tmp_path: Path) -> None:
    first = hub.branches["main"]
    there = far(HERE)
    assert "a/one.jsonl" in [file.at for file in there.listing()]
    assert there.commit == first
    hub.commit({"other.txt": b"of later"})
    (file, *_) = there.listing()
    assert there.copy(file, tmp_path).read_bytes() == places.texts()[file.at]
    assert listed(HERE) == ["other.txt"]
    assert [x.at for x in far(HERE, commit=first).listing()] == [x.at for x in there.listing()]
    assert listed(f"{HERE}@{first}/b") == ["five.jsonl"]


def test_a_place_is_sent_without_the_credentials_that_it_was_asked_with(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.needs_token = "hf_not-to-be-written-down"
    monkeypatch.setenv("HF_TOKEN", hub.needs_token)
    secrets = [hub.needs_token, *places.KEYS.values()]
    with places.bucket(places.texts(), monkeypatch):
        for path in (f"{HERE}@main/a", "s3://texts/a"):
            there = far(path)
            (file, *_) = there.listing()
            sent = pickle.dumps(there)
            assert not any(secret.encode() in sent for secret in secrets)
            arrived = pickle.loads(sent)
            assert arrived.commit == there.commit
            assert arrived.listing() == there.listing()
            assert arrived.copy(file, tmp_path).read_bytes() == places.texts()[file.at]


def _needs_token(hub: Hub) -> None:
    hub.needs_token = "one"


def _gate(hub: Hub) -> None:
    hub.needs_token, hub.gated = "one", True


def _trouble(hub: Hub) -> None:
    hub.trouble["/api/datasets/people/texts/revision/main"] = [503] * 9


def _refuse(hub: Hub) -> None:
    hub.trouble["/api/datasets/people/texts/revision/main"] = [403] * 9


def _nothing(hub: Hub) -> None:
    """Leave it as it is."""


@pytest.mark.parametrize(
    ("path", "act", "kind", "said"),
    [
        ("hf://datasets/people/none", _nothing, NotFound, "the hub has no dataset people/none"),
        (f"{HERE}@never", _nothing, NotFound, "has no revision 'never'; name a branch"),
        (f"{HERE}/nowhere", _nothing, NotFound, "has nothing at 'nowhere'; give the path"),
        (HERE, _needs_token, NotFound, "for one that is private set HF_TOKEN"),
        (HERE, _gate, BadInput, "only to those who asked for it; accept its terms"),
        (HERE, _refuse, BadInput, "refuses dataset people/texts with 403; set HF_TOKEN"),
        (HERE, _trouble, Failed, "the hub answers 503 for dataset people/texts; look at"),
    ],
)
def test_what_the_hub_does_not_give_is_one_line(
    path: str, act: Callable[[Hub], None], kind: type[RamifyError], said: str, hub: Hub
) -> None:
    act(hub)
    with pytest.raises(kind, match=said):
        far(path).listing()


def test_what_passes_is_waited_for(hub: Hub, tmp_path: Path) -> None:
    hub.trouble["/api/datasets/people/texts/revision/main"] = [503, 429]
    there = far(f"{HERE}/a/one.jsonl")
    (file,) = there.listing()
    hub.torn["a/one.jsonl"] = 40
    assert there.copy(file, tmp_path).read_bytes() == places.texts()["a/one.jsonl"]


@pytest.mark.parametrize("name", ["a/one.jsonl", "a/two.parquet"])
def test_other_bytes_than_the_hub_lists_are_never_read(name: str, hub: Hub, tmp_path: Path) -> None:
    there = far(f"{HERE}/{name}")
    (file,) = there.listing()
    hub.wrong.add(name)
    with pytest.raises(Corrupt, match="came with other bytes than the hub lists"):
        there.copy(file, tmp_path)


def test_no_network_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    places.signed_for(monkeypatch, url)
    monkeypatch.setenv("HF_ENDPOINT", url)
    for path, what in ((HERE, "dataset people/texts"), ("s3://texts/a", "s3://texts/a")):
        with pytest.raises(Failed, match=f"{what} cannot be reached: .*; look at the network"):
            far(path).listing()


def test_what_a_bucket_does_not_give_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with places.bucket({"a.txt": b"one", "b.txt": b"two"}, monkeypatch) as client:
        with pytest.raises(NotFound, match="there is no bucket nothing; look at its name"):
            far("s3://nothing/a").listing()
        with pytest.raises(NotFound, match="s3://texts/zz holds no file; give the path"):
            far("s3://texts/zz").listing()
        there = far("s3://texts")
        one, two = there.listing()
        client.put_object(Bucket="texts", Key="a.txt", Body=b"new")
        client.delete_object(Bucket="texts", Key="b.txt")
        for file in (one, two):
            with pytest.raises(Mismatch, match="changed since it was listed; type: ramify run"):
                there.copy(file, tmp_path)


def test_a_transfer_that_breaks_off_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = places.rows(*range(100))
    with s3_server.serving(s3_server.Shaky(data, torn=[500, 700])) as server:
        places.signed_for(monkeypatch, server.url)
        there = far("s3://texts")
        (file,) = there.listing()
        assert there.copy(file, tmp_path).read_bytes() == data
        assert server.ranges == [None, "bytes=500-", "bytes=1200-"]
        server.torn = [1] * 3
        with pytest.raises(Failed, match="s3://texts cannot be reached"):
            there.copy(file, tmp_path)


def test_without_its_library_a_place_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for library, path, extra in (
        ("huggingface_hub", HERE, "hf"),
        ("boto3", "s3://texts", "s3"),
    ):
        monkeypatch.setitem(sys.modules, library, None)
        with pytest.raises(MissingExtra, match=rf"pip install 'ramify\[{extra}\]'"):
            far(path).listing()


def test_keys_are_used_where_there_are_some_and_never_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with s3_server.serving(s3_server.Shaky(b"x")) as server:
        places.signed_for(monkeypatch, server.url)
        assert len(far("s3://texts").listing()) == 1
        server.code = "AccessDenied"
        with pytest.raises(BadInput, match="s3://texts is refused with AccessDenied; set") as error:
            far("s3://texts").listing()
        assert not any(value in str(error.value) for value in places.KEYS.values())
        assert server.signed == [True, True]
        for name in places.KEYS:
            monkeypatch.delenv(name)
        server.code = None
        assert len(far("s3://texts").listing()) == 1
        assert server.signed[-1] is False
