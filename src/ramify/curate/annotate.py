"""Labels a sample of a corpus, each label with its reason, by a model, a file or a function.

corpus ─► sample ─► pieces ─► labeller ─┬─► documents/00000.parquet (+ label, label_reason)
                                        └─► dropped/00000.parquet (why there is no label)
"""

from __future__ import annotations

import importlib
import inspect
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ramify.curate import corpora
from ramify.curate.labels import Label, check_reply, from_file, unlabelled
from ramify.curate.ledger import Ledger
from ramify.curate.quality_steps import Annotate, Asked, FromFile, FromFunction
from ramify.curate.read import COUNTS
from ramify.curate.rubrics import Rubric
from ramify.curate.tables import writing
from ramify.ground import answers as kept
from ramify.ground import files
from ramify.ground.answers import Answers
from ramify.ground.artifact import digest
from ramify.ground.ask import Asker, Question
from ramify.ground.errors import BadInput
from ramify.ground.step import Input, Tell

PIECE_ROWS = 2048
LAB = "lab.json"
MISTAKES = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)

Labeller = Callable[[list[str], list[str], Callable[[int], None]], list[Label]]
"""Takes ids, texts and whom to tell how many are done."""


@dataclass(frozen=True)
class Piece:
    """Rows of the corpus, out of one shard or several, that are labelled together."""

    rows: tuple[tuple[Path, npt.NDArray[np.int64]], ...]

    @property
    def documents(self) -> int:
        """How many there are."""
        return sum(len(rows) for _, rows in self.rows)

    def read(self) -> pa.Table:
        """Return the rows, with whatever columns the corpus has."""
        return pa.concat_tables(pq.read_table(path).take(rows) for path, rows in self.rows)


def run_annotate(
    step: Annotate, inputs: Mapping[str, Input], out: Path, tell: Tell
) -> dict[str, Any]:
    """Make in `out` the labelled documents, the drops and the counts; return them with what it cost.

    Goes on after the last piece that an earlier attempt finished; answers of a piece under way are
    kept too. Raises BadInput if nothing got a label, Failed at the cap or for a dead server.
    """
    found = corpora.documents(inputs["corpus"], step.part)
    labels = None
    if isinstance(step.labeller, FromFile):
        labels = from_file(step.labeller)
    pieces = _sample(step, found, labels)
    total = sum(piece.documents for piece in pieces)
    plan = {"documents": total, "input": inputs["corpus"].fingerprint, "pieces": len(pieces)}
    ledger = Ledger(out, plan, ["documents/*.parquet", "dropped/*.parquet"])
    match step.labeller:
        case Asked():
            facts = _ask(step, step.labeller, pieces, out, ledger, tell)
        case FromFile():
            facts = {"labels": {"sha256": files.sha256(Path(step.labeller.path))}}
            _label(step, pieces, _looked_up(labels or {}, step.rubric), out, ledger, tell)
        case FromFunction():
            function = _function(step.labeller)
            facts = {"function": {"source": digest({"source": inspect.getsource(function)})}}
            _label(step, pieces, _called(function, step.rubric), out, ledger, tell)
    return {**_finish(step, ledger, out), **facts}


def _sample(step: Annotate, found: list[Path], labels: Mapping[str, float] | None) -> list[Piece]:
    """Return the sample in the order of the corpus, cut into pieces."""
    ids = [pq.read_table(path, columns=["id"])["id"].to_pylist() for path in found]
    chosen = [np.ones(len(some), np.bool_) for some in ids]
    if labels is not None:
        chosen = [np.array([id_ in labels for id_ in some], np.bool_) for some in ids]
        if not any(mask.any() for mask in chosen):
            raise BadInput(
                f"none of {len(labels)} labels is of a document of {step.corpus}",
                hint="look at id_column: it takes the 32 hex digits of a document's id",
            )
    hashed = [corpora.keys(some, step.seed, "sample") for some in ids]
    every = np.sort(np.concatenate([h[mask] for h, mask in zip(hashed, chosen, strict=True)]))
    if step.sample is not None and step.sample < len(every):
        last = every[step.sample - 1]
        chosen = [mask & (h <= last) for h, mask in zip(hashed, chosen, strict=True)]
    return _pieces(found, [np.flatnonzero(mask) for mask in chosen])


