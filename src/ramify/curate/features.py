"""Texts as vectors, and one ridge regression on top: the same for n-grams and for an encoder.

text ─┬─ Linear:  hashed word n-grams (sparse, 2**bits) ─┬─► ridge ─► line ─► score
      └─ Encoder: embeddings, mean over windows (dense) ─┘
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ramify.curate.quality_steps import Encoder, Linear, Method
from ramify.ground import stop
from ramify.ground.errors import BadInput, NotFound
from ramify.ground.extras import need

EXTRA = "labels"
PACKAGE = "package:"
TOKEN = r"\w+|[^\w\s]"

Floats = npt.NDArray[np.float64]
Featurize = Callable[[Sequence[str]], Any]
"""Takes texts; returns a matrix (texts, features), sparse or dense."""


def featurizer(method: Method, batch: int) -> Featurize:
    """Return the function that turns texts into vectors; loads what it needs once.

    Raises MissingExtra without the extra `labels`, NotFound for an encoder that is not there.
    """
    match method:
        case Linear():
            return _hashed(method)
        case Encoder():
            return _encoded(method, batch)


def _hashed(method: Linear) -> Featurize:
    text = need("sklearn.feature_extraction.text", extra=EXTRA)
    hashing = text.HashingVectorizer(
        n_features=2**method.bits,
        ngram_range=method.words,
        token_pattern=TOKEN,
        lowercase=False,
        norm=None,
        dtype=np.float32,
    )
    normalize = need("sklearn.preprocessing", extra=EXTRA).normalize
    cut = method.excerpt_characters

    def featurize(texts: Sequence[str]) -> Any:
        counts = hashing.transform([each[:cut] for each in texts])
        # roots of counts, so that a word said twice is not said twice as much: see decision 0035
        counts.data = np.sign(counts.data) * np.sqrt(np.abs(counts.data))
        return normalize(counts, copy=False)

    return featurize


def _encoded(method: Encoder, batch: int) -> Featurize:
    place, revision = _place(method.model)
    transformers = need("sentence_transformers", extra=EXTRA)
    encoder = transformers.SentenceTransformer(
        place,
        revision=revision,
        device=None,
        trust_remote_code=False,
        model_kwargs={"use_safetensors": True},
    )

    def featurize(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        cut = [windows(text, method.window_words, method.windows) for text in texts]
        stop.look()  # a shard of windows may take an hour
        flat = [method.prefix + window for some in cut for window in some]
        found = encoder.encode(
            flat, batch_size=batch, show_progress_bar=False, normalize_embeddings=True
        )
        starts = np.cumsum([0, *(len(some) for some in cut[:-1])])
        sums = np.add.reduceat(np.asarray(found, np.float32), starts, axis=0)
        return np.asarray(sums / np.array([[len(some)] for some in cut], np.float32), np.float32)

    return featurize


def windows(text: str, words: int, most: int) -> list[str]:
    """Return at most `most` windows of a text, spread evenly from its first to its last."""
    every = text.split()
    count = max(1, -(-len(every) // words))
    chosen = np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))
    return [" ".join(every[n * words : (n + 1) * words]) for n in chosen.tolist()]


def _place(model: str) -> tuple[str, str | None]:
    """Return the folder or the name on the hub of an encoder, and its revision there."""
    if model.startswith(PACKAGE):
        return str(_packaged(model.removeprefix(PACKAGE))), None
    if Path(model).is_dir():
        return model, None
    name, _, revision = model.partition("@")
    if name.count("/") != 1 or not revision:
        raise NotFound(
            f"there is no encoder {model!r}",
            hint="give a folder, package:NAME, or ORGANISATION/NAME@REVISION of the hub",
        )
    return name, revision


def _packaged(package: str) -> Path:
    """Return the folder with an encoder in an installed package, which is not imported."""
    found = importlib.util.find_spec(package) if package.isidentifier() else None
    if found is None or not found.submodule_search_locations:
        name = package.replace("_", "-")
        raise NotFound(f"no package {package} is installed", hint=f"type: pip install {name}")
    home = Path(next(iter(found.submodule_search_locations)))
    inside = sorted(path.parent for path in home.rglob("modules.json"))
    if not inside:
        raise BadInput(f"the package {package} holds no sentence encoder (no modules.json)")
    return inside[0]


class Head:
    """The ridge regression: one weight a feature, and an intercept."""

    def __init__(self, weights: npt.NDArray[np.float32], intercept: float) -> None:
        self.weights = weights
        self.intercept = intercept

    @classmethod
    def fit(cls, features: Any, scores: Floats, alpha: float) -> Head:
        """Fit by ridge regression; the same bits for the same rows in the same order."""
        linear_model = need("sklearn.linear_model", extra=EXTRA)
        ridge = linear_model.Ridge(alpha=alpha).fit(features, scores)
        return cls(np.asarray(ridge.coef_, np.float32), float(ridge.intercept_))

    def predict(self, features: Any) -> Floats:
        """Return a score a row, before calibration."""
        return np.asarray(features @ self.weights, np.float64) + self.intercept
