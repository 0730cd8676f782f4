"""What a list names and what has no wanted licence is taken out of a corpus, and counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ramify.curate.remove import run_remove
from ramify.curate.selection_steps import Remove
from ramify.ground.errors import BadInput, NotFound
from ramify.ground.step import Ref

from .corpora import Row, prose, quiet, row, rows_of, write_corpus

LICENSES = ("MIT", "cc0", "GPL-3.0", None)
CORPUS = [
    row(prose(n), f"a/{n}", url=f"https://a.org/{n}", license=LICENSES[n % 4]) for n in range(12)
]


def run(base: Path, **fields: Any) -> Row:
    given = write_corpus(base / "in", {"documents/0": CORPUS[:7], "held_out/0": CORPUS[7:]})
    (base / "out").mkdir()
    step = Remove(name="t", corpus=Ref(name="c"), **fields)
    return run_remove(step, {"corpus": given}, base / "out", quiet)


def test_ids_and_urls_on_a_list_go_from_every_part(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text(f"{CORPUS[2]['id']}\n\nhttps://a.org/9\nhttps://a.org/unknown\n")
    facts = run(tmp_path, lists=(str(path),))
    out = tmp_path / "out"
    assert rows_of(out / "documents") + rows_of(out / "held_out") == [
        x for n, x in enumerate(CORPUS) if n not in (2, 9)
    ]
    assert sorted(x["reason"] for x in rows_of(out / "dropped")) == [
        f"removed: {CORPUS[2]['id']} is on a list",
        "removed: https://a.org/9 is on a list",
    ]
    assert (facts["seen"], facts["kept"], facts["dropped"]) == (12, 10, {"removed": 2})


def test_only_documents_of_a_wanted_licence_stay(tmp_path: Path) -> None:
    facts = run(tmp_path, licenses=("mit", "CC0"))
    kept = rows_of(tmp_path / "out/documents") + rows_of(tmp_path / "out/held_out")
    assert {x["license"] for x in kept} == {"MIT", "cc0"}
    reasons = {x["reason"] for x in rows_of(tmp_path / "out/dropped")}
    assert reasons == {"license: GPL-3.0", "license: unknown"}
    assert facts["dropped"] == {"license": 6}


@pytest.mark.parametrize(
    ("license_", "stays"),
    [
        ("mit", True),
        ("MIT OR GPL-3.0", True),
        ("GPL-3.0 OR mit AND cc0", True),
        ("mit AND GPL-3.0", False),
        ("mit AND cc0", True),
        ("(mit OR cc0) AND GPL-3.0", False),
        ("(mit OR cc0)", False),
        ("mitigated", False),
    ],
)
def test_a_document_under_several_licences_stays_where_what_binds_it_is_wanted(
    license_: str, stays: bool, tmp_path: Path
) -> None:
    rows = [row(prose(1), "a", license=license_), row(prose(2), "b", license="cc0")]
    given = write_corpus(tmp_path / "in", {"documents/0": rows})
    (tmp_path / "out").mkdir()
    step = Remove(name="t", corpus=Ref(name="c"), licenses=("mit", "cc0"))
    facts = run_remove(step, {"corpus": given}, tmp_path / "out", quiet)
    assert facts["kept"] == 1 + stays


def test_what_cannot_be_asked_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="give lists or licenses"):
        Remove(name="t", corpus=Ref(name="c"))
    with pytest.raises(NotFound, match="no list at"):
        run(tmp_path, lists=(str(tmp_path / "none"),))
    bare = write_corpus(tmp_path / "bare", {"documents/0": [row("text", "a")]})
    step = Remove(name="t", corpus=Ref(name="c"), licenses=("mit",))
    with pytest.raises(BadInput, match="no column 'license'"):
        run_remove(step, {"corpus": bare}, tmp_path, quiet)
