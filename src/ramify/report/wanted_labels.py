"""What a plan knows of curation before anything is read: who is asked for labels, and the most it can cost."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from ramify.ground.units import show_count, show_money
from ramify.runs.plan import Plan
from ramify.runs.wanted_labels import Wanted


def label_lines(plan: Plan) -> Iterator[Text]:
    """Yield a line for each step that is to ask for labels, and one for what they come to at most."""
    wanted = plan.labels
    for each in wanted:
        yield Text(_line(each))
    if len(wanted) > 1:
        tokens = [each.cap_tokens for each in wanted]
        known = show_count(sum(n for n in tokens if n is not None)) if None not in tokens else "?"
        money = [each.dollars_at_most for each in wanted]
        cost = show_money(sum(m for m in money if m is not None)) if None not in money else "$?"
        yield Text(f"labels in all: at most {known} tokens, {cost}", style="bold")
    if any(each.dollars_at_most is None for each in wanted):
        yield Text(
            "$? is known with --token-price IN,OUT, or with the prices of a Server", style="dim"
        )


def _line(each: Wanted) -> str:
    documents = "?" if each.documents is None else f"{each.documents:,}"
    tokens = "?" if each.cap_tokens is None else show_count(each.cap_tokens)
    dollars = "$?" if each.dollars_at_most is None else show_money(each.dollars_at_most)
    of = (
        f"at most {documents} labels" if each.documents is not None else "a label of every document"
    )
    return f"{each.name}: {of} by {each.model}, at most {tokens} tokens, {dollars}"
