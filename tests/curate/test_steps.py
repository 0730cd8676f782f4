"""What can be asked of curation."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ramify.curate.filters import CODE, PROSE, TEXT, TooShort
from ramify.curate.steps import Dedup, Files, PythonInstallation, Read
from ramify.ground.step import Ref, Step

TWO = {"web": Ref(name="web"), "books": Ref(name="books")}


@pytest.mark.parametrize(
    "step",
    [
        Read(name="code", source=PythonInstallation(part="code"), limit_bytes="12M"),  # type: ignore[arg-type]
        Read(name="mine", source=Files(path="a"), filters=(TooShort(characters=9),)),
        Dedup(name="text", corpora=TWO, held_out=0.1),
    ],
)
def test_a_step_survives_the_way_to_a_worker(step: Step) -> None:
    assert type(step).model_validate_json(step.model_dump_json()) == step


def test_a_source_comes_with_filters_that_suit_it_unless_others_are_given() -> None:
    assert Read(name="p", source=PythonInstallation(part="prose")).sieve == PROSE
    assert Read(name="m", source=PythonInstallation(part="math")).sieve == CODE
    assert Read(name="f", source=Files(path="a")).sieve == TEXT
    assert Read(name="f", source=Files(path="a"), filters=()).sieve == ()


def test_the_order_of_corpora_is_part_of_what_was_asked() -> None:
    forth = Dedup(name="t", corpora=TWO)
    back = Dedup(name="t", corpora=dict(reversed(TWO.items())))
    assert forth.priority == ("web", "books")
    assert forth.asked() != back.asked()
    assert forth.refs() == {"corpora.web": TWO["web"], "corpora.books": TWO["books"]}


@pytest.mark.parametrize(
    "wrong",
    [
        {"corpora": {}},
        {"corpora": {"a/b": Ref(name="a")}},
        {"corpora": {"dropped": Ref(name="a")}},
        {"corpora": TWO, "priority": ("web",)},
        {"corpora": TWO, "rows": 1},
        {"corpora": TWO, "held_out": 0.5},
        {"corpora": TWO, "unknown": 1},
    ],
)
def test_a_dedup_that_cannot_be_done_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Dedup.model_validate({"name": "t", **wrong})


def test_asking_imports_nothing_heavy() -> None:
    code = (
        "import sys, ramify.curate.steps, ramify.curate.sources;"
        "sys.exit(str({'daft', 'numpy', 'pyarrow', 'torch', 'scipy'} & set(sys.modules) or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
