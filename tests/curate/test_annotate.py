"""Labels come from a model, a file or a function; each document has one, or the reason why it has none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.killing import Killed, Killing

from ramify.curate.annotate import run_annotate
from ramify.curate.labels import check_reply
from ramify.curate.quality_steps import Annotate, Asked, FromFile, FromFunction, Labeller
from ramify.curate.rubrics import EDU_WEB, MATH_3, MATH_5, Rubric, edu_code
from ramify.ground import files
from ramify.ground.answers import Reply
from ramify.ground.errors import BadInput, Failed, NotFound
from ramify.ground.server import Cap, Server
from ramify.ground.step import Input, Ref

from .labelled import contents, graded, made, quiet, row, written

RUBRIC = Rubric(name="reasons", highest=5, text="Count the reasons.")


def annotate(labeller: Labeller, **fields: Any) -> Annotate:
    return Annotate(
        **{"name": "l", "corpus": Ref(name="c"), "labeller": labeller, "rubric": RUBRIC, **fields}
    )


def asked(llm: Any, **fields: Any) -> Annotate:
    server = Server(base_url=llm.url, keys=(), attempts=2, first_wait_seconds=0.01)
    given = {"server": server, "cap": Cap(tokens=1_000_000), **fields}
    return annotate(Asked(model="m", tries=2), **given)


def run(step: Annotate, given: Input, out: Path) -> dict[str, Any]:
    out.mkdir(parents=True, exist_ok=True)
    return run_annotate(step, {"corpus": given}, out, quiet)


def spoken(count: int) -> list[dict[str, Any]]:
    """Return documents with 0 to 5 reasons, and with one that is answered in prose among every ten."""
    return [
        row(f"{n} " + "because " * (n % 6) + ("@prose" if n % 10 == 9 else ""), n, url=f"u://h/{n}")
        for n in range(count)
    ]


def test_every_document_has_a_score_with_its_reason_or_the_reason_why_not(
    llm: Any, tmp_path: Path
) -> None:
    rows = spoken(50)
    given = written(tmp_path / "c", rows)
    facts = run(asked(llm), given, tmp_path / "out")
    kept, dropped = made(tmp_path / "out" / "documents"), made(tmp_path / "out" / "dropped")
    assert [x["label"] for x in kept] == [n % 6 for n in range(50) if n % 10 != 9]
    assert kept[1]["label_reason"] == "1 reasons are given"
    assert {x["reason"].split(":")[0] for x in dropped} == {"unparsable"}
    assert sorted(x["id"] for x in kept + dropped) == sorted(x["id"] for x in rows)
    assert all(x["url"] for x in kept + dropped)
    assert facts["seen"] == 50 == facts["kept"] + sum(facts["dropped"].values())
    assert facts["calls"]["asked_again"] == 5
    assert facts["spent"]["completion_tokens"] == 10 * llm.asked == 10 * (50 + 5)


def test_a_larger_sample_holds_the_smaller_and_pays_only_for_the_rest(
    llm: Any, tmp_path: Path
) -> None:
    given = written(tmp_path / "c", spoken(60))
    few = run(asked(llm, sample=20), given, tmp_path / "few")
    before = llm.asked
    many = run(asked(llm, sample=40), given, tmp_path / "many")
    ids = [{x["id"] for f in ("documents", "dropped") for x in made(tmp_path / n / f)} for n in ("few", "many")]  # fmt: skip
    assert ids[0] < ids[1]
    assert (few["seen"], many["seen"]) == (20, 40)
    assert llm.asked - before == many["calls"]["answered"] < 40


def test_killed_anywhere_it_goes_on_to_the_same_bits_and_pays_nothing_twice(
    llm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ramify.curate.annotate.PIECE_ROWS", 6)
    given = written(tmp_path / "c", spoken(24), per_file=12)
    run(asked(llm), given, tmp_path / "whole" / "out")
    paid = llm.asked
    operation = 1
    while True:
        out = tmp_path / f"{operation:02}" / "out"
        step = asked(llm, answers=str(tmp_path / "answers.sqlite"))
        with monkeypatch.context() as patch:
            patch.setattr(files, "failpoint", Killing(operation))
            try:
                run(step, given, out)
                break
            except Killed:
                pass
        run(step, given, out)
        assert contents(out) == contents(tmp_path / "whole" / "out")
        operation += 1
    assert operation > 20
    assert llm.asked == 2 * paid  # the second time into a file of answers that all attempts share


def test_a_dead_server_leaves_what_was_answered_and_the_step_goes_on(
    llm: Any, tmp_path: Path
) -> None:
    given = written(tmp_path / "c", [*spoken(20), row("@die", 99)])
    with pytest.raises(Failed, match="does not answer"):
        run(asked(llm), given, tmp_path / "out")
    llm.start()
    alive = written(tmp_path / "alive", spoken(20))
    facts = run(asked(llm), alive, tmp_path / "again")
    assert facts["calls"]["kept_already"] > 0
    assert llm.asked + facts["calls"]["kept_already"] == 20 + facts["calls"]["asked_again"]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_labels_come_from_a_file_by_id(tmp_path: Path, kind: str) -> None:
    rows = graded(30)
    given = written(tmp_path / "c", [{k: v for k, v in x.items() if k != "label"} for x in rows])
    scores = [{"id": x["id"], "score": 9.0 if n == 0 else x["label"]} for n, x in enumerate(rows[:20])]  # fmt: skip
    path = tmp_path / f"labels.{kind}"
    if kind == "csv":
        lines = ["id,score", *(f"{x['id']},{x['score']}" for x in scores), f"{rows[25]['id']},"]
        path.write_text("\n".join(lines))
    elif kind == "jsonl":
        path.write_text("\n".join(map(json.dumps, scores)))
    else:
        pq.write_table(pa.Table.from_pylist(scores), path)
    facts = run(annotate(FromFile(path=str(path))), given, tmp_path / "out")
    found = {x["id"]: x["label"] for x in made(tmp_path / "out" / "documents")}
    assert found == {x["id"]: x["label"] for x in rows[1:20]}
    assert facts["dropped"] == {"out_of_range": 1}


def test_a_file_that_cannot_be_used_is_told_in_a_line(tmp_path: Path) -> None:
    given = written(tmp_path / "c", graded(5))
    path = tmp_path / "labels.csv"
    step = annotate(FromFile(path=str(path)))
    with pytest.raises(NotFound, match="there is no file"):
        run(step, given, tmp_path / "out")
    for text, said in [
        ("name,score\na,1", "no column 'id'"),
        ("id,score\na,good", "score"),
        ("id,score\na,1\na,2", "gives a the scores 1 and 2"),
        ("id,score\na,", "holds no scores"),
        ("id,score\na,1", "none of 1 labels is of a document"),
    ]:
        path.write_text(text)
        with pytest.raises(BadInput, match=said):
            run(step, given, tmp_path / "out")


def test_labels_come_from_a_function_of_an_importable_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_labels.py").write_text(
        "from os.path import join\n"
        "def rare(text):\n"
        "    if text == 'odd': return 1 / 0\n"
        "    return None if text == 'none' else min(text.count('theorem'), 6)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    rows = [row(text, n) for n, text in enumerate(["theorem", "odd", "none", "theorem " * 9])]
    given = written(tmp_path / "c", rows)
    facts = run(annotate(FromFunction(function="my_labels:rare")), given, tmp_path / "out")
    assert [x["label"] for x in made(tmp_path / "out" / "documents")] == [1.0]
    assert facts["dropped"] == {"function_failed": 1, "no_label": 1, "out_of_range": 1}
    for name, said in [
        ("my_labels:join", "no function written in my_labels"),
        ("os:system", "no function written in os"),
        ("my_labels:gone", "no function written"),
        ("nowhere_at_all:f", "No module named"),
    ]:
        with pytest.raises(BadInput, match=said):
            run(annotate(FromFunction(function=name)), given, tmp_path / "not")


@pytest.mark.parametrize(
    ("text", "finish", "why"),
    [
        ("A good page.", "stop", "unparsable: 'A good page.'"),
        ('{"reason": "it is', "length", "cut_off: after 7 tokens"),
        ('{"reason": "r"}', "stop", "unparsable: no whole score"),
        ('{"reason": "r", "score": true}', "stop", "unparsable: no whole score"),
        ('{"reason": "r", "score": 2.5}', "stop", "unparsable: no whole score"),
        ('{"reason": "r", "score": NaN}', "stop", "unparsable: no whole score"),
        ('{"reason": "r", "score": 1e999}', "stop", "unparsable: no whole score"),
        ("[3]", "stop", "unparsable: no whole score"),
        ("[" * 100_000, "stop", "unparsable"),
        ('{"reason": "r", "score": 6}', "stop", "out_of_range: 6 is not in 0 to 5"),
        ('{"reason": "r", "score": -1}', "stop", "out_of_range: -1 is not in 0 to 5"),
    ],
)
def test_what_is_no_score_of_the_scale_is_no_label(text: str, finish: str, why: str) -> None:
    with pytest.raises(BadInput) as told:
        check_reply(RUBRIC, Reply(text, finish, 10, 7))
    assert told.value.message.startswith(why)


@pytest.mark.parametrize("text", ['{"reason": "r", "score": 3}', '```json\n{"score": 3.0}\n```'])
def test_a_score_is_read_out_of_json_fenced_or_bare(text: str) -> None:
    assert check_reply(RUBRIC, Reply(text, "stop", 1, 1)).score == 3.0


def test_rubrics_say_their_scale_and_bound_what_is_shown() -> None:
    for rubric, highest in [(MATH_3, 3), (MATH_5, 5), (EDU_WEB, 5), (edu_code("C++"), 5)]:
        system, user = rubric.messages("x" * 100_000)
        assert f"from 0 to {highest}" in system["content"]
        assert len(user["content"]) < rubric.excerpt_characters + 100
    assert "C++" in edu_code("C++").text
    with pytest.raises(ValueError, match="no scale"):
        Rubric(name="x", highest=0, text="none")


def test_who_asks_without_a_server_or_a_cap_is_told_so() -> None:
    with pytest.raises(ValueError, match="without a server or without a cap"):
        annotate(Asked(model="m"), server=Server(base_url="http://h/v1"))
