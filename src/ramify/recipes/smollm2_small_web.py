"""The web of SmolLM2's small models: a general corpus thinned by an educational score.

web ─► labels of 5 ─► classifier ─► scored ─► none of score 0, some of 1 and 2 ─► near-duplicates ─► tokens
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ramify.curate.quality_steps import Select
from ramify.curate.rubrics import EDU_WEB
from ramify.curate.steps import Dedup, Files, Read
from ramify.ground.step import Ref
from ramify.ground.units import Tokens
from ramify.runs.curation import Labelling, Packing
from ramify.runs.recipe import Recipe
from ramify.tokens.steps import Corpus


def recipe(
    web: str = "web",
    text_column: str = "text",
    id_column: str | None = None,
    url_column: str | None = "url",
    license_column: str | None = None,
    source_column: str | None = None,
    share_of_1: float = 0.1,
    share_of_2: float = 0.5,
    server: str = "http://localhost:8000/v1",
    keys: tuple[str, ...] = (),
    model: str = "meta-llama/Meta-Llama-3-70B-Instruct",
    sample: int = 500_000,
    label_tokens: Tokens = 1_000_000_000,
    encoder: str | None = None,
    group: Literal["domain", "origin", "document"] | None = None,
    tokenizer: Path | None = None,
    vocab: Tokens = 49_152,
    max_context: Tokens = 2048,
    seed: int = 0,
) -> Recipe:
    """Return the text in `web` without score 0 and with shares of scores 1 and 2, as tokens.

    That the small models had DCLM so is in the SmolLM2 paper, section 6; how large the shares were
    is not, and the defaults are Ramify's. The paper took FineWeb-Edu's classifier, which is trained
    here: `model` labels a `sample` at `server`, and `encoder` classifies, or hashed words.
    """
    labelling = Labelling(
        model=model, server=server, keys=keys, sample=sample, cap=label_tokens, encoder=encoder,
        group=group or ("domain" if url_column else "document"), seed=seed,
    )  # fmt: skip
    source = Files(
        path=web, text_column=text_column, id_column=id_column, url_column=url_column,
        license_column=license_column, source_column=source_column,
    )  # fmt: skip
    read = Read(name="web/read", source=source, require=("url",) if url_column else ())
    scoring = labelling.steps("web/education", Ref(name=read.name), EDU_WEB)
    good = Select(
        name="web/good",
        corpus=Ref(name=scoring[-1].name),
        shares={0: 0.0, 1: share_of_1, 2: share_of_2},
        seed=seed,
    )
    clean = Dedup(name="web/deduplicated", corpora={"web": Ref(name=good.name)}, seed=seed)
    packing = Packing(tokenizer=tokenizer, vocab=vocab, max_context=max_context, seed=seed)
    packed = packing.steps({"small-web": Corpus(ref=Ref(name=clean.name), part="web")})
    return Recipe(name="smollm2_small_web", steps=(read, *scoring, good, clean, *packed))
