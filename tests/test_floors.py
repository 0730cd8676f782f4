"""The house stands: no room imports a sibling or a higher floor, and the driver stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ramify

HOME = Path(ramify.__file__).parent
FLOORS = {
    "ground": 0,
    "curate": 1, "tokens": 1, "model": 1, "optim": 1, "scaling": 1,
    "train": 2,
    "evals": 3, "release": 3,
    "runs": 4,
    "report": 5,
    "recipes": 6, "commands": 6, "worker": 6, "cli": 7, "__init__": 7,
}  # fmt: skip
FILES = sorted(HOME.rglob("*.py"))
HEAVY = ("torch", "daft", "scipy", "transformers", "tokenizers", "pyarrow")


def room(path: Path) -> str:
    return path.relative_to(HOME).parts[0].removesuffix(".py")


def imported(path: Path) -> list[str]:
    tree = ast.parse(path.read_text())
    names = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
    flat = [a.name for n in names if isinstance(n, ast.Import) for a in n.names]
    return flat + [n.module for n in names if isinstance(n, ast.ImportFrom) and n.module]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOME)))
def test_a_room_imports_the_ground_and_lower_floors_only(path: Path) -> None:
    own = room(path)
    for module in imported(path):
        parts = module.split(".")
        if parts[0] == "ramify" and len(parts) > 1 and parts[1] != own and own != "__init__":
            assert FLOORS[parts[1]] < FLOORS[own], f"{path} imports {module}"


def test_only_distributed_names_torch_distributed() -> None:
    naming = {p.name for p in FILES if any(m.startswith("torch.distributed") for m in imported(p))}
    assert naming == {"distributed.py"}


@pytest.mark.parametrize(
    "command",
    [
        ["plan", "quickstart"],
        ["plan", "quickstart", "--json"],
        ["run", "quickstart", "--dry-run"],
        ["--help"],
    ],
)
def test_the_driver_loads_nothing_heavy(command: list[str], tmp_path: Path) -> None:
    code = (
        "import sys; from ramify import cli\n"
        f"sys.argv = ['ramify', *{command!r}]\n"
        "try: cli.main()\nexcept SystemExit: pass\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stderr.strip().splitlines()[-1] == "[]"
