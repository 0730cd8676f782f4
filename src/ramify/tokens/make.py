"""The run functions of the tokens room: a tokenizer trained or brought, a corpus packed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ramify.ground import files
from ramify.ground.errors import BadInput, Corrupt
from ramify.ground.step import Input, Tell
from ramify.tokens import corpus, encode, pack, tokenizer
from ramify.tokens.steps import BroughtTokenizer, Corpus, Tokenize, Tokenizer

SOURCE = "source.json"
TOLD = (
    "documents",
    "tokens",
    "bytes",
    "dtype",
    "segment",
    "vocab",
    "encoder",
    "held_out",
    "provenance",
)
MADE_OF = "made_of.json"  # inside the spool: what an earlier attempt encoded, and with what


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
    finished = _finished(out, made_of)
    if finished:
        return _told(finished)
    codec = tokenizer.Codec.open(inputs["tokenizer"].path)
    dtype = encode.narrowest(codec.vocab, step.dtype)
    folder = _folder(step.corpus, inputs["corpus.ref"])
    groups = corpus.train_row_groups(folder)
    sample = corpus.glance(groups, encode.SAMPLE_BYTES)
    encoder, why = encode.choose(codec, sample, step.encoder)
    tell(0, 1, "documents", f"encoding with {encoder.name}: {why}")
    writer = pack.Writer(codec, encoder, dtype, step.seed)
    _begin(out, made_of)
    spooled = _spool(writer, groups, out, tell)
    segment = step.segment or pack.choose_segment(spooled.tokens, step.max_context)
    _check_enough(spooled, segment, folder)
    shards = pack.write_shards(spooled, out, max(1, step.shard_tokens // segment) * segment, tell)
    held_out = pack.encode_held_out(writer, folder / "held_out", out / "held_out.parquet")
    source = {
        "format": 1,
        "tokens": spooled.tokens,
        "dtype": dtype.name,
        "segment": segment,
        "documents": spooled.documents,
        "vocab": codec.vocab,
        "end_of_text": codec.end_of_text,
        "tokenizer": codec.sha256,
        "order": f"by the BLAKE2b-128 hash of the document's id, keyed with seed {step.seed}",
        "bytes": spooled.bytes,
        "provenance": spooled.provenance(),
        "encoder": {"name": encoder.name, "why": why},
        "held_out": held_out,
        "made_of": made_of,
        "shards": [asdict(shard) for shard in shards],
    }
    files.write_json(out / SOURCE, source)
    files.remove(out / "spool")
    return _told(source)


def _made_of(step: Tokenize, inputs: Mapping[str, Input]) -> dict[str, Any]:
    """Return what of the inputs and of the step's conduct an earlier attempt must share to be kept."""
    contents = {name: given.record.get("files", {}) for name, given in inputs.items()}
    digest = hashlib.sha256(json.dumps(contents, sort_keys=True, default=str).encode())
    return {
        "inputs": digest.hexdigest(),
        "shard_tokens": step.shard_tokens,
        "dtype": step.dtype,
        "index": list(pack.INDEX),  # an earlier version listed documents with fewer columns
        "encoder": step.encoder,  # who was told to leave a faulty encoder must not keep its work
    }


def _finished(out: Path, made_of: dict[str, Any]) -> dict[str, Any] | None:
    """Return the source if an earlier attempt was killed after all was written; None if it was not."""
    if not (out / SOURCE).is_file():
        return None
    source: dict[str, Any] = json.loads((out / SOURCE).read_bytes())
    if source["made_of"] == made_of:
        files.remove(out / "spool")
        return source
    files.remove(out / SOURCE)
    return None


def _begin(out: Path, made_of: dict[str, Any]) -> None:
    """Keep what an earlier attempt left if it was made of the very same, else remove it."""
    note = out / "spool" / MADE_OF
    if note.is_file() and json.loads(note.read_bytes()) == made_of:
        return
    for name in ("shards", "held_out.parquet", "spool"):
        files.remove(out / name)
    note.parent.mkdir(parents=True)
    files.write_json(note, made_of)


def _spool(
    writer: pack.Writer, groups: list[corpus.RowGroup], out: Path, tell: Tell
) -> pack.Spooled:
    runs = pack.spools(groups, pack.SPOOL_BYTES)
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


def _check_enough(spooled: pack.Spooled, segment: int, folder: Path) -> None:
    if spooled.tokens <= segment:
        raise BadInput(
            f"{folder} has {spooled.tokens} tokens, less than a segment of {segment} and one more",
            hint="give it more text, or a smaller segment or max_context",
        )


def _told(source: dict[str, Any]) -> dict[str, Any]:
    """Return the facts of a source for its record."""
    tokens, segment = source["tokens"], source["segment"]
    return {
        **{name: source[name] for name in TOLD},
        "bytes_per_token": source["bytes"] / tokens,
        "wasted": (tokens - 1) % segment / tokens,  # of an epoch: the tail that fills no segment
        "shards": len(source["shards"]),
    }