def _pieces(found: list[Path], chosen: list[npt.NDArray[np.int64]]) -> list[Piece]:
    """Return the chosen rows in pieces of one size, so that small shards keep a server busy too."""
    pieces: list[Piece] = []
    waiting: list[tuple[Path, npt.NDArray[np.int64]]] = []
    room = PIECE_ROWS
    for path, rows in zip(found, chosen, strict=True):
        left = rows
        while len(left):
            waiting.append((path, left[:room]))
            left, room = left[room:], room - len(left[:room])
            if not room:
                pieces.append(Piece(tuple(waiting)))
                waiting, room = [], PIECE_ROWS
    return [*pieces, Piece(tuple(waiting))] if waiting else pieces


def _ask(
    step: Annotate, asked: Asked, pieces: list[Piece], out: Path, ledger: Ledger, tell: Tell
) -> dict[str, Any]:
    assert step.server is not None
    assert step.cap is not None
    payer = digest({"step": step.name, **step.asked()})
    with closing(Answers(_answers_path(step, out), payer)) as answers:
        asker = Asker(step.server, step.cap, answers, tries=asked.tries)
        _label(step, pieces, _questioned(asker, asked, step.rubric), out, ledger, tell)
    budget = asker.budget
    spent = {
        "prompt_tokens": budget.prompt,
        "completion_tokens": budget.completion,
        "dollars": round(budget.dollars, 6),
    }
    return {"spent": spent, "calls": asdict(asker.tally), "model": asked.model}


def _answers_path(step: Annotate, out: Path) -> Path:
    """Return the file of answers: the step's own, or the one of the lab that `out` lies in."""
    if step.answers is not None:
        path = Path(step.answers)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path
    lab = next((x for x in out.resolve().parents if (x / LAB).is_file()), out.resolve().parent)
    return lab / kept.NAME


def _questioned(asker: Asker, asked: Asked, rubric: Rubric) -> Labeller:
    """Return a labeller that asks a model."""

    def label(ids: list[str], texts: list[str], said: Callable[[int], None]) -> list[Label]:
        questions = [_question(asked, rubric, text) for text in texts]
        outcomes = asker.ask(questions, lambda reply: check_reply(rubric, reply), said)
        return [
            outcome.value if outcome.value is not None else unlabelled(outcome.why or "no_label")
            for outcome in outcomes
        ]

    return label


def _question(asked: Asked, rubric: Rubric, text: str) -> Question:
    form: dict[str, Any] | None = None
    match asked.structured:
        case "json_schema":
            schema = {"name": "label", "strict": True, "schema": rubric.form()}
            form = {"type": "json_schema", "json_schema": schema}
        case "json_object":
            form = {"type": "json_object"}
        case "text":
            form = None
    return Question(
        model=asked.model,
        messages=rubric.messages(text),
        max_tokens=asked.max_tokens,
        temperature=asked.temperature,
        form=form,
        extra=asked.extra,
        repeat=asked.repeat,
    )


def _looked_up(labels: Mapping[str, float], rubric: Rubric) -> Labeller:
    """Return a labeller that looks a label up by id."""

    def label(ids: list[str], texts: list[str], said: Callable[[int], None]) -> list[Label]:
        return [_in_range(labels[id_], rubric) for id_ in ids]

    return label


def _function(labeller: FromFunction) -> Callable[[str], object]:
    """Return the function that a recipe names; BadInput for what is no plain function of a module."""
    module, _, name = labeller.function.partition(":")
    try:
        home = importlib.import_module(module)
    except ImportError as error:
        raise BadInput(
            f"{labeller.function}: {error}",
            hint="install the module, or put its folder into PYTHONPATH",
        ) from error
    function = getattr(home, name, None)
    if not inspect.isfunction(function) or function.__module__ != module:
        raise BadInput(
            f"{labeller.function} is no function written in {module}",
            hint="name one that takes a text and returns a number or None",
        )
    return function


