"""Stack-Edu: source code that teaches, by one classifier per language trained on labels from 0 to 5.

each language: files ─► licences? ─► labels ─► classifier ─► scored ─► 3 and more (Java: 2)
all of them ─► near-duplicates within each language ─► given shares? ─► tokens of each language
"""

from __future__ import annotations

from pathlib import Path

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
    text_column: str = "text",
    license_column: str | None = None,
    licenses: tuple[str, ...] = (),
    server: str = "http://localhost:8000/v1",
    keys: tuple[str, ...] = (),
    model: str = "meta-llama/Meta-Llama-3-70B-Instruct",
    sample: int = 500_000,
    label_tokens: Tokens = 1_500_000_000,
    encoder: str | None = None,
    shares: dict[str, float] | None = None,
    tokenizer: Path | None = None,
    vocab: Tokens = 49_152,
    max_context: Tokens = 2048,
    seed: int = 0,
) -> Recipe:
    """Return Stack-Edu on the folders `code`/LANGUAGE, which need not be there to be planned.

    Folders hold source files, or rows with `text_column` and `license_column`. For each language
    `model` labels `sample` files at `server`, for at most `label_tokens`. `encoder` classifies
    (theirs: StarEncoder), or hashed words. With `licenses`, no other is kept. Languages have the sizes
    that they come to, or are sampled down to `shares` of all bytes. SmolLM2 paper, 3.4 and D.
    """
    if unknown := [each for each in languages if each not in LANGUAGES]:
        raise BadInput(f"no rubric for {unknown[0]!r}", hint=f"there are: {', '.join(LANGUAGES)}")
    labelling = Labelling(
        model=model, server=server, keys=keys, sample=sample, cap=label_tokens, encoder=encoder,
        group="document", seed=seed,
    )  # fmt: skip
    steps: list[Step] = []
    for each in languages:
        source = Files(
            path=f"{code}/{each}", text_column=text_column, license_column=license_column
        )
        filters = TEXT if each == "markdown" else CODE
        steps.append(Read(name=f"{each}/read", source=source, filters=filters))
        if licenses:
            corpus = Ref(name=steps[-1].name)
            steps.append(Remove(name=f"{each}/licensed", corpus=corpus, licenses=licenses))
        steps += labelling.steps(each, Ref(name=steps[-1].name), edu_code(LANGUAGES[each]))
        least = THRESHOLDS.get(each, THRESHOLD)
        steps.append(Select(name=f"{each}/good", corpus=Ref(name=f"{each}/scored"), at_least=least))
    clean = Dedup(
        name="deduplicated",
        corpora={each: Ref(name=f"{each}/good") for each in languages},
        within="corpus",
        seed=seed,
    )
    steps.append(clean)
    if shares is not None:
        steps.append(_apportioned(clean, shares, languages, seed))
    packing = Packing(tokenizer=tokenizer, vocab=vocab, max_context=max_context, seed=seed)
    wanted = [each for each in languages if shares is None or shares.get(each)]
    corpora = {
        f"stack-edu-{each}": Corpus(ref=Ref(name=steps[-1].name), part=each) for each in wanted
    }
    return Recipe(name="stack_edu", steps=(*steps, *packing.steps(corpora)))


def _apportioned(
    clean: Dedup, shares: dict[str, float], languages: tuple[str, ...], seed: int
) -> Apportion:
    """Return the step that samples languages down to shares of what there is without near-duplicates."""
    return Apportion(
        name="apportioned",
        corpora={each: Ref(name=clean.name) for each in languages},
        parts={each: each for each in languages},
        shares=shares,
        seed=seed,
    )
