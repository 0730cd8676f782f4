"""Bits per byte of held-out documents, with a standard error by document.

    document   t1 t2 t3 t4 t5 t6 t7            seq_len 3
    windows    [e  t1 t2] [t3 t4 t5] [t6]      read, e being end-of-text
    targets     t1 t2 t3   t4 t5 t6   t7       scored: every token once, in nats

A document begins after end-of-text, as it does in training; the end-of-text after it is not scored,
since it stands for no byte. A long one is cut, and each window begins with the token before it as
its only context. Letters: B batch, T sequence, D width, N scored tokens of a batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from ramify.ground.errors import BadInput, Corrupt, NotFound
from ramify.model.loss import IGNORED, token_losses
from ramify.model.network import Transformer
from ramify.train.documents import Documents as Documents
from ramify.train.documents import Score as Score
from ramify.train.documents import summary

FILE = "held_out.parquet"
COLUMNS = ["id", "bytes", "tokens"]


@dataclass(frozen=True)
class HeldOut:
    """Held-out documents as tokens: `tokens[starts[i]:starts[i + 1]]` are those of `ids[i]`."""

    ids: tuple[str, ...]
    bytes: NDArray[np.int64]
    starts: NDArray[np.int64]
    tokens: NDArray[np.uint32]

    @classmethod
    def load(cls, folder: Path) -> HeldOut:
        """Read `held_out.parquet` of a tokenized source; raises NotFound, or Corrupt."""
        path = folder / FILE
        if not path.is_file():
            raise NotFound(f"there is no {path}", hint="tokenize the corpus again")
        try:
            table = pq.read_table(path, columns=COLUMNS)
            lists = table.column("tokens").combine_chunks()
            lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
            tokens = lists.flatten().to_numpy(zero_copy_only=False).astype(np.uint32, copy=False)
            sizes = table.column("bytes").to_numpy().astype(np.int64)
            ids = tuple(table.column("id").to_pylist())
        except (pa.ArrowException, OSError, KeyError) as error:
            raise Corrupt(f"{path} cannot be read: {error}", hint="type: ramify verify") from error
        starts = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
        return cls(ids, sizes, starts, tokens)

    def __len__(self) -> int:
        return len(self.ids)

    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each document."""
        return np.diff(self.starts)

    def of(self, index: int) -> NDArray[np.uint32]:
        """Tokens of one document."""
        return self.tokens[self.starts[index] : self.starts[index + 1]]

    def limited(self, tokens: int | None) -> HeldOut:
        """Return the first documents by a hash of their ids that hold `tokens` tokens or more.

        So the choice depends on nothing else, and a larger limit only adds documents. They keep
        their order. None is no limit.
        """
        if tokens is None or tokens >= len(self.tokens):
            return self
        order = sorted(range(len(self)), key=lambda index: _hash(self.ids[index]))
        before = np.concatenate(([0], np.cumsum(self.lengths()[order])))[:-1]
        kept = sorted(index for index, had in zip(order, before, strict=True) if had < tokens)
        texts = [self.of(index) for index in kept]
        starts = np.concatenate(([0], np.cumsum([len(text) for text in texts], dtype=np.int64)))
        return HeldOut(
            tuple(self.ids[index] for index in kept),
            self.bytes[kept],
            starts.astype(np.int64),
            np.concatenate(texts) if texts else self.tokens[:0],
        )


def _hash(identifier: str) -> bytes:
    return hashlib.blake2b(identifier.encode(), digest_size=16, person=b"score").digest()


def score(
    model: Transformer,
    held_out: HeldOut,
    *,
    end_of_text: int,
    seq_len: int,
    rows: int,
    loss_chunk: int,
    limit_tokens: int | None = None,
    device: torch.device | str = "cpu",
) -> Score:
    """Score the chosen documents; arguments and errors are those of `score_documents`."""
    chosen = held_out.limited(limit_tokens)
    costs = score_documents(
        model,
        chosen,
        end_of_text=end_of_text,
        seq_len=seq_len,
        rows=rows,
        loss_chunk=loss_chunk,
        device=device,
    )
    return summary(costs)


