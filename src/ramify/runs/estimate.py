"""What a whole curation recipe will make and cost, told from a dry run of it, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ramify.curate.quality_steps import Annotate, Asked, Classify, Score
from ramify.curate.selection_steps import Apportion, Contamination, DomainRecall, NgramIndex
from ramify.curate.steps import Dedup, Read
from ramify.ground.artifact import Record
from ramify.ground.step import Step
from ramify.runs.dry import DryRecipe
from ramify.runs.flows import Flow, Flows, Place, corpus_of
from ramify.runs.lab import Lab
from ramify.runs.resampling import Floats, Interval, interval, kept_interval
from ramify.tokens.steps import Tokenize, Tokenizer

BYTES_OF_A_TOKEN = (5.0, 4.0, 3.0)  # of a question, where nobody was asked: few tokens to many
ANSWER_TOKENS = (40.0, 80.0)  # of a reason and a score, at least and about, where nobody was asked
DROPS_NONE = (Score, Tokenize)
LOOKED_AT = 2000  # documents whose questions are measured


@dataclass(frozen=True)
class StepEstimate:
    """What one step will do with the whole; None is what is not known."""

    name: str
    kind: str
    state: str  # done, failed, left out
    documents_in: Interval | None = None
    documents_out: Interval | None = None
    kept: Interval | None = None
    tokens: Interval | None = None
    cpu_hours: Interval | None = None
    disk_bytes: Interval | None = None
    seen: int | None = None  # documents of the sample
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabelEstimate:
    """What one round of labels will cost."""

    name: str
    model: str
    documents: Interval
    question_tokens: Interval
    answer_tokens: Interval
    dollars: Interval | None
    cap_tokens: int | None
    measured: bool  # from answers, not from the sizes of questions

    @property
    def tokens(self) -> Interval:
        """Questions and answers together."""
        q, a = self.question_tokens, self.answer_tokens
        return Interval(q.low + a.low, q.value + a.value, q.high + a.high)


@dataclass(frozen=True)
class Estimate:
    """A whole recipe as a dry run tells of it."""

    recipe: str
    steps: tuple[StepEstimate, ...]
    labels: tuple[LabelEstimate, ...]
    share: float  # of the bytes of all sources that was read
    drawn: tuple[str, ...] = field(default_factory=tuple)  # what was drawn of each source

    def json(self) -> dict[str, Any]:
        """Return it as plain data, as `ramify dry --json` prints it."""
        steps = [asdict(step) for step in self.steps]
        labels = [{**asdict(each), "tokens": asdict(each.tokens)} for each in self.labels]
        sums = {
            "cpu_hours": total(step.cpu_hours for step in self.steps),
            "disk_bytes": total(step.disk_bytes for step in self.steps),
            "label_tokens": total(each.tokens for each in self.labels),
            "label_dollars": total(each.dollars for each in self.labels),
        }
        return {
            "recipe": self.recipe,
            "share": self.share,
            "drawn": list(self.drawn),
            "steps": steps,
            "labels": labels,
            "total": {name: asdict(each) if each else None for name, each in sums.items()},
        }


def total(parts: Iterator[Interval | None]) -> Interval | None:
    """Return the sum of what is known, ends with ends: wider than it must be, never narrower."""
    known = [part for part in parts if part is not None]
    if not known:
        return None
    low, value, high = (sum(getattr(p, end) for p in known) for end in ("low", "value", "high"))
    return Interval(low, value, high)


def estimate(dry: DryRecipe, lab: Lab, *, prices: tuple[float, float] | None = None) -> Estimate:
    """Return what the whole will come to, from the steps of a dry run that are finished.

    `prices` are dollars for a million tokens of questions and of answers; None: those of the server.
    """
    return _Estimator(dry, lab, prices).made()


class _Estimator:
    def __init__(self, dry: DryRecipe, lab: Lab, prices: tuple[float, float] | None) -> None:
        self.dry, self.lab, self.prices = dry, lab, prices
        self.flows = Flows(lab, dry.recipe, _limits(dry))
        self.ratio = self._tokens_of_a_byte()

    def made(self) -> Estimate:
        steps = tuple(self._step(step) for step in self.dry.whole.ordered)
        labels = tuple(e for s in self.dry.wants_labels() if (e := self._labels(s)) is not None)
        reads = [s for s in self.dry.recipe.ordered if isinstance(s, Read)]
        drawn = [(r, d) for r in reads if (d := self.flows.drawn(r)) is not None]
        whole = sum(d.units.whole for _, d in drawn)
        read = sum(d.units.whole / d.units.expansion for _, d in drawn)
        told = tuple(
            f"{r.name}: {d.units.drawn or 'all'} {d.units.by}, one in {d.units.expansion:,.4g}"
            for r, d in drawn
        )
        return Estimate(self.dry.whole.name, steps, labels, read / whole if whole else 0.0, told)

    def _tokens_of_a_byte(self) -> float | None:
        for step in self.dry.recipe.ordered:
            record = self.lab.record(step.name) if isinstance(step, Tokenize) else None
            if record is not None:
                return float(1 / record.facts["bytes_per_token"])
        return None

    def _step(self, asked: Step) -> StepEstimate:
        name, kind = asked.name, asked.kind()
        if name in self.dry.left_out:
            return StepEstimate(name, kind, "left out", notes=(self.dry.left_out[name],))
        record = self.lab.record(name)
        if record is None:
            return StepEstimate(name, kind, "failed")
        step = self.dry.recipe.by_name[name]
        notes = [self.dry.instead[name]] if name in self.dry.instead else []
        if isinstance(step, Annotate | Classify | Tokenizer):
            return StepEstimate(name, kind, "done", **self._cost(step, record), notes=tuple(notes))
        fields = self._passed(step, notes)
        return StepEstimate(name, kind, "done", **fields, **self._cost(step, record), notes=tuple(notes))  # fmt: skip

    def _passed(self, step: Step, notes: list[str]) -> dict[str, Any]:
        """Return documents in and out of a step that passes them on, and the share that it keeps."""
        places = (
            []
            if isinstance(step, DomainRecall | NgramIndex) or type(step) is Contamination
            else _outs(step)
        )
        ins = [flow for place in places if (flow := self._before(step, place)) is not None]
        if not places or len(ins) < len(places):
            return {}
        own = [self._own(step, place, notes) for place in places]
        outs = [self._after(step, *each) for each in zip(places, ins, own, strict=True)]
        docs_in = sum((f.docs for f in ins), np.zeros(1))
        docs_out = sum((f.docs for f in outs), np.zeros(1))
        weights = [float(f.docs[0]) for f in outs]
        low, high = (_mean([pair[end] for pair in own], weights) for end in (0, 1))
        drawn = [self.flows.source_of(place) for place in places]
        least = min(d.units.drawn for d in drawn if d is not None)
        kept = docs_out / np.maximum(docs_in, 1e-9)
        told: dict[str, Any] = {
            "documents_in": _summed(ins, "docs"),
            "documents_out": _summed(outs, "docs"),
            "kept": kept_interval(kept, 0 if isinstance(step, DROPS_NONE) else least, low, high),
            "seen": sum(f.documents for f in ins),
        }
        if self.ratio is not None:
            told["tokens"] = _summed(outs, "bytes").times(self.ratio)
        return told

    def _before(self, step: Step, place: Place) -> Flow | None:
        if isinstance(step, Read):
            seen, docs = self.flows.entering(step)
            return Flow(seen, docs, docs)
        ref = corpus_of(step, place[1])
        return None if ref is None else self.flows.flow(ref)

    def _after(self, step: Step, place: Place, before: Flow, own: tuple[float, float]) -> Flow:
        if isinstance(step, Tokenize):
            return before
        found = self.flows.flow(place, before.low * own[0], before.high * own[1])
        none = np.zeros_like(before.docs)
        return found or Flow(0, none, none)

    def _own(self, step: Step, place: Place, notes: list[str]) -> tuple[float, float]:
        """Return by what factors the share that a step keeps of the whole may differ from the sample's."""
        if isinstance(step, Read | Dedup):
            return self._of_repeats(step, place, notes)
        if step.name in self.dry.unscored:
            _add(notes, "without labels every document passes: at most so many")
            return 0.0, 1.0
        if step.name in self.dry.unrecalled:
            _add(notes, "domain recall does not scale: from pages sure to be recalled, to all")
            return self._sure_pages(self.dry.unrecalled[step.name]), 1.0
        return 1.0, 1.0

    def _of_repeats(self, step: Step, place: Place, notes: list[str]) -> tuple[float, float]:
        drawn = self.flows.source_of(place)
        assert drawn is not None
        found = self.flows.repeats(place)
        if isinstance(step, Dedup) or found.across:
            kept = found.stayed / max(found.seen, 1)
            of = "exact ones" if isinstance(step, Read) else f"{kept:.1%} of {place[1]} stay here"
            _add(notes, f"duplicates grow with size ({of}): the interval is what they allow")
        return found.bounds(drawn.units.expansion)

    def _sure_pages(self, recall: str) -> float:
        """Return the share of pages whose domains are recalled by the pages of the sample alone."""
        record = self.lab.record(recall)
        asked = self.dry.recipe.by_name[recall]
        if record is None or not isinstance(asked, DomainRecall):
            return 0.0
        rows = pq.read_table(self.lab.at(recall) / "domains.parquet").to_pylist()
        # by a share of its pages a domain can be recalled here and not in the whole, or the reverse
        sure = [r["pages"] for r in rows if r["seeds"] or (r["recalled"] and asked.rule == "pages")]
        return float(sum(sure) / max(record.facts["pages"], 1))

    def _cost(self, step: Step, record: Record) -> dict[str, Any]:
        scale = self._scale(step, record)
        size = sum(file.bytes for file in record.files.values())
        seconds = record.cost.get("cpu_seconds", 0.0)
        if scale is None:
            return {}
        return {"cpu_hours": scale.times(seconds / 3600), "disk_bytes": scale.times(size)}

    def _scale(self, step: Step, record: Record) -> Interval | None:
        """Return how many times what a step did is to be done in the whole."""
        if isinstance(step, Tokenizer):
            return self._tokenizer_scale(step, record)
        if isinstance(step, Annotate):
            return self._annotate_scale(step.name, record.facts["seen"])
        if isinstance(step, Classify):
            return self._annotate_scale(step.labels.name, record.facts["documents"])
        flows = [self._before(step, place) for place in _outs(step)]
        known = [flow for flow in flows if flow is not None]
        seen = sum(flow.documents for flow in known)
        return _summed(known, "docs").times(1 / seen) if seen else None

    def _tokenizer_scale(self, step: Tokenizer, record: Record) -> Interval:
        """Return the scale of what a tokenizer learns from, which has a limit for each corpus."""
        low, value, high, had = 0.0, 0.0, 0.0, 0.0
        for label, corpus in step.corpora.items():
            flow = self.flows.flow((corpus.ref.name, corpus.part))
            if flow is None:
                continue
            size = interval(flow.bytes, flow.low, flow.high)
            cap = float(step.sample_bytes)
            low, value, high = low + min(size.low, cap), value + min(size.value, cap), high + min(size.high, cap)  # fmt: skip
            had += record.facts["sampled"][label]["bytes"]
        return Interval(low, value, high).times(1 / max(had, 1.0))

    def _annotate_scale(self, name: str, seen: int) -> Interval | None:
        asked = self.dry.whole.by_name[name]
        documents = self._labelled(asked) if isinstance(asked, Annotate) else None
        return documents.times(1 / max(seen, 1)) if documents else None

    def _labelled(self, asked: Annotate) -> Interval | None:
        flow = self.flows.flow((asked.corpus.name, asked.part))
        if flow is None:
            return None
        found = interval(flow.docs, flow.low, flow.high)
        most = float("inf") if asked.sample is None else float(asked.sample)
        return Interval(min(found.low, most), min(found.value, most), min(found.high, most))

    def _labels(self, asked: Annotate) -> LabelEstimate | None:
        documents = self._labelled(asked)
        if documents is None or not isinstance(asked.labeller, Asked):
            return None
        question, answer, measured = self._each(asked, asked.labeller, documents)
        questions = _product(documents, question)
        answers = _product(documents, answer)
        prices = self._prices(asked)
        return LabelEstimate(
            name=asked.name,
            model=asked.labeller.model,
            documents=documents,
            question_tokens=questions,
            answer_tokens=answers,
            dollars=None if prices is None else total(
                iter((questions.times(prices[0] / 1e6), answers.times(prices[1] / 1e6)))
            ),
            cap_tokens=asked.cap.tokens if asked.cap else None,
            measured=measured,
        )  # fmt: skip

    def _prices(self, asked: Annotate) -> tuple[float, float] | None:
        return self.prices or (asked.server.prices if asked.server else None)

    def _each(
        self, asked: Annotate, labeller: Asked, documents: Interval
    ) -> tuple[Interval, Interval, bool]:
        """Return the tokens of one question and of one answer, and whether they were measured.

        Those that were asked and those that will be are both drawn, and vary as their sizes do.
        """
        record = self.lab.record(asked.name)
        spent = record.facts.get("spent") if record else None
        if record is not None and spent and spent["prompt_tokens"]:
            seen = record.facts["seen"]
            drawn = self.flows.source_of((asked.corpus.name, asked.part))
            same = drawn is not None and not drawn.units.drawn and documents.high <= seen
            off = 0.0 if same else 1.96 * (1 / seen + 1 / max(documents.high, 1.0)) ** 0.5
            questions, reasons = _sizes_asked(self.lab.at(asked.name), asked)
            question = _varied(spent["prompt_tokens"] / seen, questions, off)
            answer = _varied(spent["completion_tokens"] / seen, reasons, off)
            return question, answer, True
        sizes = _question_bytes(self.flows, asked)
        spread = 1.96 * float(sizes.std()) / max(len(sizes), 1) ** 0.5
        mean = float(sizes.mean())
        few, about, many = BYTES_OF_A_TOKEN
        question = Interval((mean - spread) / few, mean / about, (mean + spread) / many)
        least, likely = ANSWER_TOKENS
        most = float(labeller.max_tokens)
        return question, Interval(min(least, most), min(likely, most), most), False


