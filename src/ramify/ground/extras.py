"""The only late import: an optional dependency, or an error that names the extra to install."""

from __future__ import annotations

import importlib
from types import ModuleType

from ramify.ground.errors import BadInput, MissingExtra


def need(module: str, *, extra: str) -> ModuleType:
    """Return the module, or raise MissingExtra with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"{module} is not installed", hint=f"type: pip install 'ramify[{extra}]'"
        ) from error


def check_scheme(path: str) -> None:
    """Raise MissingExtra where the package that reads what begins as a path does, as `s3://`, is missing.

    Raises BadInput where fsspec knows of none.
    """
    fsspec = need("fsspec", extra="curate")
    for each in path.split("::"):
        scheme, mark, _ = each.partition("://")
        try:
            fsspec.get_filesystem_class(scheme if mark else "file")
        except ValueError:
            raise BadInput(
                f"fsspec knows of no {scheme}://",
                hint="give https://, s3:// or a path of this machine",
            ) from None
        except ImportError as error:
            lacks = getattr(error.__cause__, "name", None) or ""
            told = lacks and lacks in str(error)  # else fsspec's words name the package otherwise
            raise MissingExtra(
                f"{scheme}:// is read by {lacks}, which is not installed" if told else str(error),
                hint=f"type: pip install {lacks}" if told else "install what it names",
            ) from error
