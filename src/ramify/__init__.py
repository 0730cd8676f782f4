"""Ramify: a laboratory for small language models in which every answer branches off a trunk.

What a recipe or a notebook needs is here, imported when it is first named.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from ramify.curate.quality_steps import (
        Annotate,
        Asked,
        Audit,
        Classify,
        Encoder,
        FromFile,
        FromFunction,
        Linear,
        Score,
        Select,
        Sheet,
    )
    from ramify.curate.rubrics import Rubric, edu_code
    from ramify.curate.selection_steps import (
        Apportion,
        Contamination,
        Decontaminate,
        DomainRecall,
        Fetch,
        NgramIndex,
        Remove,
    )
    from ramify.curate.steps import (
        Dedup,
        Extraction,
        Files,
        Pages,
        PythonInstallation,
        Read,
        Sample,
        Sift,
    )
    from ramify.evals.steps import Ablation, Cooled, Evaluate, Forecast, Pair, Trial
    from ramify.ground.server import Cap, Server
    from ramify.ground.step import Ref
    from ramify.ground.units import Tokens
    from ramify.model.config import ModelConfig, preset
    from ramify.optim.config import AdamW, Ema, ScheduleFree, Windows
    from ramify.optim.schedule import Constant
    from ramify.release.steps import Complete, Export
    from ramify.runs.grid import Grid, Size, Sweep
    from ramify.runs.lab import Lab
    from ramify.runs.plan import Plan
    from ramify.runs.recipe import Recipe
    from ramify.tokens.mixture import Stage
    from ramify.tokens.steps import BroughtTokenizer, BroughtTokens, Corpus, Tokenize, Tokenizer
    from ramify.train.steps import (
        Average,
        Cooldown,
        Cosine,
        EmaAverage,
        Interpolate,
        Numerics,
        Probe,
        Trunk,
    )

__version__ = "0.1.0"

_HOMES = {
    "ramify.curate.quality_steps": (
        "Annotate",
        "Asked",
        "Audit",
        "Classify",
        "Encoder",
        "FromFile",
        "FromFunction",
        "Linear",
        "Score",
        "Select",
        "Sheet",
    ),
    "ramify.curate.rubrics": ("Rubric", "edu_code"),
    "ramify.curate.steps": (
        "Dedup",
        "Extraction",
        "Files",
        "Pages",
        "PythonInstallation",
        "Read",
        "Sample",
        "Sift",
    ),
    "ramify.curate.selection_steps": (
        "Apportion",
        "Contamination",
        "Decontaminate",
        "DomainRecall",
        "Fetch",
        "NgramIndex",
        "Remove",
    ),
    "ramify.evals.steps": ("Ablation", "Cooled", "Evaluate", "Forecast", "Pair", "Trial"),
    "ramify.ground.server": ("Cap", "Server"),
    "ramify.ground.step": ("Ref",),
    "ramify.ground.units": ("Tokens",),
    "ramify.model.config": ("ModelConfig", "preset"),
    "ramify.optim.config": ("AdamW", "Ema", "ScheduleFree", "Windows"),
    "ramify.optim.schedule": ("Constant",),
    "ramify.release.steps": ("Complete", "Export"),
    "ramify.runs.grid": ("Grid", "Size", "Sweep"),
    "ramify.runs.lab": ("Lab",),
    "ramify.runs.recipe": ("Recipe",),
    "ramify.tokens.mixture": ("Stage",),
    "ramify.tokens.steps": ("BroughtTokenizer", "BroughtTokens", "Corpus", "Tokenize", "Tokenizer"),
    "ramify.train.steps": (
        "Average",
        "Cooldown",
        "Cosine",
        "EmaAverage",
        "Interpolate",
        "Numerics",
        "Probe",
        "Trunk",
    ),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [  # noqa: RUF022  # in the order of the work
    "Recipe", "Ref", "Tokens",
    "Read", "Sample", "Files", "Pages", "Extraction", "PythonInstallation", "Sift", "Dedup",
    "Annotate", "Asked", "FromFile", "FromFunction", "Rubric", "edu_code", "Server", "Cap",
    "Sheet", "Audit", "Classify", "Linear", "Encoder", "Score", "Select",
    "Decontaminate", "Contamination", "NgramIndex", "DomainRecall", "Fetch", "Remove", "Apportion",
    "Corpus", "Tokenizer", "BroughtTokenizer", "Tokenize", "BroughtTokens", "Stage",
    "ModelConfig", "preset", "AdamW", "ScheduleFree", "Ema", "Windows", "Constant",
    "Trunk", "Cosine", "Cooldown", "Average", "EmaAverage", "Interpolate", "Numerics", "Probe",
    "Grid", "Size", "Sweep",
    "Evaluate", "Cooled", "Forecast", "Ablation", "Trial", "Pair", "Export", "Complete", "Lab", "open", "plan", "run",
]  # fmt: skip


def open(folder: str | Path) -> Lab:
    """Return the lab in a folder, for a notebook: `ramify.open("labs/quickstart").points()`."""
    lab: Lab = importlib.import_module("ramify.runs.lab").Lab.open(folder)
    return lab


def plan(recipe: Recipe, lab: str | Path) -> Plan:
    """Return what is there of a recipe in a lab, what is not, and what that costs; make nothing."""
    found: Plan = importlib.import_module("ramify.runs.plan").plan(
        recipe, importlib.import_module("ramify.runs.lab").Lab(lab)
    )
    return found


def run(recipe: Recipe, lab: str | Path) -> Lab:
    """Make what a recipe wants and a lab has not, showing how it goes; return the lab."""
    wanted = plan(recipe, lab)
    here: Lab = importlib.import_module("ramify.runs.lab").Lab(lab)
    if wanted.to_do:
        importlib.import_module("ramify.runs.progress").watch(wanted, here)
    return here


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'ramify' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
