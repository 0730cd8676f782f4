"""The quickstart from Python: price the tree, grow it, and read its points as a table.

python examples/01_quickstart.py [BUDGET]
"""

import sys

import ramify
from ramify.recipes import quickstart


def main(
    budget: int = 2_000_000, corpus_bytes: int = 12_000_000, lab: str = "labs/quickstart"
) -> None:
    """Grow the quickstart's tree to `budget` tokens and print its points."""
    recipe = quickstart.recipe(budget=budget, corpus_bytes=corpus_bytes)

    # [plan] nothing is made yet: what is wanted, and what one run per budget would have cost
    wanted = ramify.plan(recipe, lab)
    print(f"the tree trains {wanted.tokens.tree:,.0f} tokens")
    print(f"one by one it would be {wanted.tokens.one_by_one:,.0f}")
    # [/plan]

    # [run] only what is not there is made; interrupt it and run it again, and it goes on
    made = ramify.run(recipe, lab)
    # [/run]

    # [points] every point of every run; pandas.DataFrame(rows) makes a frame of it
    for row in made.points():
        if row["decayed"]:
            print(f"{row['run']:14} {row['tokens']:>9,} tokens   loss {row['loss']:.3f}")
    # [/points]


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
