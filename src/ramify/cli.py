"""The door: commands in, one line of error out; nothing heavy is imported until a command needs it."""

from __future__ import annotations

import sys

from ramify.commands import dry, labs, laws, models, work  # noqa: F401  # each enters its commands
from ramify.commands.shared import app

__all__ = ["app", "main"]
ORDER = (  # of the work, as --help shows them
    "new", "check", "plan", "dry", "run", "show", "look", "trace", "eval", "complete", "fit", "export", "report",
    "forget", "verify",
)  # fmt: skip
app.registered_commands.sort(key=lambda command: ORDER.index(command.name or ""))


def main() -> None:
    """Run a command; print a Ramify error in one line and leave with code 1."""
    from pydantic import ValidationError

    from ramify.ground.errors import RamifyError, Stopped, told

    try:
        app()
    except Stopped as error:
        _fail(str(error), 130)
    except RamifyError as error:
        _fail(str(error), 1)
    except ValidationError as error:
        _fail(told(error), 1)
    except BrokenPipeError:
        sys.exit(0)
    except OSError as error:
        full = "; free some space, then type the same command again" if error.errno == 28 else ""
        where = f": {error.filename}" if error.filename else ""
        _fail(f"{error.strerror or error}{where}{full}", 1)
    except KeyboardInterrupt:
        _fail("stopped; type the same command to go on", 130)


def _fail(message: str, code: int) -> None:
    print(f"ramify: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)
