"""What labels, scores, classifiers and choices of documents came to, in a few words each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ramify.ground.units import show_bytes

LABEL_KINDS = ("annotate", "sheet", "audit", "classify", "score", "select")
CHOICE_KINDS = ("decontaminate", "contamination", "ngramindex", "domainrecall", "fetch")
DATA_KINDS = (
    "read", "sift", "dedup", *LABEL_KINDS, *CHOICE_KINDS, "remove", "apportion", "tokenizer", "broughttokenizer",
    "tokenize", "broughttokens",
)  # fmt: skip


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


def told_of_choice(kind: str, facts: Mapping[str, Any]) -> str:
    """Return in a few words what a step found that looks for items, domains or pages."""
    match kind:
        case "ngramindex":
            size = show_bytes(facts["index_bytes"])
            return f"{facts['marks']:,} marks of {facts['seen']:,} documents · {size}"
        case "domainrecall":
            return f"{facts['recalled']:,} of {facts['domains']:,} domains recalled"
        case "fetch":
            lost = sum(facts["failed"].values())
            return (
                f"{facts['fetched']:,} pages fetched · {show_bytes(facts['bytes'])} · {lost:,} not"
            )
        case _:
            found = sum(task["found"] for task in facts["tasks"].values())
            held = f"{facts['contaminated']:,} of {facts['seen']:,} documents hold"
            return f"{held} {found:,} of {facts['items']:,} evaluation items"


def _agreement(name: str, one: Mapping[str, Any]) -> str:
    kappa = "no kappa" if one["kappa"] is None else f"kappa {one['kappa']:.2f}"
    return f"{name}: {kappa} of {one['documents']:,}"
