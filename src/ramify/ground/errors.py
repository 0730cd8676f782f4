"""Every error that Ramify raises on purpose: what happened, which value, what to type next.

RamifyError
├── BadInput      (ValueError)       a value, file or recipe that cannot be used
├── NotFound      (LookupError)      a name, folder or point that is not there
├── Mismatch      (ValueError)       something made under this name was asked for differently
├── Corrupt       (ValueError)       a file that is not what its record says
├── Busy          (RuntimeError)     another process holds the lock
├── Failed        (RuntimeError)     a step's worker ended without a record
├── Stopped       (RuntimeError)     told to stop before the end; what was finished is kept
├── Diverged      (ArithmeticError)  too many non-finite losses or gradients
└── MissingExtra  (ImportError)      an optional dependency that is not installed
"""

from __future__ import annotations

from pydantic import ValidationError


class RamifyError(Exception):
    """An error of the user's world, not of ours: the door prints it in one line and exits 1."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class BadInput(RamifyError, ValueError):
    """A value, file or recipe that cannot be used."""


class NotFound(RamifyError, LookupError):
    """A name, folder or point that is not there."""


class Mismatch(RamifyError, ValueError):
    """Something made under this name was asked for differently."""


class Corrupt(RamifyError, ValueError):
    """A file that is not what its record says."""


class Busy(RamifyError, RuntimeError):
    """Another process holds the lock."""


class Failed(RamifyError, RuntimeError):
    """A step's worker ended without a record."""


class Stopped(RamifyError, RuntimeError):
    """Told to stop before the end; what was finished is kept."""


class Diverged(RamifyError, ArithmeticError):
    """Too many non-finite losses or gradients in a row."""


class MissingExtra(RamifyError, ImportError):
    """An optional dependency that is not installed."""


def told(error: ValidationError) -> str:
    """Return the first complaint of pydantic in one line, with the field it is about."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    said = first["msg"].removeprefix("Value error, ")
    return f"{where}: {said}" if where else said
