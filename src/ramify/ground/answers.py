"""What an LLM server answered, kept on disk by the content of the question: nothing is paid twice."""

from __future__ import annotations

import contextlib
import sqlite3
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ramify.ground.errors import Corrupt

NAME = "answers.sqlite"
TABLE = (
    "CREATE TABLE IF NOT EXISTS answers (question TEXT PRIMARY KEY, payer TEXT NOT NULL,"
    " text TEXT, finish TEXT, prompt INTEGER NOT NULL, completion INTEGER NOT NULL)"
)


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer, why it ended (`stop`, `length`), and the tokens that it was billed at."""

    text: str
    finish: str
    prompt_tokens: int
    completion_tokens: int


class Answers:
    """A file of answers, shared by every step and process that names it; no key is ever in it.

    `payer` is who pays for what is put: what it has paid so far is known to its next attempt too.
    Raises Corrupt for a file that is no such table.
    """

    def __init__(self, path: Path, payer: str) -> None:
        self.path = path
        self.payer = payer
        with self._naming():
            self._table = sqlite3.connect(path, timeout=60, isolation_level=None)
            self._table.execute("PRAGMA journal_mode=WAL")
            self._table.execute(TABLE)

    def get(self, question: str) -> Reply | None:
        """Return the answer to a question, whoever paid for it, or None."""
        with self._naming():
            row = self._table.execute(
                "SELECT text, finish, prompt, completion FROM answers WHERE question = ?",
                (question,),
            ).fetchone()
        return Reply(*row) if row else None

    def put(self, question: str, reply: Reply) -> None:
        """Keep an answer; it survives a kill from here on."""
        row = (question, self.payer, reply.text, reply.finish)
        self._insert((*row, reply.prompt_tokens, reply.completion_tokens))

    def lose(self, prompt_tokens: int, completion_tokens: int) -> None:
        """Keep the most that an answer can have cost which never came, since it may be billed."""
        lost = f"lost:{uuid.uuid4().hex}"
        self._insert((lost, self.payer, None, None, prompt_tokens, completion_tokens))

    def paid(self) -> tuple[int, int]:
        """Return the prompt and completion tokens that this payer has paid, over all attempts."""
        with self._naming():
            prompt, completion = self._table.execute(
                "SELECT coalesce(sum(prompt), 0), coalesce(sum(completion), 0)"
                " FROM answers WHERE payer = ?",
                (self.payer,),
            ).fetchone()
        return int(prompt), int(completion)

    def close(self) -> None:
        """Close the file."""
        self._table.close()

    def _insert(self, row: tuple[object, ...]) -> None:
        with self._naming():
            self._table.execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?, ?)", row)

    @contextlib.contextmanager
    def _naming(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise Corrupt(
                f"{self.path} cannot be used ({error})",
                hint="move it away; what it answered is then asked again",
            ) from error