def _limits(dry: DryRecipe) -> dict[str, int]:
    """Return the bytes at which the whole recipe stops reading, by the step that has such a limit."""
    reads = [step for step in dry.whole.ordered if isinstance(step, Read)]
    return {step.name: step.limit_bytes for step in reads if step.limit_bytes is not None}


def _question_bytes(flows: Flows, asked: Annotate) -> NDArray[np.float64]:
    """Return how long the questions about some documents of the sample are, in bytes."""
    found: list[float] = []
    for text in flows.texts((asked.corpus.name, asked.part)):
        found.append(_size_of_question(asked, text))
        if len(found) == LOOKED_AT:
            break
    return np.array(found or [0.0], np.float64)


def _size_of_question(asked: Annotate, text: str) -> int:
    return sum(len(each["content"].encode()) for each in asked.rubric.messages(text))


def _sizes_asked(labels: Path, asked: Annotate) -> tuple[Floats, Floats]:
    """Return how long questions that were asked, and the reasons in their answers, are in bytes."""
    rows = [
        row
        for path in sorted((labels / "documents").glob("*.parquet"))
        for row in pq.read_table(path, columns=["text", "label_reason"]).to_pylist()
    ]
    questions = [_size_of_question(asked, row["text"]) for row in rows]
    reasons = [len((row["label_reason"] or "").encode()) for row in rows]
    return np.array(questions, np.float64), np.array(reasons, np.float64)


