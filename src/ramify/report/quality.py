"""What labels, scores and classifiers came to, in a few words each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LABEL_KINDS = ("annotate", "sheet", "audit", "classify", "score", "select")


def told_of_quality(kind: str, facts: Mapping[str, Any]) -> str:
    """Return in a few words what a step about quality made."""
    match kind:
        case "annotate":
            spent = facts.get("spent")
            money = f" · ${spent['dollars']:.2f}" if spent else ""
            return f"{facts['kept']:,} of {facts['seen']:,} documents labelled{money}"
        case "sheet":
            return f"a sheet of {facts['documents']:,} documents"
        case "audit":
            return " · ".join(_agreement(name, one) for name, one in facts["compared"].items())
        case "classify":
            if not facts["learned"]:
                return "learned nothing: label more documents, or others"
            pairs = facts["thresholds"].items()
            return "F1 " + ", ".join(f"{one['f1']:.2f} at {t}" for t, one in pairs)
        case "score":
            return f"{facts['seen']:,} documents scored"
        case _:
            return f"{facts['kept']:,} of {facts['seen']:,} documents kept"


def _agreement(name: str, one: Mapping[str, Any]) -> str:
    kappa = "no kappa" if one["kappa"] is None else f"kappa {one['kappa']:.2f}"
    return f"{name}: {kappa} of {one['documents']:,}"