def _called(function: Callable[[str], object], rubric: Rubric) -> Labeller:
    """Return a labeller that calls a function."""

    def one(text: str) -> Label:
        try:
            score = function(text)
        except MISTAKES as error:
            return unlabelled(f"function_failed: {type(error).__name__}: {error}")
        if score is None:
            return unlabelled("no_label: the function returned None")
        if isinstance(score, bool) or not isinstance(score, int | float):
            return unlabelled(f"no_label: the function returned a {type(score).__name__}")
        return _in_range(float(score), rubric)

    def label(ids: list[str], texts: list[str], said: Callable[[int], None]) -> list[Label]:
        return [one(text) for text in texts]

    return label


def _in_range(score: float, rubric: Rubric) -> Label:
    if rubric.lowest <= score <= rubric.highest:  # which no NaN is
        return Label(score, None, None)
    return unlabelled(f"out_of_range: {score:g} is not in {rubric.lowest} to {rubric.highest}")


def _label(
    step: Annotate,
    pieces: list[Piece],
    labeller: Labeller,
    out: Path,
    ledger: Ledger,
    tell: Tell,
) -> None:
    total = sum(piece.documents for piece in pieces)
    done = sum(piece.documents for piece in pieces[: len(ledger.shards)])
    for number in range(len(ledger.shards), len(pieces)):
        piece = pieces[number]
        rows = piece.read()
        before = done
        labels = labeller(
            rows["id"].to_pylist(),
            rows["text"].to_pylist(),
            lambda some, before=before: tell(before + some, total, "documents"),  # type: ignore[misc]
        )
        _write(step, rows, labels, f"{number:05}.parquet", out, ledger)
        done += piece.documents
        tell(done, total, "documents")


def _write(
    step: Annotate,
    rows: pa.Table,
    labels: list[Label],
    name: str,
    out: Path,
    ledger: Ledger,
) -> None:
    why = f"{step.column}_reason"
    good = np.array([label.why is None for label in labels], np.bool_)
    before = rows.schema.remove_metadata()
    schema = corpora.schema_with(before, (step.column, pa.float64()), (why, pa.string()))
    lost_schema = before.append(pa.field("reason", pa.string()))
    paths = {out / "documents" / name: schema, out / "dropped" / name: lost_schema}
    with writing(paths) as (documents, dropped):
        columns = {
            step.column: pa.array([label.score for label in labels], pa.float64()),
            why: pa.array([label.reason for label in labels], pa.string()),
        }
        documents.write(corpora.with_columns(rows, columns).filter(pa.array(good)))
        lost = pa.array([label.why for label in labels if label.why is not None], pa.string())
        dropped.write(rows.filter(pa.array(~good)).append_column("reason", lost))
    counts = Counter((label.why or "kept").split(":", 1)[0] for label in labels)
    scores = Counter(f"{label.score:g}" for label in labels if label.score is not None)
    size = pc.binary_length(rows["text"])
    kept_bytes = pc.sum(size.filter(pa.array(good))).as_py() or 0
    entry = {
        "counts": dict(sorted(counts.items())),
        "scores": dict(sorted(scores.items())),
        "bytes": {"kept": kept_bytes, "dropped": (pc.sum(size).as_py() or 0) - kept_bytes},
    }
    ledger.add(entry, paths)


def _finish(step: Annotate, ledger: Ledger, out: Path) -> dict[str, Any]:
    reasons: Counter[str] = Counter()
    scores: Counter[str] = Counter()
    size: Counter[str] = Counter()
    for shard in ledger.shards:
        reasons.update(shard["counts"])
        scores.update(shard["scores"])
        size.update(shard["bytes"])
    seen, labelled = reasons.total(), reasons.pop("kept", 0)
    counts: dict[str, Any] = {
        "seen": seen,
        "kept": labelled,
        "dropped": dict(sorted(reasons.items())),
    }
    if not labelled:
        why = ", ".join(f"{count} {reason}" for reason, count in counts["dropped"].items())
        raise BadInput(
            f"none of {seen} documents got a label: {why}",
            hint="look at what the labeller answers; a record of it is in dropped",
        )
    total = {"seen": size.total(), "kept": size["kept"], "dropped": size["dropped"]}
    told = {"bytes": total, "rubric": step.rubric.name, "scores": _in_order(scores)}
    facts = {**counts, **told}
    files.write_json(out / COUNTS, facts)
    return facts


def _in_order(scores: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(scores.items(), key=lambda pair: float(pair[0])))
