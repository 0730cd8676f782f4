"""An export is chosen among like, gated on its logits, and heard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ramify.ground import artifact
from ramify.ground.artifact import Record
from ramify.ground.errors import BadInput, Corrupt
from ramify.ground.step import Input, Ref
from ramify.model import hf
from ramify.model.config import ModelConfig
from ramify.model.network import Transformer
from ramify.release.make import export_checked, run_complete, run_export
from ramify.release.steps import Complete, Export
from ramify.tokens.steps import CONTROL
from ramify.tokens.tokenizer import Codec, train
from ramify.train.checkpoint import write_weights

TEXT = ["the trunk grows and the branch leaves it", "a branch is its trunk until it leaves"] * 40


def silent(*_: object, **__: object) -> None:
    """Tell nobody."""


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> tuple[Codec, Path]:
    folder = tmp_path_factory.mktemp("tokenizer")
    trained = train(TEXT, 300, CONTROL)
    trained.save(folder)
    return trained, folder


def point(home: Path, name: str, vocab: int, seed: int) -> Input:
    """Make a finished folder of weights, as a run's point is."""
    config = ModelConfig(layers=2, width=32, heads=2, kv_heads=1, ffw=64, vocab=vocab)
    model = Transformer(config)
    model.init_weights(seed)
    asked = {"kind": "cooldown", "seed": seed}
    work = artifact.begin(home / name, asked)
    write_weights(work, config, {n: v.detach() for n, v in model.named_parameters()})
    facts = {"tokens": 4096, "decayed": True, "seq_len": 64}
    record = Record(
        name=name,
        kind="point",
        fingerprint=artifact.digest(asked),
        asked=asked,
        step={},
        facts=facts,
    )
    sealed = artifact.seal(work, home / name, record)
    return Input(home / name, sealed.model_dump(mode="json"), sealed.fingerprint)


def scored(bits: float) -> Input:
    facts = {"scores": {"code": {"bits_per_byte": bits}, "prose": {"bits_per_byte": bits + 0.5}}}
    return Input(Path("nowhere"), {"facts": facts}, "print")


def test_of_several_models_the_one_with_the_fewest_bits_is_exported_and_completes(
    codec: tuple[Codec, Path], tmp_path: Path
) -> None:
    trained, folder = codec
    points = {name: point(tmp_path, name, trained.vocab, seed) for seed, name in enumerate("abc")}
    step = Export(
        name="best",
        models={name: Ref(name=name, at=4096) for name in "abc"},
        scores={name: Ref(name=f"evals/{name}") for name in "abc"},
        tokenizer=Ref(name="tokenizer"),
    )
    inputs = {f"models.{name}": given for name, given in points.items()}
    inputs |= {f"scores.{n}": scored(b) for n, b in (("a", 2.0), ("b", 1.5), ("c", 1.9))}
    inputs["tokenizer"] = Input(folder, {}, "print")
    out = tmp_path / "best"
    facts = run_export(step, inputs, out, silent)
    assert facts["model"] == "b"
    assert facts["logit_difference"] <= hf.TOLERANCE
    _, state = hf.load(out)
    ours = Transformer(ModelConfig.model_validate_json((tmp_path / "b" / "model.json").read_text()))
    ours.init_weights(1)
    assert all(torch.equal(state[name], value) for name, value in ours.state_dict().items())

    heard = tmp_path / "heard"
    heard.mkdir()
    asked = Complete(
        name="heard", model=Ref(name="best"), prompts=("the trunk", "a"), max_new_tokens=5
    )
    given = {"model": Input(out, {}, "print")}
    first = run_complete(asked, given, heard, silent)
    assert [line["prompt"] for line in first["completions"]] == ["the trunk", "a"]
    assert json.loads((heard / "completions.json").read_text()) == first["completions"]
    assert run_complete(asked, given, heard, silent) == first
    (out / "tokenizer_config.json").unlink()
    with pytest.raises(Corrupt, match="does not name an eos_token"):
        run_complete(asked, given, heard, silent)


def test_an_export_by_hand_is_there_whole_or_not_at_all(
    codec: tuple[Codec, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, folder = codec
    given = point(tmp_path, "p", trained.vocab, 0)
    facts = export_checked(given.path, folder, tmp_path / "out", "bfloat16")
    assert facts["dtype"] == "bfloat16"
    assert artifact.unsound(tmp_path / "out", artifact.require_sound(tmp_path / "out")) == []
    with pytest.raises(BadInput, match="is there already"):
        export_checked(given.path, folder, tmp_path / "out", "float32")

    def wrong(*_: Any, **__: Any) -> float:
        raise BadInput("logits differ")

    monkeypatch.setattr(hf, "check_logits", wrong)
    with pytest.raises(BadInput, match="logits differ"):
        export_checked(given.path, folder, tmp_path / "other", "float32")
    assert not (tmp_path / "other").exists()


def test_a_choice_without_scores_for_each_is_refused() -> None:
    with pytest.raises(ValueError, match="has a model or a score, not both"):
        Export(
            name="best",
            models={"a": Ref(name="a", at=1), "b": Ref(name="b", at=1)},
            scores={"a": Ref(name="evals/a")},
            tokenizer=Ref(name="tokenizer"),
        )
