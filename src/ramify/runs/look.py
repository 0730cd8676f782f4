"""Look at data: random documents of a corpus, kept or dropped, and any batch of a run, decoded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ramify.curate.look import sample
from ramify.ground.errors import BadInput
from ramify.runs.find import line_of, sources_of, tokenizer_of
from ramify.runs.lab import Lab
from ramify.tokens.path import SourceSize
from ramify.tokens.shards import Source
from ramify.tokens.tokenizer import Codec

SHOWN = 600  # characters of a document or a row


def documents(
    lab: Lab, name: str, *, kept: bool, why: str | None, count: int, seed: int
) -> Iterator[str]:
    """Yield random documents of a corpus or a part, kept or dropped, as a person reads them."""
    if count < 1:
        raise BadInput(f"{count} documents of {name}", hint="ask for 1 or more")
    step, part = lab.corpus(name)
    found = sample(lab.at(step), kept=kept, why=why, label=part, count=count, seed=seed, name=name)
    for document in found:
        reason = f"  [{document['reason']}]" if document.get("reason") else ""
        url = f"  {document['url']}" if document.get("url") else ""
        yield f"── {document['origin']} #{document['part']}  {document['id'][:12]}{url}{reason}"
        yield from _scores(document)
        yield document["text"][:SHOWN]
        if len(document["text"]) > SHOWN:
            yield f"… ({len(document['text'])} characters)"


def _scores(document: Mapping[str, object]) -> Iterator[str]:
    """Yield each score of a document, with the reason that was given for it."""
    for name, value in document.items():
        if isinstance(value, float):
            why = document.get(f"{name}_reason")
            yield f"   {name} {value:.2f}" + (f": {why}" if why else "")


def decoded_batch(lab: Lab, run: str, batch: int) -> Iterator[str]:
    """Yield a batch of a run, row by row: its source, its place there, and its text."""
    line = line_of(lab, run)
    folders = sources_of(lab, line)
    sources = {name: Source.open(folder) for name, folder in folders.items()}
    path = line.path({n: SourceSize(s.segments, s.segment) for n, s in sources.items()})
    codec = Codec.open(tokenizer_of(lab, line))
    tokens = batch * line.step_tokens
    if batch < 0 or tokens < 0:
        raise BadInput(f"batch {batch} of {run}", hint="batches count from 0")
    yield f"{run}, batch {batch}: tokens {tokens} to {tokens + line.step_tokens}"
    for index, row in enumerate(path.rows(tokens)):
        ids = sources[row.source].read(row.start, line.root.seq_len)
        text = codec.decode(ids.tolist())
        epoch = row.cursor / path.segments[row.source].tokens
        yield f"── row {index}: {row.source} at {row.start} (epoch {epoch:.2f})"
        yield text[:SHOWN]
