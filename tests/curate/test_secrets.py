"""No key is in a lab, in what a command prints, or in an error, whatever a server does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests import hub_server
from tests.hub_server import Hub
from tests.typed import typed

from ramify.curate.selection_steps import Fetch
from ramify.ground.server import Server

RECIPE = """
from ramify import Annotate, Asked, Cap, Files, Read, Recipe, Ref, Rubric, Server

def recipe(texts: str, server: str) -> Recipe:
    read = Read(name="texts", source=Files(path=texts), filters=())
    labels = Annotate(
        name="labels", corpus=Ref(name="texts"), labeller=Asked(model="strict", tries=2),
        rubric=Rubric(name="reasons", highest=5, text="Count the reasons."), cap=Cap(tokens=10_000_000),
        server=Server(base_url=server, keys=("RAMIFY_TEST_KEY",), timeout_seconds=1, attempts=2,
                      first_wait_seconds=0.01),
    )
    return Recipe(name="secret", steps=(read, labels))
"""
TEXTS = (
    "a because b",
    "@prose",
    "@busy-once c",
    "@later-once d",
    "@broken-once e",
    "@refuse f",
    "@range g",
)
WRONG, RIGHT = "sk-wrong-Zq7", "sesame"  # the server answers the second alone


def said_in(home: Path) -> Iterator[str]:
    """Yield all that the files of a folder say; tables are compressed, so they are read."""
    for path in sorted(x for x in home.rglob("*") if x.is_file()):
        yield str(path)
        if path.suffix == ".parquet":
            yield json.dumps(pq.read_table(path).to_pylist())
            yield str(pq.read_schema(path).metadata)
        else:
            yield path.read_bytes().decode("utf-8", "replace")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    """Return a function that runs a command beside the recipe with a key: (code, what it printed)."""
    (tmp_path / "recipe.py").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)

    def command(key: str, *words: str) -> tuple[int, str]:
        monkeypatch.setenv("RAMIFY_TEST_KEY", key)
        code = typed(monkeypatch, *words)
        told = capfd.readouterr()
        return code, told.out + told.err

    return command


def test_a_key_is_nowhere_whether_it_is_right_or_wrong_or_nobody_answers(
    llm: Any, run: Any, tmp_path: Path
) -> None:
    texts = tmp_path / "texts.jsonl"
    texts.write_text("\n".join(json.dumps({"text": text}) for text in TEXTS))
    asked = (
        "run",
        "recipe.py",
        "--lab",
        "lab",
        "--set",
        f"texts={texts}",
        "--set",
        f"server={llm.url}",
    )
    code, printed = run(WRONG, *asked)
    assert code == 1
    assert "401 - wrong key ***" in printed
    code, more = run(RIGHT, *asked)
    assert code == 0
    printed += more
    reasons = {
        row["reason"].split(":")[0] for row in pq.read_table("lab/labels/dropped").to_pylist()
    }
    assert reasons == {"unparsable", "refused", "out_of_range"}
    for words in (
        ("show", "--lab", "lab"),
        ("verify", "--lab", "lab"),
        ("forget", "labels", "--lab", "lab"),
    ):
        printed += run(RIGHT, *words)[1]
    texts.write_text(json.dumps({"text": "@slow"}))
    code, late = run(RIGHT, *(x.replace("lab", "late") if x == "lab" else x for x in asked))
    assert code == 1
    assert "no answer in 1 s" in late
    llm.stop()
    code, dead = run(RIGHT, *(x.replace("lab", "dead") if x == "lab" else x for x in asked))
    assert code == 1
    assert "does not answer" in dead
    for said in (printed, late, dead, *said_in(tmp_path)):
        assert WRONG not in said
        assert RIGHT not in said


FAR = """
from ramify import Files, Read, Recipe

def recipe() -> Recipe:
    read = Read(name="texts", source=Files(path="hf://datasets/people/texts"), filters=())
    return Recipe(name="far", steps=(read,))
"""


def test_a_token_of_the_hub_is_nowhere_whether_it_may_read_or_not(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("huggingface_hub")
    (tmp_path / "far.py").write_text(FAR)
    with hub_server.serving(Hub(needs_token="hf_Zq7right")) as hub:
        hub.commit({"a.jsonl": b'{"text": "a because b"}\n'})
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        printed = ""
        for token, expected in (("hf_Zq7wrong", 1), ("hf_Zq7right", 0)):
            monkeypatch.setenv("HF_TOKEN", token)
            code, told = run("none", "run", "far.py", "--lab", f"lab-{expected}")
            assert code == expected
            printed += told
    assert not any("Zq7" in said for said in (printed, *said_in(tmp_path)))


@pytest.mark.parametrize("key", ["sk-proj-Zq7", "hf_aBcDeF123", "a key", ""])
def test_a_key_in_place_of_its_variable_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(ValueError, match="the name of an environment variable") as told:
        Server(base_url="http://host/v1", keys=("OPENAI_API_KEY", key))
    assert not key or key not in str(told.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"base": "https://me:Zq7@host/"},
        {"base": "https://host/?token=Zq7"},
        {"index": ("cc.cdx", "https://me:Zq7@host/cc.cdx")},
        {"index": ("https://host/cc.cdx?X-Amz-Signature=Zq7",)},
        {"index": ("s3://me:Zq7@bucket/cc.cdx",)},
    ],
)
def test_an_archive_whose_address_holds_a_secret_is_refused_and_not_repeated(
    fields: dict[str, Any],
) -> None:
    with pytest.raises(ValueError, match="holds a secret") as told:
        Fetch(**{"name": "f", "index": ("cc.cdx",), "urls": "urls.txt", **fields})
    assert "Zq7" not in str(told.value)


def test_an_index_of_this_machine_or_a_public_one_is_no_secret() -> None:
    plain = (
        "in@dex/cc?.cdx",
        "s3://commoncrawl/cc-index/*.parquet",
        "https://host/cc.cdx",
        "s3://b/cc?.cdx",
    )
    assert Fetch(name="f", index=plain, urls="urls.txt").index == plain
