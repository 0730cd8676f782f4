"""The claims of Hägele et al. (arXiv 2405.18392) at a size for one CPU, each with n, interval and verdict.

The runs are the installed recipe `reproduction`, part by part; what was evaluated is kept as rows in
docs/reproduction/points.jsonl, and docs/reproduction.md is written from the rows alone. So anyone
can add seeds, sizes or parts: what is there is not made again, what is new is added.

python benchmarks/reproduction.py                              every part and seed: many hours
python benchmarks/reproduction.py --part core --seeds 3,4      more seeds of one part
python benchmarks/reproduction.py --gather LAB                 only take in what a lab holds
python benchmarks/reproduction.py --write-only                 only write the page again
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from ramify.ground.errors import RamifyError
from ramify.recipes.reproduction import PARTS, SIZES
from study import page
from study.claims import claims
from study.pictures import draw
from study.rows import keep, read

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "reproduction"
ROWS = FOLDER / "points.jsonl"
LAB = ROOT / "labs" / "reproduction"


def train(asked: argparse.Namespace) -> None:
    """Make what is asked and is not there, by `ramify run`, which shows how it goes."""
    settings = {
        "parts": asked.part or list(PARTS),
        "sizes": asked.sizes.split(","),
        "budgets": asked.budgets.split(","),
        "seeds": [int(seed) for seed in asked.seeds.split(",")],
    }
    words = [w for k, v in settings.items() for w in ("--set", f"{k}={json.dumps(v)}")]
    command = [
        str(Path(sys.executable).with_name("ramify")),
        "run",
        "reproduction",
        "--lab",
        str(LAB),
    ]
    subprocess.run([*command, *words], stdout=sys.stderr, check=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", action="append", choices=PARTS, help="only this; may be repeated")
    parser.add_argument("--sizes", default=",".join(SIZES))
    parser.add_argument("--budgets", default="1M,2M,4M")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument(
        "--gather", type=Path, metavar="LAB", help="train nothing; take in this lab"
    )
    parser.add_argument("--write-only", action="store_true", help="train nothing, take in nothing")
    asked = parser.parse_args()
    if not (asked.gather or asked.write_only):
        train(asked)
    rows = read(ROWS) if asked.write_only else keep(ROWS, asked.gather or LAB)
    found = claims(rows)
    draw(rows, FOLDER)
    (ROOT / "docs" / "reproduction.md").write_text(page.text(rows, found, FOLDER))
    unevaluated = sum(row["arm"] != "forecast" and not row["bits"] for row in rows)
    bar = {
        "what": "rows without a score",
        "value": unevaluated,
        "op": "==",
        "bar": 0,
        "holds": not unevaluated,
    }
    told = {
        "name": "reproduction",
        "n": len({(row["size"], row["seed"]) for row in rows if row["part"] == "core"}),
        "hardware": "2 CPU cores",
        "figures": {
            claim.key: {
                "seen": claim.seen,
                "n": claim.n,
                "interval": claim.interval,
                "verdict": claim.verdict,
            }
            for claim in found
        },
        "bars": [bar],
    }
    print(json.dumps(told))
    return 0 if bar["holds"] else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RamifyError as error:
        sys.exit(f"reproduction: {error}")