@torch.no_grad()
def score_documents(
    model: Transformer,
    held_out: HeldOut,
    *,
    end_of_text: int,
    seq_len: int,
    rows: int,
    loss_chunk: int,
    device: torch.device | str = "cpu",
) -> Documents:
    """Return the nats of every document, each of its tokens scored once.

    A batch has at most rows × seq_len slots, shortest windows in the widest batches. What a
    document costs does not depend on its batch, to rounding. Raises BadInput for a token that the
    model has no row for. Runs eagerly: a compiled block would be compiled anew for every shape.
    Under no_grad and not inference_mode, whose tensors a sharded model's next backward refuses.
    """
    if seq_len < 1 or rows < 1:
        raise BadInput(f"cannot score with seq_len={seq_len}, rows={rows}", hint="give 1 or more")
    vocab = model.head_weight.shape[0]
    highest = max(end_of_text, int(held_out.tokens.max(initial=0)))
    if highest >= vocab:
        raise BadInput(
            f"the held-out tokens go up to {highest}, the model's vocabulary to {vocab - 1}",
            hint="tokenize the corpus with the tokenizer of the model",
        )
    nats = np.zeros(len(held_out))
    with torch.compiler.set_stance("force_eager"):
        for windows in _batches(held_out.lengths(), seq_len, rows):
            tokens_BT, targets_BT = _filled(held_out, windows, end_of_text)
            losses = _losses(model, tokens_BT.to(device), targets_BT.to(device), loss_chunk)
            owners = np.repeat([w.document for w in windows], [w.length for w in windows])
            nats += np.bincount(owners, weights=losses, minlength=len(held_out))
    return Documents(held_out.ids, nats, held_out.bytes, held_out.lengths())


@dataclass(frozen=True)
class _Window:
    document: int
    start: int
    length: int


def _batches(lengths: NDArray[np.int64], seq_len: int, rows: int) -> Iterator[list[_Window]]:
    """Yield windows, longest first, so that a batch pads little; short ones share wide batches."""
    windows = [
        _Window(document, start, min(seq_len, int(length) - start))
        for document, length in enumerate(lengths)
        for start in range(0, int(length), seq_len)
    ]
    windows.sort(key=lambda window: -window.length)
    first = 0
    while first < len(windows):
        fit = rows * seq_len // windows[first].length
        yield windows[first : first + fit]
        first += fit


def _filled(held_out: HeldOut, windows: list[_Window], end_of_text: int) -> tuple[Tensor, Tensor]:
    """Return what is read and what is to be guessed [B, T]; padding is read but never scored."""
    shape = (len(windows), windows[0].length)
    read = np.full(shape, end_of_text, dtype=np.int64)
    targets = np.full(shape, IGNORED, dtype=np.int64)
    for row, window in enumerate(windows):
        text = held_out.of(window.document)
        end = window.start + window.length
        targets[row, : window.length] = text[window.start : end]
        read[row, 1 : window.length] = text[window.start : end - 1]
        if window.start:
            read[row, 0] = text[window.start - 1]
    return torch.from_numpy(read), torch.from_numpy(targets)


def _losses(
    model: Transformer, tokens_BT: Tensor, targets_BT: Tensor, loss_chunk: int
) -> NDArray[np.float64]:
    """Return the nats of every token that is scored, in the order of the batch [N]."""
    scored = targets_BT != IGNORED
    hidden_ND = model(tokens_BT)[scored]  # the padding, last in its row, is seen by no other token
    losses_N = token_losses(hidden_ND, model.head_weight, targets_BT[scored], chunk=loss_chunk)
    nats: NDArray[np.float64] = losses_N.double().cpu().numpy()
    return nats