def _varied(mean: float, sizes: Floats, off: float) -> Interval:
    """Return a mean that is off by so many standard deviations, which are those of `sizes`."""
    varies = off * float(sizes.std() / sizes.mean()) if sizes.any() else 0.0
    return Interval(mean * max(1 - varies, 0.0), mean, mean * (1 + varies))


def _outs(step: Step) -> list[Place]:
    """Return the corpora that a step makes."""
    if isinstance(step, Dedup | Apportion):
        return [(step.name, label) for label in step.corpora]
    return [(step.name, None)] if isinstance(step, Read) or corpus_of(step, None) else []


def _summed(flows: list[Flow], what: str) -> Interval:
    """Return what flows come to together, each with its own factors."""
    arrays: list[Floats] = [getattr(flow, what) for flow in flows]
    zero = np.zeros(1)
    value = interval(sum(arrays, zero))
    low = interval(sum((a * f.low for a, f in zip(arrays, flows, strict=True)), zero))
    high = interval(sum((a * f.high for a, f in zip(arrays, flows, strict=True)), zero))
    return Interval(min(low.low, value.value), value.value, max(high.high, value.value))


def _product(one: Interval, other: Interval) -> Interval:
    return Interval(one.low * other.low, one.value * other.value, one.high * other.high)


def _mean(values: list[float], weights: list[float]) -> float:
    return float(np.average(values, weights=weights)) if sum(weights) else 1.0


def _add(notes: list[str], note: str) -> None:
    if note not in notes:
        notes.append(note)
