"""Evaluations as folders: made, gone on with after a kill, read back and compared."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError

from ramify.evals.make import run_evaluate
from ramify.evals.scores import compare, documents_path, read_documents, read_scores
from ramify.evals.steps import Evaluate
from ramify.ground import artifact
from ramify.ground.artifact import Record
from ramify.ground.errors import BadInput, Corrupt, Mismatch, NotFound
from ramify.ground.step import Input, Ref
from ramify.model.config import ModelConfig
from ramify.model.network import Transformer
from ramify.train import checkpoint
from ramify.train.documents import summary
from ramify.train.score import HeldOut, score

CONFIG = ModelConfig(layers=1, width=16, heads=2, kv_heads=1, ffw=32, vocab=64)
STEP = Evaluate(
    name="evals/cool",
    model=Ref(name="cool", at=100),
    corpora={"code": Ref(name="code"), "prose": Ref(name="prose")},
    seq_len=8,
)


def silent(done: float, total: float, unit: str, note: str = "") -> None:
    """Tell nobody."""


def make_model(folder: Path, seed: int) -> Transformer:
    """Write a finished folder that holds weights, as points and averages are."""
    model = Transformer(CONFIG)
    model.init_weights(seed)
    work = artifact.begin(folder, {})
    checkpoint.write_weights(
        work, CONFIG, {name: value.detach() for name, value in model.named_parameters()}
    )
    record = Record(name=folder.name, kind="average", fingerprint="", asked={}, step={})
    artifact.seal(work, folder, record)
    return model


def make_source(folder: Path, seed: int, tokenizer: str = "t" * 64, highest: int = 63) -> None:
    """Write what evaluation reads of a tokenized source."""
    drawn = np.random.default_rng(seed)
    texts = [drawn.integers(1, highest + 1, n).tolist() for n in drawn.integers(1, 40, 12)]
    folder.mkdir()
    facts = {"format": 1, "tokens": 100, "dtype": "uint16", "segment": 16, "documents": 1}
    facts |= {"vocab": 64, "end_of_text": 0, "tokenizer": tokenizer, "order": "as read"}
    facts |= {"bytes": 300, "shards": [{"file": "shards/00000.bin", "tokens": 100}]}
    (folder / "source.json").write_text(json.dumps(facts))
    table = {
        "id": [f"{folder.name}{index}" for index in range(len(texts))],
        "bytes": [3 * len(text) for text in texts],
        "tokens": pa.array(texts, pa.list_(pa.uint32())),
    }
    pq.write_table(pa.table(table), folder / "held_out.parquet")


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A model and two sources, finished."""
    make_model(tmp_path / "cool", seed=1)
    make_source(tmp_path / "code", seed=2)
    make_source(tmp_path / "prose", seed=3)
    return tmp_path


def evaluate(lab: Path, model: str = "cool", out: str = "out", step: Evaluate = STEP) -> Path:
    """Run an evaluation as a worker does, without its record."""
    inputs = {where: Input(lab / ref.name, {}, "") for where, ref in step.refs().items()}
    inputs["model"] = Input(lab / model, {}, "")
    folder = lab / out
    folder.mkdir(exist_ok=True)
    run_evaluate(step, inputs, folder, silent)
    return folder


def test_an_evaluation_holds_the_score_of_every_domain(lab: Path) -> None:
    folder = evaluate(lab)
    model = checkpoint.load_model(lab / "cool")
    for domain, told in read_scores(folder).items():
        held_out = HeldOut.load(lab / domain)
        direct = score(model, held_out, end_of_text=0, seq_len=8, rows=3, loss_chunk=7)
        assert told["bits_per_byte"] == pytest.approx(direct.bits_per_byte, rel=1e-6)
        assert told["standard_error"] == pytest.approx(direct.standard_error, rel=1e-4)
        assert (told["documents"], told["bytes"]) == (direct.documents, direct.bytes)
    assert set(read_scores(folder)) == {"code", "prose"}


def test_the_documents_add_up_to_the_scores(lab: Path) -> None:
    folder = evaluate(lab)
    for domain, told in read_scores(folder).items():
        whole = summary(read_documents(documents_path(folder, domain)))
        assert whole.bits_per_byte == told["bits_per_byte"]
        assert len(read_documents(documents_path(folder, domain)).ids) == 12


