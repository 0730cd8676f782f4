"""Stack-Edu: source code that teaches, by one classifier per language trained on labels from 0 to 5.

each language: files ─┬► licences? ─┬─► labels ─► classifier ─► scored ─► 3 and more (Java: 2)
                      └─ tokenizer ◄┘       ─► near-duplicates ─► given shares? ─► its tokens

What cannot be made of one language holds back no other: only shares, and a tokenizer that is to be
trained, need files of all of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ramify.curate.filters import CODE, TEXT
from ramify.curate.quality_steps import Select
from ramify.curate.rubrics import edu_code
from ramify.curate.selection_steps import Apportion, Remove
from ramify.curate.steps import Dedup, Files, Read
from ramify.ground.errors import BadInput
from ramify.ground.step import Ref, Step
from ramify.ground.units import Tokens
from ramify.runs.curation import Labelling, Packing
from ramify.runs.recipe import Recipe
from ramify.tokens.steps import Corpus

LANGUAGES = {  # folder -> name: the fifteen of the paper's Table 7
    "python": "Python", "cpp": "C++", "markdown": "Markdown", "c": "C", "javascript": "JavaScript",
    "java": "Java", "sql": "SQL", "php": "PHP", "csharp": "C#", "typescript": "TypeScript",
    "shell": "Shell", "swift": "Swift", "go": "Go", "rust": "Rust", "ruby": "Ruby",
}  # fmt: skip
THRESHOLD = 3.0
THRESHOLDS = {"java": 2.0}  # where 3 left too little


def recipe(
    code: str = "code",
    languages: tuple[str, ...] = tuple(LANGUAGES),
    folders: dict[str, str] | None = None,
    text_column: str = "text",
    id_column: str | None = None,
    origin_column: str | None = None,
    url_column: str | None = None,
    license_column: str | None = None,
    source_column: str | None = None,
    licenses: tuple[str, ...] = (),
    server: str = "http://localhost:8000/v1",
    keys: tuple[str, ...] = (),
    model: str = "meta-llama/Meta-Llama-3-70B-Instruct",
    sample: int = 500_000,
    label_tokens: Tokens = 1_500_000_000,
    encoder: str | None = None,
    group: Literal["origin", "document"] = "document",
    shares: dict[str, float] | None = None,
    tokenizer: Path | None = None,
    vocab: Tokens = 49_152,
    max_context: Tokens = 2048,
    seed: int = 0,
) -> Recipe:
    """Return Stack-Edu on the folders `code`/LANGUAGE, which need not be there to be planned.

    `folders` has the names of those that are called otherwise. They hold source files, each a document
    whatever its length, or rows with the columns named. For each language `model` labels `sample` files
    at `server`, for at most `label_tokens`. `encoder` classifies (theirs: StarEncoder), or hashed words.
    With `licenses`, no other is kept. Languages have the sizes that they come to, or are sampled down to
    `shares` of all bytes. Without a `tokenizer` one is trained on the files before they are chosen
    from, as SmolLM2's was on StarCoderData (4.1). SmolLM2 paper, 3.4 and D.
    """
    if unknown := [each for each in (*languages, *(folders or {})) if each not in LANGUAGES]:
        raise BadInput(f"no rubric for {unknown[0]!r}", hint=f"there are: {', '.join(LANGUAGES)}")
    labelling = Labelling(
        model=model, server=server, keys=keys, sample=sample, cap=label_tokens, encoder=encoder,
        group=group, seed=seed,
    )  # fmt: skip
    steps: list[Step] = []
    whole: dict[str, Corpus] = {}
    clean: dict[str, Corpus] = {}
    for each in languages:
        source = Files(
            path=f"{code}/{(folders or {}).get(each, each)}", text_column=text_column,
            id_column=id_column, origin_column=origin_column, url_column=url_column,
            license_column=license_column, source_column=source_column, cut_characters=None,
        )  # fmt: skip
        read = _read(each, source, licenses)
        chosen = _chosen(each, read[-1].name, labelling, seed)
        steps += (*read, *chosen)
        whole[each] = Corpus(ref=Ref(name=read[-1].name))
        clean[each] = Corpus(ref=Ref(name=chosen[-1].name), part=each)
    if shares is not None:
        steps.append(_apportioned(clean, shares, seed))
        wanted = [each for each in languages if shares.get(each)]
        clean = {each: Corpus(ref=Ref(name="apportioned"), part=each) for each in wanted}
    packing = Packing(tokenizer=tokenizer, vocab=vocab, max_context=max_context, seed=seed)
    packed = packing.steps(
        {f"stack-edu-{each}": corpus for each, corpus in clean.items()},
        learnt_from={each: whole[each] for each in clean},
    )
    return Recipe(name="stack_edu", steps=(*steps, *packed))


def _read(language: str, source: Files, licenses: tuple[str, ...]) -> tuple[Step, ...]:
    """Return the steps that read one language, and leave of it what has the licences asked for."""
    filters = TEXT if language == "markdown" else CODE
    read = Read(
        name=f"{language}/read", source=source, filters=filters, require=("license",) if licenses else ()
    )  # fmt: skip
    if not licenses:
        return (read,)
    kept = Remove(name=f"{language}/licensed", corpus=Ref(name=read.name), licenses=licenses)
    return read, kept


def _chosen(language: str, corpus: str, labelling: Labelling, seed: int) -> tuple[Step, ...]:
    """Return the steps that choose what teaches of one language, and take its near-duplicates out."""
    scoring = labelling.steps(language, Ref(name=corpus), edu_code(LANGUAGES[language]))
    good = Select(
        name=f"{language}/good",
        corpus=Ref(name=scoring[-1].name),
        at_least=THRESHOLDS.get(language, THRESHOLD),
    )
    corpora = {language: Ref(name=good.name)}
    return *scoring, good, Dedup(name=f"{language}/deduplicated", corpora=corpora, seed=seed)


def _apportioned(clean: dict[str, Corpus], shares: dict[str, float], seed: int) -> Apportion:
    """Return the step that samples languages down to shares of what there is without near-duplicates."""
    return Apportion(
        name="apportioned",
        corpora={each: corpus.ref for each, corpus in clean.items()},
        parts={each: each for each in clean},
        shares=shares,
        seed=seed,
    )
