"""The run functions of the tokens room: a tokenizer trained or brought, a corpus packed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ramify.ground.errors import Corrupt
from ramify.ground.step import Input, Tell
from ramify.ground.units import in_runs
from ramify.tokens import attempt, corpus, encode, pack, tokenizer
from ramify.tokens.steps import BroughtTokenizer, Corpus, Tokenize, Tokenizer


def run_tokenizer(
    step: Tokenizer, inputs: Mapping[str, Input], out: Path, tell: Tell
) -> dict[str, Any]:
    """Train a tokenizer on a sample of every corpus and write its folder; return what it learnt from."""
    texts: list[str] = []
    sampled = {}
    for index, (name, part) in enumerate(sorted(step.corpora.items())):
        tell(index, len(step.corpora) + 1, "corpora", f"reading {name}")
        chosen = corpus.sample(
            _folder(part, inputs[f"corpora.{name}.ref"]), step.sample_bytes, step.seed
        )
        size = sum(len(text.encode()) for text in chosen)
        sampled[name] = {"documents": len(chosen), "bytes": size}
        texts += chosen
    tell(len(step.corpora), len(step.corpora) + 1, "corpora", "learning merges")
    codec = tokenizer.train(texts, step.vocab, step.control)
    codec.save(out)
    return {**_facts(codec), "asked_vocab": step.vocab, "sampled": sampled}


def run_brought(
    step: BroughtTokenizer, inputs: Mapping[str, Input], out: Path, tell: Tell
) -> dict[str, Any]:
    """Check a tokenizer from elsewhere and write its folder; return whether every text comes back."""
    codec = tokenizer.bring(step.path, step.sha256, step.end_of_text)
    loses = codec.loses()
    if loses is not None:
        tell(1, 1, "tokenizer", f"this tokenizer loses part of some texts, as of {loses[:40]!r}")
    codec.save(out)
    return {**_facts(codec), "lossless": loses is None, "loses": loses}


def _facts(codec: tokenizer.Codec) -> dict[str, Any]:
    control = dict(codec.control)
    return {
        "vocab": codec.vocab,
        "sha256": codec.sha256,
        "end_of_text": codec.end_of_text,
        "control": control,
    }


def _folder(part: Corpus, given: Input) -> Path:
    return given.path / part.part if part.part else given.path


def run_tokenize(
    step: Tokenize, inputs: Mapping[str, Input], out: Path, tell: Tell
) -> dict[str, Any]:
    """Encode and pack one corpus into shared format 2; go on where an earlier attempt was killed.

    Raises NotFound without a corpus, BadInput for one that is empty or smaller than a segment and
    for a vocabulary that does not fit the shard type, Corrupt for a damaged file.
    """
    made_of = _made_of(step, inputs)
    finished = attempt.finished(out, made_of)
    if finished:
        return attempt.told(finished)
    codec = tokenizer.Codec.open(inputs["tokenizer"].path)
    dtype = encode.narrowest(codec.vocab, step.dtype)
    folder = _folder(step.corpus, inputs["corpus.ref"])
    groups = corpus.train_row_groups(folder)
    sample = corpus.glance(groups, encode.SAMPLE_BYTES)
    encoder, why = encode.choose(codec, sample, step.encoder)
    tell(0, 1, "documents", f"encoding with {encoder.name}: {why}")
    writer = pack.Writer(codec, encoder, dtype, step.seed)
    attempt.begin(out, made_of)
    spooled = _spool(writer, groups, out, tell)
    segment = step.segment or pack.choose_segment(spooled.tokens, step.max_context)
    attempt.check_enough(spooled, segment, folder)
    shards = pack.write_shards(spooled, out, max(1, step.shard_tokens // segment) * segment, tell)
    held_out = pack.encode_held_out(writer, folder / "held_out", out / "held_out.parquet")
    return attempt.finish(
        out,
        spooled,
        shards,
        codec,
        dtype=dtype.name,
        segment=segment,
        order=pack.told_order(step.seed),
        encoder={"name": encoder.name, "why": why},
        held_out=held_out,
        made_of=made_of,
    )


def _made_of(step: Tokenize, inputs: Mapping[str, Input]) -> dict[str, Any]:
    """Return what of the inputs and of the step's conduct an earlier attempt must share to be kept."""
    return {
        "inputs": attempt.of_inputs(inputs),
        "shard_tokens": step.shard_tokens,
        "dtype": step.dtype,
        "index": list(pack.INDEX),  # an earlier version listed documents with fewer columns
        "encoder": step.encoder,  # who was told to leave a faulty encoder must not keep its work
    }


def _spool(
    writer: pack.Writer, groups: list[corpus.RowGroup], out: Path, tell: Tell
) -> pack.Spooled:
    runs = in_runs(groups, lambda group: group.bytes, pack.SPOOL_BYTES)
    paths = [pack.spool_path(out, index) for index in range(len(runs))]
    total = sum(group.rows for group in groups)
    done = 0

    def encoded(documents: int) -> None:
        nonlocal done
        done += documents
        tell(done, total, "documents", "encoding")

    for path, run in zip(paths, runs, strict=True):
        if path.is_file():
            encoded(sum(group.rows for group in run))
        else:
            pack.spool(writer, run, path, encoded)
    spooled = pack.Spooled(paths)
    if spooled.documents != total:
        raise Corrupt(f"{total} documents went in, {spooled.documents} were encoded")
    return spooled
