"""Asks any OpenAI-compatible server many questions at once, within a hard cap, and never one twice.

    question ─► kept already? ─► cap ─► turn of a key ─► server ─► kept ─► check ─┬─► value
                    ▲                     ▲ 429, time-out, 5xx: wait, again ─┘    │ asked again,
                    └──────────────────── a number of times ─────────────────────┴─► why not

The key comes from the environment and is in no record, error or log.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Generic, TypeVar

from ramify.ground.answers import Answers, Reply
from ramify.ground.errors import BadInput, Failed, RamifyError
from ramify.ground.extras import need
from ramify.ground.server import Cap, Server

T = TypeVar("T")
MILLION = 1_000_000
LONGEST_WAIT = 60.0  # seconds between two attempts, unless the server asks for more
MOST_ASKED_WAIT = 600.0  # seconds that a server can ask for
DRAIN_SECONDS = 10.0  # for what is under way when all must stop
TICK_SECONDS = 0.5
BYTES_A_TOKEN = 4  # about, as servers count what a request will take of a limit
FRAME_TOKENS = 64  # of a chat template around the messages, generously
MOST_REFUSED = 8  # questions, before anything was answered: then the request itself is at fault


@dataclass(frozen=True, slots=True)
class Question:
    """One request, whole: equal questions have equal answers, wherever they are asked.

    `repeat` tells apart the times that the same is asked to see whether the answer holds.
    """

    model: str
    messages: tuple[Mapping[str, str], ...]
    max_tokens: int
    temperature: float = 0.0
    form: Mapping[str, Any] | None = None  # what the API calls response_format
    extra: Mapping[str, Any] = field(default_factory=dict)
    repeat: int = 0

    def body(self) -> dict[str, Any]:
        """Return what is sent."""
        told = {
            "model": self.model,
            "messages": [dict(message) for message in self.messages],
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
        }
        if self.form is not None:
            told["response_format"] = dict(self.form)
        return {**told, "extra_body": dict(self.extra)} if self.extra else told

    def key(self, attempt: int) -> str:
        """Return the hash that its answer is kept under."""
        told = {"body": self.body(), "repeat": self.repeat, "attempt": attempt}
        text = json.dumps(told, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def most_prompt_tokens(self) -> int:
        """Return a bound: no tokenizer makes more tokens of a text than it has bytes."""
        size = sum(len(message["content"].encode()) for message in self.messages)
        return size + FRAME_TOKENS + len(json.dumps(self.form)) * (self.form is not None)


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """The value of a question, or why there is none, as `kind: detail`; and how often it was put."""

    value: T | None
    why: str | None
    asked: int


class Refused(Exception):
    """The server takes this request for wrong: asking again cannot help."""


class Unanswered(Exception):
    """The server errs on this question and answers others: asking again has not helped."""


class Budget:
    """What is spent and set aside; a question whose dearest answer may not fit is never sent.

    A server that bills a prompt at more than its bytes and a frame (a long template of its own) is
    found out by its first answers, and more is set aside from then on.
    """

    def __init__(self, server: Server, cap: Cap, paid: tuple[int, int]) -> None:
        if cap.dollars is not None and server.prices is None:
            raise BadInput(
                f"a cap of ${cap.dollars} without prices",
                hint="give the server price_prompt and price_completion, in $ for a million tokens",
            )
        self._server, self._cap = server, cap
        self.prompt, self.completion = paid
        self._aside = [0, 0]
        self._unforeseen = 0  # prompt tokens of one question that no bound had

    @property
    def dollars(self) -> float:
        """What is spent so far, at the prices given."""
        return self._price(self.prompt, self.completion)

    def reserve(self, prompt: int, completion: int) -> None:
        """Set the most that a question can cost aside; raise Failed if that could pass the cap."""
        most = (
            self.prompt + self._aside[0] + prompt + self._unforeseen,
            self.completion + self._aside[1] + completion,
        )
        over = (self._cap.tokens is not None and sum(most) > self._cap.tokens) or (
            self._cap.dollars is not None and self._price(*most) > self._cap.dollars
        )
        if over:
            raise Failed(
                f"the cap ({self._told()}) is reached: {self.prompt + self.completion:,} tokens"
                f" (${self.dollars:.2f}) are spent, and the next question may cost too much",
                hint="raise cap (of a recipe that comes with Ramify: --set label_tokens=N) and type the same"
                " command again; what was answered is kept",
            )
        self._aside[0] += prompt
        self._aside[1] += completion

    def settle(self, reserved: tuple[int, int], paid: tuple[int, int]) -> None:
        """Give back what was set aside, and take what was paid."""
        self._aside[0] -= reserved[0]
        self._aside[1] -= reserved[1]
        self._unforeseen = max(self._unforeseen, paid[0] - reserved[0])
        self.prompt += paid[0]
        self.completion += paid[1]

    def _price(self, prompt: int, completion: int) -> float:
        server = self._server
        return (prompt * server.price_prompt + completion * server.price_completion) / MILLION

    def _told(self) -> str:
        tokens = "" if self._cap.tokens is None else f"{self._cap.tokens:,} tokens"
        dollars = "" if self._cap.dollars is None else f"${self._cap.dollars:g}"
        return " and ".join(filter(None, (tokens, dollars)))


class Pace:
    """The turns of one key: evenly spaced below its limits, and none while the server says wait."""

    def __init__(self, server: Server, client: Any) -> None:
        self.client = client
        self._per_request = 60 / server.requests_per_minute if server.requests_per_minute else 0.0
        self._per_token = 60 / server.tokens_per_minute if server.tokens_per_minute else 0.0
        self.free_at = 0.0
        self._closed_until = 0.0

    async def turn(self, tokens: int) -> None:
        """Wait for the next turn, and take it."""
        loop = asyncio.get_running_loop()
        at = max(loop.time(), self.free_at)
        self.free_at = at + max(self._per_request, tokens * self._per_token)
        while (wait := max(at, self._closed_until) - loop.time()) > 0:
            await asyncio.sleep(wait)

    def close_for(self, seconds: float) -> None:
        """Let nobody have a turn for so long: the server said that this key asks too often."""
        self._closed_until = max(self._closed_until, asyncio.get_running_loop().time() + seconds)
        self.free_at = max(self.free_at, self._closed_until)


@dataclass
class Tally:
    """What happened on the way, for the record."""

    answered: int = 0
    kept_already: int = 0
    asked_again: int = 0
    rate_limited: int = 0
    timed_out: int = 0
    failed: int = 0


Said = Callable[[int], None]


class Asker:
    """Questions in, checked values out, in the order of the questions. One for a whole step."""

    def __init__(self, server: Server, cap: Cap, answers: Answers, *, tries: int = 3) -> None:
        self._openai = need("openai", extra="labels")
        self._server, self._answers, self._tries = server, answers, tries
        self.budget = Budget(server, cap, answers.paid())
        self.tally = Tally()
        self._keys = [_key(name) for name in server.keys] or ["none"]
        self._stop: RamifyError | None = None
        self._ever = False
        self._answered_at = 0.0  # in the time of the event loop: when the server last answered
        self._refused = 0
        self._paces: list[Pace] = []

    def ask(
        self, questions: Sequence[Question], check: Callable[[Reply], T], said: Said
    ) -> list[Outcome[T]]:
        """Return the outcome of every question.

        `check` turns a reply into a value, or raises BadInput, whose message, `kind: detail`, is why
        it is asked again, `tries` times in all. A question on which the server errs as often as it may,
        while it answers others, is `unanswered`. `said` hears how many are done, now and then, and may
        raise Stopped. Raises Failed at the cap or for a server that does not answer, BadInput for one
        that takes no such request; what was answered until then is kept.
        """
        return asyncio.run(self._all(questions, check, said))

    async def _all(
        self, questions: Sequence[Question], check: Callable[[Reply], T], said: Said
    ) -> list[Outcome[T]]:
        outcomes: dict[int, Outcome[T]] = {}
        waiting = iter(enumerate(questions))
        self._paces = [Pace(self._server, self._client(key)) for key in self._keys]

        async def work() -> None:
            for index, question in waiting:
                if self._stop is not None:
                    return
                try:
                    outcomes[index] = await self._outcome(question, check)
                except RamifyError as error:
                    self._stop = self._stop or error

        count = min(self._server.concurrency, len(questions))
        workers = [asyncio.ensure_future(work()) for _ in range(count)]
        try:
            await self._watch(workers, lambda: said(len(outcomes)))
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            for pace in self._paces:
                await pace.client.close()
        if self._stop is not None:
            raise self._stop
        return [outcomes[index] for index in range(len(questions))]

    async def _watch(
        self, workers: Sequence[asyncio.Future[None]], say: Callable[[], None]
    ) -> None:
        """Wait for the workers, saying how far they are; give up what is under way soon after a stop."""
        left: set[asyncio.Future[None]] = set(workers)
        loop = asyncio.get_running_loop()
        give_up: float | None = None
        while left:
            done, left = await asyncio.wait(left, timeout=TICK_SECONDS)
            for worker in done:
                worker.result()  # a mistake of ours is raised, never swallowed
            try:
                say()
            except RamifyError as error:
                self._stop = self._stop or error
            if self._stop is not None:
                give_up = give_up or loop.time() + DRAIN_SECONDS
                if loop.time() > give_up:
                    return

    def _client(self, key: str) -> Any:
        return self._openai.AsyncOpenAI(
            base_url=self._server.base_url,
            api_key=key,
            max_retries=0,  # attempts are counted here, where the cap and the pace are known
            timeout=self._server.timeout_seconds,
        )

    async def _outcome(self, question: Question, check: Callable[[Reply], T]) -> Outcome[T]:
        why = ""
        for attempt in range(self._tries):
            try:
                reply = await self._reply(question, question.key(attempt))
            except Refused as refused:
                return Outcome(None, f"refused: {refused}", attempt + 1)
            except Unanswered as said:
                return Outcome(None, f"unanswered: {said}", attempt + 1)
            try:
                return Outcome(check(reply), None, attempt + 1)
            except BadInput as error:
                why = error.message
            self.tally.asked_again += attempt + 1 < self._tries
        return Outcome(None, why, self._tries)

    async def _reply(self, question: Question, key: str) -> Reply:
        kept = self._answers.get(key)
        if kept is not None:
            self.tally.kept_already += 1
            return kept
        most = (question.most_prompt_tokens(), question.max_tokens)
        clock = asyncio.get_running_loop().time
        failures, counted_from, failed_at = 0, math.inf, math.inf
        while failures < self._server.attempts:
            if self._stop is not None:
                raise self._stop
            wait = self._server.first_wait_seconds * 2**failures * random.uniform(0.75, 1.25)
            answer = await self._once(question, most, min(wait, LONGEST_WAIT))
            if isinstance(answer, Reply):
                self._answers.put(key, answer)
                self.tally.answered += 1
                self._ever, self._answered_at = True, clock()
                return answer
            said, limited = answer, answer.startswith("429")
            failures += 1
            if limited and self._answered_at > counted_from:
                failures = 1  # others have their turn, so its own will come
            elif failures == self._server.attempts and self._answered_at > failed_at:
                raise Unanswered(said)
            failed_at = clock()
            if failures == 1:
                counted_from = failed_at
        raise Failed(
            f"{self._server.base_url} does not answer ({self._server.attempts} attempts: {said})",
            hint="see to the server and type the same command again; what was answered is kept",
        )

    async def _once(self, question: Question, most: tuple[int, int], wait: float) -> Reply | str:
        """Return the reply, or what went wrong after having waited as long as is asked."""
        pace = min(self._paces, key=lambda pace: pace.free_at)
        await pace.turn(most[0] // BYTES_A_TOKEN + most[1])
        self.budget.reserve(*most)
        paid = (0, 0)
        try:
            async with asyncio.timeout(self._server.timeout_seconds):  # of the whole, drip by drip
                told = await pace.client.chat.completions.create(**question.body())
            reply = _reply_of(told, most)
            if reply is not None:
                paid = (reply.prompt_tokens, reply.completion_tokens)
                return reply
            said = "what it returns is no chat completion"
        except (TimeoutError, self._openai.APITimeoutError, asyncio.CancelledError) as error:
            paid = most  # it may have been served, and billed
            self._answers.lose(*most)
            if isinstance(error, asyncio.CancelledError):
                raise
            self.tally.timed_out += 1
            said = f"no answer in {self._server.timeout_seconds:g} s"
        except self._openai.APIError as error:
            said, wait = self._went_wrong(error, pace, wait)
        finally:
            self.budget.settle(most, paid)
        await asyncio.sleep(wait)
        return said

    def _went_wrong(self, error: Any, pace: Pace, wait: float) -> tuple[str, float]:
        """Return what to say of an error and how long to wait; raise where waiting cannot help."""
        status = getattr(error, "status_code", None)
        said = self._short(getattr(error, "message", str(error)))
        match status:
            case 429:
                self.tally.rate_limited += 1
                wait = max(wait, _retry_after(error))
                pace.close_for(wait)
                return f"429: {said}", 0.0
            case 401 | 403 | 404:
                raise BadInput(
                    f"{self._server.base_url} says {status}: {said}",
                    hint="look at base_url, the model's name, and the variables in keys",
                ) from None
            case int() if 400 <= status < 500 and status not in (408, 409):
                self._refuse(status, said)
                raise Refused(f"{status} {said}") from None
            case _:
                self.tally.failed += 1
                return said, max(wait, _retry_after(error))

    def _short(self, text: str) -> str:
        """Return what a server says, in a line, without the key that some of them repeat."""
        for key in self._keys if self._server.keys else ():
            text = text.replace(key, "***")
        line = " ".join(text.split())
        return line if len(line) <= 200 else line[:197] + "..."

    def _refuse(self, status: int, said: str) -> None:
        self._refused += 1
        if not self._ever and self._refused >= MOST_REFUSED:
            raise BadInput(
                f"{self._server.base_url} refused {self._refused} of {self._refused} requests:"
                f" {status}: {said}",
                hint="look at the model's name, structured, max_tokens and extra",
            ) from None


def _key(name: str) -> str:
    key = os.environ.get(name)
    if not key:
        raise BadInput(
            f"the environment has no {name}",
            hint=f"type: export {name}=..., or give the server keys=() if it asks for none",
        )
    if key != key.strip() or not (key.isascii() and key.isprintable()):
        raise BadInput(
            f"{name} holds more than a key: space at an end, a line end, or a character beyond ASCII",
            hint=f"type: export {name}=... with the key alone",
        )
    return key


def _reply_of(told: Any, most: tuple[int, int]) -> Reply | None:
    """Return the reply in what a server returned with 200, which need not be what it should."""
    choices = getattr(told, "choices", None)
    if not choices:
        return None
    usage = getattr(told, "usage", None)
    prompt, completion = (
        getattr(usage, "prompt_tokens", None),
        getattr(usage, "completion_tokens", None),
    )
    return Reply(
        text=choices[0].message.content or "",
        finish=choices[0].finish_reason or "",
        prompt_tokens=most[0] if prompt is None else prompt,
        completion_tokens=most[1] if completion is None else completion,
    )


def _retry_after(error: Any) -> float:
    return asked_to_wait(getattr(getattr(error, "response", None), "headers", {}))


def asked_to_wait(headers: Mapping[str, str]) -> float:
    """Return the seconds that a server asks to wait, at most 600; 0 if it says nothing that can be read.

    `retry-after` is a number of seconds or a date (RFC 9110, 10.2.3); a date is held to that of the
    answer itself, whose clock set it.
    """
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            return max(0.0, min(float(headers[name]) * unit, MOST_ASKED_WAIT))
        except (KeyError, ValueError):  # absent, or a date
            continue
    until = _date(headers.get("retry-after"))
    if until is None:
        return 0.0
    now = _date(headers.get("date")) or datetime.now(UTC)
    return max(0.0, min((until - now).total_seconds(), MOST_ASKED_WAIT))


def _date(text: str | None) -> datetime | None:
    """Return an HTTP date, or None for what is none."""
    try:
        date = parsedate_to_datetime(text or "")
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
