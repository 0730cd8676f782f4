"""Another value of every field of the steps about quality: what decides a result, and what does not."""

from __future__ import annotations

from typing import Any

from ramify import Asked, Cap, Linear, Ref, Rubric, Server

OTHER: dict[str, dict[str, Any]] = {
    "annotate": {
        "corpus": Ref(name="other"), "part": "a", "labeller": Asked(model="n"), "sample": 9,
        "rubric": Rubric(name="r", highest=5, text="Judge well."), "column": "l", "seed": 1,
    },
    "sheet": {
        "labels": Ref(name="score"), "column": "l", "per_label": 9, "excerpt_characters": 900,
        "seed": 1,
    },
    "audit": {
        "labels": Ref(name="score"), "column": "l", "others": {"again": Ref(name="score")},
        "people": {"ann": "ann.csv"}, "thresholds": (3.0,), "resamples": 100, "seed": 1,
    },
    "classify": {
        "labels": Ref(name="other"), "column": "l", "method": Linear(bits=9), "thresholds": (3.0,),
        "folds": 3, "group": "origin", "seed": 1,
    },
    "score": {
        "corpus": Ref(name="other"), "part": "a", "classifier": Ref(name="annotate"),
        "refine": Ref(name="annotate"), "near": (3.0,), "margin": 0.1, "column": "s",
        "tokenizer": Ref(name="tokenizer"),
    },
    "select": {
        "corpus": Ref(name="other"), "part": "a", "column": "s", "at_least": 4.0, "rounded": False,
        "shares": {1: 0.5}, "domains": Ref(name="domainrecall"), "seed": 1,
    },
}  # fmt: skip
BESIDE: dict[str, dict[str, Any]] = {
    "annotate": {
        "server": Server(base_url="http://elsewhere/v1"), "cap": Cap(dollars=1.0),
        "answers": "answers.sqlite",
    },
    "classify": {"batch": 64},
    "score": {"batch": 64},
}  # fmt: skip
