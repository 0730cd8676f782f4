"""The parts of the page as HTML: tables and captions, each a function of what was summed up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ramify.ground.units import show_bytes, show_count, show_flops, show_seconds
from ramify.report.compare import BUDGET, MEAN, Pair
from ramify.report.forecasts import Forecasted, in_words, track
from ramify.report.funnel import PACKED, shares
from ramify.report.markup import Child, Markup, join, tag
from ramify.report.summary import Amount, Evaluation, Row, Summary, error_of_mean
from ramify.train.documents import Difference

PASSING_KINDS = (
    "read", "sift", "remove", "apportion", "annotate", "score", "select", "decontaminate",
)  # fmt: skip
SIGNIFICANT = 2.0  # standard errors
GROUPS = (  # by decay state: a table never mixes them without saying so
    ("decayed", "Decayed: the rate came to the end of its descent"),
    ("averaged", "Averaged: a mean of weights, of a run whose rate is its own"),
    ("part way", "Part way: stopped on the descent"),
    ("constant", "Constant rate: not decayed, so not to be compared with the above"),
    ("", "Of unknown decay"),
)


def table(
    caption: Child, head: Sequence[str], rows: Sequence[Markup], *, numbers: int = 1, words: int = 0
) -> Markup:
    """Return a table in a region that scrolls sideways: numbers from a column on, words in the last."""
    last = len(head) - words
    cells = [
        tag("th", name, scope="col", class_="n" if numbers <= index < last else None)
        for index, name in enumerate(head)
    ]
    whole = tag(
        "table",
        tag("caption", tag("span", caption)),
        tag("thead", tag("tr", *cells)),
        tag("tbody", *rows) if not any(row.startswith("<tbody") for row in rows) else join(rows),
    )
    return tag("div", whole, class_="scroll", tabindex="0", role="region", aria_label="Table, scrolls sideways")  # fmt: skip


def row_of(
    name: Child, *cells: Child, numbers: int = 1, words: int = 0, title: str | None = None
) -> Markup:
    """Return a table row with its name as its heading, its cells as `table` has them."""
    last = len(cells) + 1 - words
    tds = [
        tag("td", cell, class_="n" if numbers <= index < last else None)
        for index, cell in enumerate(cells, 1)
    ]
    return tag("tr", tag("th", name, scope="row", title=title), *tds)


def about(value: float, error: float | None, digits: int = 3, *, signed: bool = False) -> Markup:
    """Return a number with its standard error."""
    number = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    number = number.replace("-", "−")
    return join([number, tag("span", f" ±{error:.{digits}f}", class_="se") if error else None])


def facts(summary: Summary, pairs: Sequence[Pair]) -> Markup:
    """Return the few numbers that a reader wants first."""
    spent = summary.spent
    items: list[tuple[str, Child]] = []
    if best := best_of(summary):
        mean = sum(best.bits.values()) / len(best.bits)
        items.append(("best decayed model", tag("b", best.model)))
        items.append(("its bits per byte", f"{mean:.3f}, mean of {len(best.bits)} domains"))
    items.append(("trained", f"{show_count(spent.tree.tokens + spent.controls.tokens)} tokens"))
    if spent.ratio is not None:
        what = f"{spent.answers_told} one by one, by cosine"
        items.append((what, f"{spent.ratio:.2f}× the FLOPs of the tree"))
    if asked := [p for p in pairs if p.question == BUDGET and p.differences]:
        pair = max(asked, key=lambda p: p.at)
        told = pair.differences[MEAN]
        value = about(told.bits_per_byte, told.standard_error, signed=True)
        items.append((f"{pair.model} above {pair.other}", [value, " bits per byte"]))
    return tag("dl", *(tag("div", tag("dt", a), tag("dd", b)) for a, b in items), class_="facts")


def best_of(summary: Summary) -> Evaluation | None:
    """Return the decayed evaluation with the lowest mean, among those on the most common corpora."""
    decayed = [e for e in summary.evaluations if e.decay == "decayed"]
    if not decayed:
        return None
    likes = [e.like for e in decayed]
    like = max(likes, key=likes.count)
    return min(
        (e for e in decayed if e.like == like), key=lambda e: sum(e.bits.values()) / len(e.bits)
    )


def results(summary: Summary) -> Markup:
    """Return a table for each set of evaluations that are alike, in groups of one decay state."""
    alike: dict[tuple[Any, ...], list[Evaluation]] = {}
    for evaluation in summary.evaluations:
        alike.setdefault(evaluation.like, []).append(evaluation)
    tables = [_results_table(summary, group) for group in alike.values()]
    if len(tables) > 1:
        note = "These tables were made on different documents: compare within one, never across."
        tables.insert(0, tag("p", note))
    probed = [row for row in summary.rows if row.is_run and (row.bits_from or "").startswith("p")]
    if probed:
        tables.append(_probed_table(summary, probed))
    return join(tables or [tag("p", "Nothing was evaluated yet.")])


def _results_table(summary: Summary, group: Sequence[Evaluation]) -> Markup:
    first = group[0]
    domains = list(first.scores)
    documents = ", ".join(f"{s['documents']} of {d}" for d, s in first.scores.items())
    caption = [
        "Bits per byte of held-out text, lower is better, ± its standard error by document. ",
        f"Documents: {documents}. Bold: the lowest of the decayed models. ",
        "A branch's own tokens and time are what it cost beyond its parent.",
    ]
    best = {
        d: min((e.bits[d] for e in group if e.decay == "decayed"), default=None) for d in domains
    }
    bodies = []
    for decay, title in GROUPS:
        found = sorted((e for e in group if e.decay == decay), key=lambda e: (e.at or 0, e.model))
        if not found:
            continue
        span = len(domains) + 5
        heading = tag(
            "tr",
            tag(
                "th",
                tag("span", title),
                colspan=span,
                scope="rowgroup",
                class_=f"group {_class(decay)}",
            ),
        )
        rows = [_result(summary, e, best if decay == "decayed" else {}) for e in found]
        bodies.append(tag("tbody", heading, *rows))
    return table(caption, ["model", "tokens", *domains, "mean", "own tokens", "own time"], bodies)


def _class(decay: str) -> str:
    return decay.replace(" ", "-") or "unknown"


def _result(summary: Summary, found: Evaluation, best: Mapping[str, float | None]) -> Markup:
    row = summary.by_name.get(found.model)
    whole = row is not None and row.is_run and row.ends_at_tokens == found.at
    cells = [
        tag("strong", cell) if found.bits[domain] == best.get(domain) else cell
        for domain, cell in (
            (domain, about(bits, found.errors[domain])) for domain, bits in found.bits.items()
        )
    ]
    return row_of(
        found.model,
        show_count(found.at) if found.at else "",
        *cells,
        about(sum(found.bits.values()) / len(found.bits), error_of_mean(found.errors)),
        show_count(row.tokens) if row and whole else "",
        show_seconds(row.seconds) if row and whole else "",
        title=found.name,
    )


def _probed_table(summary: Summary, rows: Sequence[Row]) -> Markup:
    domains = summary.domains
    caption = (
        "Not evaluated at their newest point: the last probe, which reads fewer documents than an "
        "evaluation: not to be compared with an evaluation's figures."
    )
    told = [
        row_of(
            row.name,
            row.decay,
            f"{int((row.bits_from or '').removeprefix('probe at ')):,}",
            *(about(b, row.standard_error.get(d)) if (b := row.bits_per_byte.get(d)) is not None else "" for d in domains),
            numbers=2,
        )
        for row in rows
    ]  # fmt: skip
    return table(caption, ["run", "rate", "probed at", *domains], told, numbers=2)


def comparisons(pairs: Sequence[Pair]) -> Markup | None:
    """Return differences document by document, grouped by what is asked, with what is not alike."""
    if not pairs:
        return None
    domains = list(dict.fromkeys(d for pair in pairs for d in pair.differences if d != MEAN))
    bodies = []
    for question in dict.fromkeys(pair.question for pair in pairs):
        asked = [pair for pair in pairs if pair.question == question]
        head = tag("tr", tag("th", tag("span", question), colspan=len(domains) + 3, scope="rowgroup", class_="group"))  # fmt: skip
        bodies.append(tag("tbody", head, *(_pair(pair, domains) for pair in asked)))
    caption = (
        "Difference in bits per byte, paired by document: below zero, the first model is better. "
        f"Marked: further than {SIGNIFICANT:g} standard errors from zero. The error is of the documents alone; "
        "one run stands for each, so the spread between seeds is not in it."
    )
    return table(caption, ["model", "against", *domains, MEAN], bodies, numbers=2)


def _pair(pair: Pair, domains: Sequence[str]) -> Markup:
    model = f"{pair.model} @ {show_count(pair.at)}, {pair.decay}"
    other = f"{pair.other} @ {show_count(pair.other_at)}, {pair.other_decay}"
    if pair.unlike:
        other += f" ({'; '.join(pair.unlike)})"
    if pair.refused is not None:
        refused = tag("td", f"not compared: {pair.refused}", colspan=len(domains) + 1)
        return tag("tr", tag("th", model, scope="row"), tag("td", other), refused)
    cells = [_difference(pair.differences.get(domain)) for domain in (*domains, MEAN)]
    return row_of(model, other, *cells, numbers=2)


def _difference(found: Difference | None) -> Child:
    if found is None:
        return ""
    value, error = found.bits_per_byte, found.standard_error
    told = about(value, error, signed=True)
    if error is None or abs(value) <= SIGNIFICANT * error:
        return told
    return tag("span", told, class_="better" if value < 0 else "worse")


def spent(summary: Summary) -> Markup:
    """Return what was spent as bars in a table."""
    amounts = [("the tree: trunk and branches", summary.spent.tree, "tree")]
    if summary.spent.controls.tokens:
        amounts.append(("controls: cosine", summary.spent.controls, "cosine"))
    if summary.spent.answers:
        name = f"the same {summary.spent.answers_told} one by one, by cosine"
        amounts.append((name, summary.spent.one_by_one, "one"))
    most = Amount(*(max(getattr(a, key) for _, a, _ in amounts) for key in ("tokens", "flops", "seconds", "six_nd")))  # fmt: skip
    rows = [
        row_of(
            name,
            _bar(amount.tokens, most.tokens, show_count(amount.tokens), look),
            _bar(amount.flops, most.flops, show_flops(amount.flops), look),
            show_flops(amount.six_nd),
            _bar(amount.seconds, most.seconds, ("about " if look == "one" else "") + show_seconds(amount.seconds), look),
            numbers=9,
        )
        for name, amount, look in amounts
    ]  # fmt: skip
    caption = (
        "Spent on training, replays included. FLOPs are counted per matrix product, the embedding and "
        "attention's softmax as the papers count them; 6ND is the rule of thumb. One by one was not "
        "run: its tokens are the budgets added up, its time those FLOPs at the tree's own speed."
    )
    return table(caption, ["", "tokens", "FLOPs", "6ND", "time of one worker"], rows, numbers=9)


def _bar(value: float, most: float, told: str, look: str) -> Markup:
    width = 150 * value / most if most else 0.0
    bar = tag("rect", x=0, y=1, width=max(width, 1.0), height=12, class_=f"bar {look}")
    drawn = tag("svg", bar, width=152, height=14, viewBox="0 0 152 14", aria_hidden="true")
    return tag("span", drawn, tag("span", told, class_="told"), class_="barred")


def forecasts(summary: Summary) -> Markup | None:
    """Return the running record of forecasts, each beside what was seen."""
    if not summary.forecasts:
        return None
    rows = [
        row_of(
            one.name,
            show_count(one.leaves_at),
            show_count(one.ends_at),
            f"{one.method}, {one.learned_from} seen",
            f"{one.bits_per_byte:.3f}",
            f"{one.low:.3f} to {one.high:.3f}",
            "" if one.seen is None else f"{one.seen:.3f}",
            "" if one.error is None else f"{one.error:+.3f}".replace("-", "−"),
            _inside(one),
        )
        for one in summary.forecasts
    ]
    record = track(summary.forecasts)
    caption = (
        "What a cooldown was foretold to end at, in mean bits per byte, from its trunk alone and before it "
        "was run; then what it was seen to end at, and the error. Method: what the drop was told by, and "
        "from how many cooldowns that were run. "
    )
    head = ["forecast", "leaves", "ends", "by", "foretold", "interval", "seen", "error", ""]
    return table([caption, in_words(record) if record else ""], head, rows, words=1)


def _inside(one: Forecasted) -> Child:
    if one.is_inside is None:
        return "not run yet"
    words = "inside" if one.is_inside else "outside"
    return f"{words}, made after it" if one.made_before is False else words


def completions(told: Mapping[str, Sequence[Mapping[str, Any]]]) -> Markup | None:
    """Return what models went on with: the prompt, then the completion."""
    figures = [
        tag(
            "figure",
            tag("figcaption", name),
            *(
                tag("pre", tag("b", str(one.get("prompt", ""))), str(one.get("completion", "")))
                for one in several
            ),
        )
        for name, several in told.items()
    ]
    return join(figures) if figures else None


def curation(summary: Summary) -> Markup | None:
    """Return which documents were kept and dropped, and why."""
    rows = [
        line
        for row in summary.rows
        if row.facts
        for line in _curated(row.name, row.kind, row.facts)
    ]
    if not rows:
        return None
    caption = (
        "Documents of each step: those seen are those kept, held out and dropped. "
        "Look at them with ramify look."
    )
    head = ["step", "seen", "kept", "held out", "dropped", "kept, bytes", "why dropped"]
    return table(caption, head, rows, words=1)


def _curated(name: str, kind: str, facts: Mapping[str, Any]) -> Iterator[Markup]:
    if kind in PASSING_KINDS:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in facts["dropped"].items())
        dropped = sum(facts["dropped"].values())
        yield row_of(
            name,
            f"{facts['seen']:,}",
            f"{facts['kept'] - facts.get('held_out', 0):,}",
            f"{facts['held_out']:,}" if facts.get("held_out") else "",
            f"{dropped:,}",
            show_bytes(facts["bytes"]["kept"]),
            tag("span", reasons, class_="why"),
            words=1,
        )
    elif kind == "dedup":
        for corpus, counts in facts["corpora"].items():
            yield row_of(
                f"{name}: {corpus}",
                *(f"{counts[key]:,}" for key in ("seen", "kept", "held_out", "dropped")),
                show_bytes(counts["bytes"]["kept"]),
                tag("span", "near-duplicate" if counts["dropped"] else "", class_="why"),
                words=1,
            )


def packed(summary: Summary) -> Markup | None:
    """Return the tokenized sources, and how often the longest line reads each."""
    read = _tokens_read(summary)
    rows = []
    for name, record in summary.records.items():
        if record.kind not in PACKED:
            continue
        facts, most = record.facts, read.get(name, 0.0)
        licenses = facts.get("provenance", {}).get("license", [])
        rows.append(
            row_of(name, f"{facts['documents']:,}", show_count(facts["tokens"]), f"{facts['bytes_per_token']:.2f}",
                   f"{facts['held_out']['documents']:,}", f"{most / facts['tokens']:.2f}" if facts["tokens"] else "",
                   shares(licenses, 3) if licenses else "", words=1)
        )  # fmt: skip
    if not rows:
        return None
    head = [
        "source",
        "documents",
        "tokens",
        "bytes a token",
        "held out",
        "epochs read",
        "licences by tokens",
    ]
    caption = "Tokenized sources. Epochs: how often the line that reads a source most has gone through it."
    return table(caption, head, rows, words=1)


def _tokens_read(summary: Summary) -> dict[str, float]:
    """Return, by tokenized step, the tokens that the line which read most of it has read."""
    most: dict[str, float] = {}
    for run in summary.runs.values():
        if (end := run.end) is None:
            continue  # no point of it is there yet
        given = [run.line.root.sources, *(branch.sources for branch in run.line.branches)]
        refs = {source: ref.name for sources in given for source, ref in sources.items()}
        stages = run.line.stages(end)
        read: dict[str, float] = {}
        for (at, mixture), until in zip(stages, [*(at for at, _ in stages[1:]), end], strict=True):
            for source, share in mixture.items():
                name = refs.get(source, source)
                read[name] = read.get(name, 0.0) + share * (until - at)
        for name, tokens in read.items():
            most[name] = max(most.get(name, 0.0), tokens)
    return most


def steps(summary: Summary) -> Markup:
    """Return every step with its inputs, cost and fingerprint."""
    rows = [
        row_of(
            row.name,
            row.kind,
            row.state
            if row.diverged_at_tokens is None
            else f"diverged at {row.diverged_at_tokens:,} tokens",
            tag("span", ", ".join(dict.fromkeys(row.inputs.values())), class_="why"),
            show_seconds(row.seconds) if row.seconds else "",
            show_seconds(row.cpu_seconds) if row.cpu_seconds else "",
            row.made.replace("T", " ").removesuffix("Z"),
            tag("code", (row.fingerprint or "")[:12], title=row.fingerprint),
            numbers=4,
        )
        for row in summary.rows
    ]
    head = ["step", "kind", "state", "made from", "time", "CPU time", "made (UTC)", "fingerprint"]
    caption = (
        "Every step of the lab. A fingerprint (its first 12 of 32 digits) covers what was asked, not "
        "where it ran; a run's is that of its newest point."
    )
    return table(caption, head, rows, numbers=4)
