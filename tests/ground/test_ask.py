"""A server is asked within its limits and the cap, each question once, whatever it answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ramify.ground.answers import Answers, Reply
from ramify.ground.ask import Asker, Outcome, Pace, Question, asked_to_wait
from ramify.ground.errors import BadInput, Corrupt, Failed, Stopped
from ramify.ground.server import Cap, Server

pytest.importorskip("openai")

Ask = Callable[..., list[Outcome[int]]]


def question(text: str, model: str = "m", **fields: Any) -> Question:
    return Question(
        model=model, messages=({"role": "user", "content": text},), max_tokens=20, **fields
    )


def score(reply: Reply) -> int:
    """Return the score in a reply, as a check does."""
    try:
        found = int(json.loads(reply.text)["score"])
    except ValueError:
        raise BadInput("unparsable: prose") from None
    if found > 5:
        raise BadInput("out_of_range: too high")
    return found


def quiet(_: int) -> None:
    """Hear how many are done, and say nothing."""


class Asked:
    """An asker with a file of answers, and the texts it is asked about."""

    def __init__(self, llm: Any, home: Path, **fields: Any) -> None:
        cap = fields.pop("cap", Cap(tokens=1_000_000))
        self.payer = fields.pop("payer", "p")
        tries = fields.pop("tries", 3)
        given = {"base_url": llm.url, "keys": (), "first_wait_seconds": 0.01, **fields}
        self.answers = Answers(home / "answers.sqlite", self.payer)
        self.asker = Asker(Server(**given), cap, self.answers, tries=tries)

    def __call__(self, *texts: str, said: Any = quiet, **fields: Any) -> list[Outcome[int]]:
        with closing(self.answers):
            return self.asker.ask([question(text, **fields) for text in texts], score, said)


def test_values_come_in_the_order_of_the_questions(llm: Any, tmp_path: Path) -> None:
    texts = [f"{n} " + "because " * (n % 5) for n in range(40)]
    outcomes = Asked(llm, tmp_path)(*texts)
    assert [outcome.value for outcome in outcomes] == [n % 5 for n in range(40)]
    assert llm.asked == 40


def test_what_was_answered_is_never_asked_again_by_anybody(llm: Any, tmp_path: Path) -> None:
    first = Asked(llm, tmp_path)("a because", "b")
    other = Asked(llm, tmp_path, payer="other")
    assert other("b", "a because") == first[::-1]
    assert (llm.asked, other.asker.budget.prompt) == (2, 0)
    again = Asked(llm, tmp_path)
    assert again("b", repeat=1)[0].value == 0
    assert llm.asked == 3
    assert again.asker.budget.prompt == 150  # what the first attempt paid counts


def test_prose_and_scores_off_the_scale_are_asked_again_a_number_of_times(
    llm: Any, tmp_path: Path
) -> None:
    asked = Asked(llm, tmp_path, tries=2)
    outcomes = asked("@prose", "@prose-once because", "@range", "fine")
    assert [(o.value, o.why, o.asked) for o in outcomes] == [
        (None, "unparsable: prose", 2),
        (1, None, 2),
        (None, "out_of_range: too high", 2),
        (0, None, 1),
    ]
    assert asked.asker.tally.asked_again == 3


def test_a_server_that_is_busy_or_broken_for_a_while_is_asked_again(
    llm: Any, tmp_path: Path
) -> None:
    asked = Asked(llm, tmp_path)
    outcomes = asked(
        "@busy-once because", "@broken-once", "@html-once because because", "@later-once"
    )
    assert [outcome.value for outcome in outcomes] == [1, 0, 2, 0]
    assert asked.asker.tally.rate_limited == 2
    assert asked.asker.tally.failed == 1


NOON = "Wed, 25 Nov 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "7", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": "-1"}, 0),
        ({"retry-after": "1e9"}, 600),
        ({"retry-after": "nan"}, 0),
        ({"retry-after": "Wed, 25 Nov 2026 12:01:30 GMT", "date": NOON}, 90),
        ({"retry-after": "Wednesday, 25-Nov-26 12:01:30 GMT", "date": NOON}, 90),
        ({"retry-after": "Wed Nov 25 12:01:30 2026", "date": NOON}, 90),
        ({"retry-after": "Wed, 25 Nov 2026 11:59:00 GMT", "date": NOON}, 0),
        ({"retry-after": "Thu, 26 Nov 2026 12:00:00 GMT", "date": NOON}, 600),
        ({"retry-after": "Thu, 01 Jan 2015 00:00:00 GMT"}, 0),
        ({"retry-after": "Fri, 01 Jan 2100 00:00:00 GMT", "date": "no date"}, 600),
        ({"retry-after": "soon"}, 0),
        ({"retry-after": "Wed, 99 Nov 2026 12:00:00 GMT"}, 0),
    ],
)
def test_a_server_asks_to_wait_in_seconds_or_until_a_date(
    headers: dict[str, str], seconds: float
) -> None:
    assert asked_to_wait(headers) == seconds


@pytest.mark.parametrize("text", ["@busy", "@broken", "@html", "@slow", "@drip"])
def test_a_server_that_never_answers_ends_in_one_clear_line(
    llm: Any, tmp_path: Path, text: str
) -> None:
    asked = Asked(llm, tmp_path, attempts=2, timeout_seconds=0.4)
    with pytest.raises(Failed, match="does not answer \\(2 attempts"):
        asked(text)
    may_be_billed = 2 * (20 + question(text).most_prompt_tokens())
    spent = asked.asker.budget.prompt + asked.asker.budget.completion
    assert spent == (may_be_billed if text in ("@slow", "@drip") else 0)


@pytest.mark.parametrize("text", ["@broken", "@html", "@slow"])
def test_a_question_on_which_the_server_errs_while_it_answers_others_is_unanswered(
    llm: Any, tmp_path: Path, text: str
) -> None:
    others = [f"{n} because" for n in range(400)]
    asked = Asked(
        llm, tmp_path, attempts=3, timeout_seconds=0.1, concurrency=2, first_wait_seconds=0.05
    )
    outcomes = asked(text, *others)
    assert outcomes[0].value is None
    assert str(outcomes[0].why).startswith("unanswered: ")
    assert [outcome.value for outcome in outcomes[1:]] == [1] * len(others)


def test_a_question_whose_turn_does_not_come_is_asked_for_as_long_as_others_are_answered(
    llm: Any, tmp_path: Path
) -> None:
    others = [f"{n} because" for n in range(60)]
    with pytest.raises(Failed, match="does not answer \\(5 attempts: 429"):
        Asked(llm, tmp_path, attempts=5, concurrency=2)("@busy", *others)
    assert llm.asked > len(others) + 2
    kept = Asked(llm, tmp_path)
    assert [outcome.value for outcome in kept(*others)] == [1] * len(others)
    assert kept.asker.tally.kept_already == len(others)


def test_a_server_that_dies_half_way_is_started_again_and_asked_only_for_the_rest(
    llm: Any, tmp_path: Path
) -> None:
    texts = [f"{n} because" for n in range(20)]
    with pytest.raises(Failed, match="what was answered is kept"):
        Asked(llm, tmp_path, attempts=2, concurrency=1)(*texts[:10], "@die", *texts[10:])
    llm.start()
    outcomes = Asked(llm, tmp_path)(*texts)
    assert [outcome.value for outcome in outcomes] == [1] * 20
    assert llm.asked == 10


def test_the_cap_is_never_passed(llm: Any, tmp_path: Path) -> None:
    texts = [f"number {n}" for n in range(50)]
    asked = Asked(llm, tmp_path, cap=Cap(tokens=1000), concurrency=8)
    with pytest.raises(Failed, match="the cap \\(1,000 tokens\\) is reached"):
        asked(*texts)
    budget = asked.asker.budget
    assert 0 < budget.prompt + budget.completion <= 1000
    assert llm.asked * 60 == budget.prompt + budget.completion
    outcomes = Asked(llm, tmp_path, cap=Cap(tokens=10_000))(*texts)
    assert len(outcomes) == llm.asked == 50


def test_a_cap_in_dollars_needs_prices_and_holds(llm: Any, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="without prices"):
        Asked(llm, tmp_path, cap=Cap(dollars=1.0))
    dear = Asked(llm, tmp_path, cap=Cap(dollars=1.0), price_prompt=1000.0)  # $0.05 a question
    with pytest.raises(Failed, match="spent"):
        dear(*(f"number {n}" for n in range(50)))
    assert 0.5 < dear.asker.budget.dollars <= 1.0


def test_the_key_comes_from_the_environment_and_is_nowhere_else(
    llm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BadInput, match="the environment has no RAMIFY_TEST_KEY"):
        Asked(llm, tmp_path, keys=("RAMIFY_TEST_KEY",))
    monkeypatch.setenv("RAMIFY_TEST_KEY", "wrong-secret")
    with pytest.raises(BadInput, match=r"401: .*wrong key \*\*\*") as told:
        Asked(llm, tmp_path, keys=("RAMIFY_TEST_KEY",))("a", model="strict")
    assert "wrong-secret" not in str(told.value)
    monkeypatch.setenv("RAMIFY_TEST_KEY", "sesame")
    assert Asked(llm, tmp_path, keys=("RAMIFY_TEST_KEY",))("a", model="strict")[0].value == 0
    assert not any(b"sesame" in path.read_bytes() for path in tmp_path.iterdir())


@pytest.mark.parametrize("key", ["sk-Zq7\n", " sk-Zq7", "sk-Zq7é", "“sk-Zq7”"])
def test_a_key_that_no_request_can_carry_is_told_by_its_variable(
    key: str, llm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAMIFY_TEST_KEY", key)
    with pytest.raises(BadInput, match="RAMIFY_TEST_KEY holds more than a key") as told:
        Asked(llm, tmp_path, keys=("RAMIFY_TEST_KEY",))
    assert "Zq7" not in str(told.value)


@pytest.mark.parametrize(
    "url", ["http://me:secret@host/v1", "http://host/v1?key=secret", "host:80", "file:///v1"]
)
def test_an_address_with_a_secret_or_without_a_host_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="secret" if "secret" in url else "no address") as told:
        Server(base_url=url)
    assert "me:secret@" not in str(told.value).split("input_value")[0]


def test_a_document_that_is_refused_is_one_loss_and_a_request_that_always_is_an_error(
    llm: Any, tmp_path: Path
) -> None:
    outcomes = Asked(llm, tmp_path, concurrency=1)("because", "@refuse", "b")
    assert [outcome.value for outcome in outcomes] == [1, None, 0]
    assert str(outcomes[1].why).startswith("refused: 400 ")
    with pytest.raises(BadInput, match="refused 8 of 8 requests: 400"):
        Asked(llm, tmp_path)(*(f"{n} @refuse" for n in range(12)))


def test_who_is_told_to_stop_stops_and_keeps_what_was_answered(llm: Any, tmp_path: Path) -> None:
    def stop(done: int) -> None:
        raise Stopped("told to stop")

    with pytest.raises(Stopped):
        Asked(llm, tmp_path)("a", "@slow", said=stop)
    with closing(Answers(tmp_path / "answers.sqlite", "p")) as answers:
        assert answers.get(question("a").key(0)) is not None


def test_the_turns_of_a_key_are_spaced_below_its_limits(llm: Any) -> None:
    server = Server(base_url=llm.url, requests_per_minute=60_000, tokens_per_minute=6_000_000)

    async def turns(count: int, tokens: int) -> float:
        pace = Pace(server, None)
        began = asyncio.get_running_loop().time()
        for _ in range(count):
            await pace.turn(tokens)
        return pace.free_at - began

    assert asyncio.run(turns(20, 10)) >= 20 * 60 / 60_000
    assert asyncio.run(turns(20, 1000)) >= 20 * 1000 * 60 / 6_000_000


def test_answers_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    path.write_text("not a table " * 100)
    with pytest.raises(Corrupt, match=r"answers\.sqlite cannot be used"):
        Answers(path, "p")
