"""How good scores are: errors, F1 at each threshold, the confusion matrix, and what is kept at each cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from ramify.ground.extras import need

Floats = npt.NDArray[np.float64]
BINS = 10


def rounded(scores: Floats, lowest: float, highest: float) -> npt.NDArray[np.int64]:
    """Return scores as whole numbers of the scale; halves go up."""
    return np.floor(np.clip(scores, lowest, highest) + 0.5).astype(np.int64)


def cut_of(threshold: float) -> float:
    """Return the score from which on a document is taken for one of the threshold: what rounds to it."""
    return threshold - 0.5


def measured(labels: Floats, scores: Floats, thresholds: Sequence[float]) -> dict[str, Any]:
    """Return what scores are worth against labels: errors, rank correlation, and each threshold."""
    errors = scores - labels
    spread = float(np.mean((labels - labels.mean()) ** 2))
    varied = np.ptp(scores) > 0 and spread > 0
    return {
        "mean_absolute_error": float(np.mean(np.abs(errors))),
        "r2": 1 - float(np.mean(errors**2)) / spread if spread else None,
        "spearman": float(stats.spearmanr(labels, scores).statistic) if varied else None,
        "thresholds": {f"{t:g}": at_threshold(labels >= t, scores, cut_of(t)) for t in thresholds},
    }


def at_threshold(positive: npt.NDArray[np.bool_], scores: Floats, cut: float) -> dict[str, Any]:
    """Return precision, recall and F1 of `scores >= cut`, the best cut there would be, and the AUC.

    The AUC is None where all labels are on one side.
    """
    metrics = need("sklearn.metrics", extra="labels")
    told = {"documents": int(positive.sum()), **_f1(positive, scores >= cut)}
    if positive.all() or not positive.any():
        return {**told, "auc": None, "best_cut": None, "best_f1": None}
    precision, recall, cuts = metrics.precision_recall_curve(positive, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    best = int(np.argmax(f1[:-1]))
    return {
        **told,
        "auc": float(metrics.roc_auc_score(positive, scores)),
        "best_cut": float(cuts[best]),
        "best_f1": float(f1[best]),
    }


def _f1(positive: npt.NDArray[np.bool_], kept: npt.NDArray[np.bool_]) -> dict[str, float]:
    both = int((positive & kept).sum())
    precision = both / max(int(kept.sum()), 1)
    recall = both / max(int(positive.sum()), 1)
    f1 = 2 * precision * recall / (precision + recall) if both else 0.0
    return {"precision": precision, "recall": recall, "f1": f1}


def confusion(labels: Floats, scores: Floats, lowest: int, highest: int) -> dict[str, Any]:
    """Return the counts of (label, rounded score): rows are labels, from the lowest to the highest."""
    metrics = need("sklearn.metrics", extra="labels")
    scale = list(range(lowest, highest + 1))
    matrix = metrics.confusion_matrix(
        rounded(labels, lowest, highest), rounded(scores, lowest, highest), labels=scale
    )
    return {"scale": scale, "counts": matrix.tolist()}


def reliability(labels: Floats, scores: Floats) -> list[dict[str, float]]:
    """Return, for tenths of the documents by score, the mean score beside the mean label."""
    order = np.argsort(scores, kind="stable")
    return [
        {
            "documents": len(some),
            "score": float(scores[some].mean()),
            "label": float(labels[some].mean()),
        }
        for some in np.array_split(order, min(BINS, len(order)))
    ]


def line(raw: Floats, labels: Floats) -> tuple[float, float]:
    """Return slope and intercept of the labels over raw scores, by least squares; no slope below 0.

    Two numbers, so that calibration changes no order among documents.
    """
    spread = float(np.mean((raw - raw.mean()) ** 2))
    slope = (
        float(np.mean((raw - raw.mean()) * (labels - labels.mean()))) / spread if spread else 0.0
    )
    slope = max(slope, 0.0)
    return slope, float(labels.mean()) - slope * float(raw.mean())
