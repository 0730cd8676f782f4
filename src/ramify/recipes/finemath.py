"""FineMath: web pages of mathematics, found by labels, two classifiers and the domains they come from.

pages ─► labels of 3 ─► classifier ─► domains ─┬─► fetched and read again ─┬─► labels of 5 ─► classifier
                                               └─► those of the crawl ─────┘
  ─► score 3 and more ─► near-duplicates ─► English ─► evaluation items out ─┬─► finemath-3plus
                                                                              ├─► index of its n-grams
                                                                              └─► 4 and more ─► finemath-4plus
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ramify.curate.filters import MATH_WEB, Filter
from ramify.curate.quality_steps import Select
from ramify.curate.rubrics import MATH_3, MATH_5
from ramify.curate.selection_steps import Decontaminate, DomainRecall, Fetch, NgramIndex
from ramify.curate.steps import Dedup, Fetched, Pages, Read, Sift
from ramify.ground.step import Ref, Step
from ramify.ground.units import Tokens
from ramify.runs.curation import Labelling, Packing
from ramify.runs.recipe import Recipe
from ramify.tokens.steps import Corpus

ENGLISH = tuple(each for each in MATH_WEB if each.kind == "language")
ANY_LANGUAGE = tuple(each for each in MATH_WEB if each.kind != "language")


def recipe(
    pages: str = "crawl",
    html_column: str = "html",
    url_column: str = "url",
    id_column: str | None = None,
    license_column: str | None = None,
    source_column: str | None = None,
    server: str = "http://localhost:8000/v1",
    keys: tuple[str, ...] = (),
    model: str = "meta-llama/Llama-3.1-70B-Instruct",
    sample: int = 100_000,
    label_tokens: Tokens = 300_000_000,
    encoder: str | None = None,
    group: Literal["domain", "origin", "document"] = "domain",
    rule: Literal["pages", "share"] = "pages",
    least_pages: int = 10,
    seeds: dict[str, str] | None = None,
    index: tuple[str, ...] = (),
    archive: str = "https://data.commoncrawl.org/",
    items: tuple[str, ...] = (),
    english_first: bool = False,
    tokenizer: Path | None = None,
    vocab: Tokens = 49_152,
    max_context: Tokens = 2048,
    seed: int = 0,
) -> Recipe:
    """Return FineMath on the crawl in `pages`, which need not be there to be planned.

    Rows of parquet and jsonl have a page's markup in `html_column` and its address in `url_column`;
    the other columns are carried where they are named. Archives and HTML files need none of them.

    At `server`, `model` labels `sample` pages twice, for at most `label_tokens` each time. `encoder`
    classifies (theirs: multilingual-e5-small), or hashed words. With `index`, the pages of recalled
    domains are fetched from `archive`; without, they are those of the crawl. No document may hold
    one of the evaluation `items`. English is asked after near-duplicates are gone, as in the SmolLM2
    paper (section 3.3.2), or with `english_first` before any page is labelled, which costs less.
    """
    filters = MATH_WEB if english_first else ANY_LANGUAGE
    labelling = Labelling(
        model=model, server=server, keys=keys, sample=sample, cap=label_tokens, encoder=encoder,
        group=group, seed=seed,
    )  # fmt: skip
    source = Pages(
        path=pages, html_column=html_column, url_column=url_column, id_column=id_column,
        license_column=license_column, source_column=source_column,
    )  # fmt: skip
    read = Read(name="pages/read", source=source, filters=filters, require=("url",))
    first = labelling.steps("reasoning", Ref(name=read.name), MATH_3)
    recall = DomainRecall(
        name="domains",
        corpus=Ref(name=first[-1].name),
        rule=rule,
        least_pages=least_pages,
        seeds=seeds or {},
    )
    recalled = _fetched(index, archive, filters) if index else _of_the_crawl(first[-1].name)
    second = labelling.steps("teaching", Ref(name=recalled[-1].name), MATH_5)
    good = Select(name="math/good", corpus=Ref(name=second[-1].name), at_least=3)
    clean, three = _clean(good, items, english_first, seed)
    four = Select(name="math/4plus", corpus=three.ref, part=three.part, at_least=4)
    packed = Packing(tokenizer=tokenizer, vocab=vocab, max_context=max_context, seed=seed).steps(
        {"finemath-3plus": three, "finemath-4plus": Corpus(ref=Ref(name=four.name))}
    )
    ngrams = NgramIndex(name="math/ngrams", corpus=three.ref, part=three.part)
    steps = (read, *first, recall, *recalled, *second, good, *clean, ngrams, four, *packed)
    return Recipe(name="finemath", steps=steps)


def _fetched(index: tuple[str, ...], archive: str, filters: tuple[Filter, ...]) -> tuple[Step, ...]:
    """Return the steps that bring every page of the recalled domains and read it."""
    fetch = Fetch(name="pages/fetched", index=index, domains=Ref(name="domains"), base=archive)
    source = Fetched(ref=Ref(name=fetch.name))
    return fetch, Read(name="pages/recalled", source=source, filters=filters)


def _of_the_crawl(scored: str) -> tuple[Step, ...]:
    """Return the step that keeps the pages of the recalled domains."""
    domains = Ref(name="domains")
    return (Select(name="pages/recalled", corpus=Ref(name=scored), domains=domains),)


def _clean(
    good: Select, items: tuple[str, ...], english_first: bool, seed: int
) -> tuple[tuple[Step, ...], Corpus]:
    """Return the steps that take out near-duplicates, other languages and items, and the corpus left."""
    dedup = Dedup(
        name="math/deduplicated", corpora={"math": Ref(name=good.name)}, bands=1, rows=10, seed=seed
    )
    steps: list[Step] = [dedup]
    left = Corpus(ref=Ref(name=dedup.name), part="math")
    if not english_first:
        steps.append(Sift(name="math/english", corpus=left.ref, part=left.part, filters=ENGLISH))
        left = Corpus(ref=Ref(name="math/english"))
    if items:
        steps.append(Decontaminate(name="math/3plus", corpus=left.ref, part=left.part, items=items))
        left = Corpus(ref=Ref(name="math/3plus"))
    return tuple(steps), left
