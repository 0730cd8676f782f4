"""A table becomes points, and what cannot be fitted is left out, counted, and said."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import numpy as np
import pytest
import zstandard

from ramify.ground.errors import BadInput, NotFound
from ramify.scaling.points import checked, joined, without_lowest_ratio
from ramify.scaling.table import Columns, chosen, points_of, read_points, read_rows

COLUMNS = Columns("N", "loss", tokens="D")
N, D, LOSS = [1e7, 1e7, 1e8, 1e8], [1e8, 1e9, 1e9, 1e10], [4.0, 3.5, 3.2, 2.9]


def test_what_is_missing_or_not_positive_is_left_out_and_counted() -> None:
    points = checked([*N, 1e8, 1e8, -1.0], [*D, 1e10, 1e10, 1e10], [*LOSS, math.nan, 0.0, 3.0])
    assert points.loss.tolist() == LOSS
    assert "left out 2 points whose loss is missing or not above 0" in points.notes
    assert "left out 1 point whose parameters is missing or not above 0" in points.notes


def test_a_table_with_nothing_left_is_refused_with_why() -> None:
    with pytest.raises(BadInput, match="no point is left: left out 1 point whose loss"):
        checked([1e7], [1e8], [math.nan])
    with pytest.raises(BadInput, match="no point is left: the table is empty"):
        checked([], [], [])


def test_a_point_that_stands_there_twice_counts_once() -> None:
    points = checked([*N, N[0]], [*D, D[0]], [*LOSS, LOSS[0]])
    assert len(points) == 4
    assert points.notes == ("left out 1 point that the table holds twice, loss and all",)


def test_seeds_at_one_place_are_kept_and_said() -> None:
    points = checked([*N, N[0]], [*D, D[0]], [*LOSS, 4.01], seeds=[0, 0, 0, 0, 1])
    assert len(points) == 5
    assert "as seeds give" in points.notes[0]


def test_points_that_no_seed_sets_apart_are_said_to_differ_otherwise() -> None:
    points = checked([*N, N[0]], [*D, D[0]], [*LOSS, 4.01], seeds=[0] * 5)
    assert "one size, budget and seed (at 1 place)" in points.notes[0]
    assert "choose with --where" in points.notes[0]


def test_parameters_in_another_unit_are_suspected() -> None:
    with pytest.raises(BadInput, match="look like another unit, as millions; type: --params"):
        checked(np.array(N) / 1e6, D, LOSS)
    rows = [{"N": n / 1e6, "D": d, "loss": x} for n, d, x in zip(N, D, LOSS, strict=True)]
    with pytest.raises(BadInput, match="look like another unit"):
        points_of(rows, COLUMNS)
    assert points_of(rows, Columns("N*1e6", "loss", tokens="D")).parameters.tolist() == N


def test_a_run_that_diverged_is_kept_out_and_said() -> None:
    points = checked([*N, 1e8], [*D, 2e10], [*LOSS, 6.9])
    assert points.loss.max() == 4.0
    assert "1 point that diverged or never learned (loss 6.9)" in points.notes[0]


@pytest.mark.parametrize(
    ("unit", "name"), [(1e3, "thousands"), (1e6, "millions"), (1e9, "billions")]
)
def test_tokens_in_another_unit_are_suspected(unit: float, name: str) -> None:
    with pytest.raises(BadInput, match=f"tokens look like {name}; type: --tokens"):
        checked(N, np.array(D) / unit, LOSS)
    assert len(checked(N, np.array(D) / unit, LOSS, trust_units=True)) == 4


def test_few_tokens_in_the_right_unit_are_believed() -> None:
    assert len(checked(N, [1e7, 2e7, 1e7, 2e7], LOSS)) == 4


def test_the_points_of_fewest_tokens_per_parameter_can_be_left_out() -> None:
    points = without_lowest_ratio(checked(N, D, LOSS), 2)
    assert (points.tokens / points.parameters).tolist() == [100, 100]
    assert without_lowest_ratio(points, 0) is points
    with pytest.raises(BadInput, match="give 0 to 1"):
        without_lowest_ratio(points, 2)


def test_joined_points_are_all_of_them() -> None:
    one = checked(N, D, LOSS, labels=["a"] * 4, seeds=[0] * 4)
    both = joined([one, one])
    assert (len(both), both.labels, both.seeds) == (8, ("a",) * 8, (0,) * 8)


def test_a_table_is_read_from_csv_or_json_lines_plain_or_packed(tmp_path: Path) -> None:
    text = "N,D,loss\n" + "".join(f"{n},{d},{x}\n" for n, d, x in zip(N, D, LOSS, strict=True))
    lines = "".join(
        json.dumps({"N": n, "D": d, "loss": x}) + "\n" for n, d, x in zip(N, D, LOSS, strict=True)
    )
    files = {
        "a.csv": text.encode(),
        "a.csv.zst": zstandard.compress(text.encode()),
        "a.csv.gz": gzip.compress(text.encode()),
        "a.tsv": text.replace(",", "\t").encode(),
        "a.jsonl": lines.encode(),
        "a.jsonl.zst": zstandard.compress(lines.encode()),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        assert read_points(tmp_path / name, COLUMNS).loss.tolist() == LOSS, name


def test_tokens_follow_from_flops_where_only_those_are_given() -> None:
    rows = [{"N": "1e8", "C": "1.2e18", "loss": "3.0"}]
    points = points_of(rows, Columns("N", "loss", flops="C"))
    assert points.tokens.tolist() == [pytest.approx(2e9)]
    assert points.flops_each == pytest.approx(6)
    with pytest.raises(BadInput, match="--tokens COLUMN or --flops COLUMN"):
        points_of(rows, Columns("N", "loss"))


def test_a_column_can_be_counted_in_another_unit_or_lie_inside_another() -> None:
    rows = [{"run": {"N": 10}, "D": "0.2", "loss": "3.0"}]
    points = points_of(rows, Columns("run.N*1e6", "loss", tokens="D*1e9"))
    assert (points.parameters.tolist(), points.tokens.tolist()) == ([1e7], [2e8])
    with pytest.raises(BadInput, match="COLUMN\\*NUMBER"):
        points_of(rows, Columns("run.N*x", "loss", tokens="D"))


def test_an_unknown_column_is_answered_with_those_that_are_there() -> None:
    with pytest.raises(BadInput, match="there is no column 'M'; there: N, D, loss"):
        points_of([{"N": "1", "D": "1", "loss": "1"}], Columns("M", "loss", tokens="D"))


def test_a_cell_that_is_no_number_is_named() -> None:
    with pytest.raises(BadInput, match="loss holds 'high'"):
        points_of([{"N": "1", "D": "1", "loss": "high"}], COLUMNS)


def test_mixed_decay_states_are_refused_and_one_can_be_chosen() -> None:
    rows = [
        {"N": n, "D": d, "loss": x, "decayed": i % 2 == 0}
        for i, (n, d, x) in enumerate(zip(N, D, LOSS, strict=True))
    ]
    with pytest.raises(BadInput, match=r"several decay states.*--where decayed=False"):
        points_of(rows, COLUMNS)
    assert len(points_of(rows, COLUMNS, ["decayed=True"])) == 2


def test_rows_are_chosen_by_what_a_column_holds() -> None:
    rows = [{"N": n, "D": d, "loss": x} for n, d, x in zip(N, D, LOSS, strict=True)]
    with pytest.raises(BadInput, match=r"no row has N=3; there: 10000000\.0, 100000000\.0"):
        points_of(rows, COLUMNS, ["N=3"])
    with pytest.raises(BadInput, match="write --where COLUMN=VALUE"):
        points_of(rows, COLUMNS, ["N"])


def test_of_one_column_any_value_is_chosen_and_of_several_columns_all() -> None:
    names = [f"{part}/{kind}" for part in ("core", "rates") for kind in ("cool-1", "cosine-1")]
    rows = [{"run": name, "seed": str(seed)} for name in names for seed in (0, 1)]
    assert [r["run"] for r in chosen(rows, ["run=core/*", "seed=1"])] == names[:2]
    both = chosen(rows, ["run=core/cool-*", "run=rates/cosine-*"])
    assert [r["run"] for r in both] == [names[0]] * 2 + [names[3]] * 2


def test_files_that_are_no_tables_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no file"):
        read_rows(tmp_path / "no.csv")
    for name, text, said in (
        ("a.txt", "N\n1\n", "is no table"),
        ("a.csv", "", "has no rows"),
        ("a.jsonl", "[1]\n", "a line is no object"),
        ("b.jsonl", "{\n", "a line is no JSON"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(BadInput, match=said):
            read_rows(tmp_path / name)
    (tmp_path / "a.csv.zst").write_bytes(b"no zstandard")
    with pytest.raises(BadInput, match="cannot be read"):
        read_rows(tmp_path / "a.csv.zst")
