"""The only late import: an optional dependency, or an error that names the extra to install."""

from __future__ import annotations

import importlib
from types import ModuleType

from ramify.ground.errors import MissingExtra


def need(module: str, *, extra: str) -> ModuleType:
    """Return the module, or raise MissingExtra with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"{module} is not installed", hint=f"type: pip install 'ramify[{extra}]'"
        ) from error