def test_an_evaluation_goes_on_with_the_domain_that_a_kill_left_undone(lab: Path) -> None:
    whole = read_scores(evaluate(lab))
    done, undone = (documents_path(lab / "out", domain) for domain in ("code", "prose"))
    before = done.stat().st_mtime_ns
    undone.unlink()
    (lab / "out" / "scores.json").unlink()
    assert read_scores(evaluate(lab)) == whole
    assert done.stat().st_mtime_ns == before


def test_a_limit_scores_fewer_documents_the_same_for_every_model(lab: Path) -> None:
    make_model(lab / "other", seed=5)
    few = STEP.but(limit_tokens=60)
    a, b = evaluate(lab, out="a", step=few), evaluate(lab, model="other", out="b", step=few)
    for domain in few.corpora:
        ids = read_documents(documents_path(a, domain)).ids
        assert ids == read_documents(documents_path(b, domain)).ids
        assert len(ids) < 12


def test_two_models_are_compared_document_by_document(lab: Path) -> None:
    make_model(lab / "other", seed=5)
    a, b = evaluate(lab, out="a"), evaluate(lab, model="other", out="b")
    one, other = read_scores(a), read_scores(b)
    for domain, found in compare(a, b).items():
        between = one[domain]["bits_per_byte"] - other[domain]["bits_per_byte"]
        assert found.bits_per_byte == pytest.approx(between, abs=1e-9)
        assert found.documents == 12
    assert all(found.bits_per_byte == 0 for found in compare(a, a).values())


def test_evaluations_of_other_domains_or_documents_are_not_compared(lab: Path) -> None:
    whole = evaluate(lab, out="whole")
    code = evaluate(lab, out="code_only", step=STEP.but(corpora={"code": Ref(name="code")}))
    with pytest.raises(Mismatch, match="whole was evaluated on code, prose"):
        compare(whole, code)
    few = evaluate(lab, out="few", step=STEP.but(limit_tokens=60))
    with pytest.raises(Mismatch, match="were scored for one model only"):
        compare(whole, few)


def test_sources_of_two_tokenizers_are_refused(lab: Path) -> None:
    make_source(lab / "odd", seed=4, tokenizer="u" * 64)
    odd = STEP.but(corpora={"code": Ref(name="code"), "odd": Ref(name="odd")})
    with pytest.raises(Mismatch, match="2 tokenizers"):
        evaluate(lab, step=odd)


def test_tokens_that_the_model_does_not_know_are_refused(lab: Path) -> None:
    make_source(lab / "odd", seed=4, highest=90)
    with pytest.raises(BadInput, match="vocabulary"):
        evaluate(lab, step=STEP.but(corpora={"odd": Ref(name="odd")}))


def test_a_damaged_model_is_refused(lab: Path) -> None:
    (weights,) = (lab / "cool").rglob("*.safetensors")
    damaged = bytearray(weights.read_bytes())
    damaged[-1] ^= 1
    weights.write_bytes(damaged)
    with pytest.raises(Corrupt, match="hash differs"):
        evaluate(lab)


def test_what_is_not_there_is_named(lab: Path) -> None:
    with pytest.raises(NotFound, match=r"no .*scores\.json"):
        read_scores(lab)
    with pytest.raises(NotFound, match=r"no .*gone\.parquet"):
        read_documents(documents_path(lab, "gone"))


def test_a_damaged_table_of_documents_is_called_corrupt(lab: Path) -> None:
    path = documents_path(evaluate(lab), "code")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(Corrupt, match=r"code\.parquet cannot be read"):
        read_documents(path)


def test_how_rows_are_batched_is_no_part_of_what_is_asked() -> None:
    assert STEP.asked() == STEP.but(rows=2, loss_chunk=3).asked()
    assert STEP.asked() != STEP.but(seq_len=16).asked()
    assert STEP.asked() != STEP.but(limit_tokens=10).asked()


@pytest.mark.parametrize(
    "fields", [{"corpora": {}}, {"corpora": {"a/b": Ref(name="c")}}, {"seq_len": 0}, {"rows": 0}]
)
def test_an_evaluation_that_cannot_be_made_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        STEP.but(**fields)


def test_scoring_draws_nothing_from_the_global_stream(lab: Path) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    evaluate(lab)
    assert torch.equal(before, torch.get_rng_state())
