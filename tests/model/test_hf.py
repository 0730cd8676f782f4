"""Hugging Face folders: what transformers loads computes the same, and nothing wrong slips in."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from ramify.ground.errors import BadInput, Corrupt, Mismatch, NotFound
from ramify.model.config import ModelConfig
from ramify.model.hf import check_logits, export, load
from ramify.model.hf_layout import from_hf, half_split, to_hf
from ramify.model.loss import linear_cross_entropy
from ramify.model.network import Transformer

transformers = pytest.importorskip("transformers")
END = "<|endoftext|>"
TINY = ModelConfig(layers=2, width=48, heads=6, kv_heads=2, ffw=40, vocab=300)


def built(config: ModelConfig = TINY, seed: int = 0) -> Transformer:
    model = Transformer(config)
    model.init_weights(seed)
    return model


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=280, special_tokens=[END], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    made.train_from_iterator(["so we beat on, boats against the current"] * 9, trainer)
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    made.save(str(path))
    return path


@pytest.fixture(scope="module")
def exported(tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported")
    off = export(built(), tokenizer, out, end_of_text=END, context=64)
    assert off <= 1e-5
    return out


@pytest.fixture
def folder(exported: Path, tmp_path: Path) -> Path:
    """Return a copy of the exported folder, to be spoiled."""
    return Path(shutil.copytree(exported, tmp_path / "copy"))


def spoil(folder: Path, **changes: Any) -> Path:
    says = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(says))
    return folder


@pytest.mark.parametrize(
    "changes",
    [{}, {"tied": False}, {"kv_heads": 6}, {"rope_theta": 130_000.0}, {"norm_eps": 1e-3}],
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_is_exported_computes_the_same_and_comes_back(
    changes: dict[str, Any], dtype: str, tokenizer: Path, tmp_path: Path
) -> None:
    model = built(TINY.changed(**changes))
    export(model, tokenizer, tmp_path, end_of_text=END, context=64, dtype=dtype)
    config, state = load(tmp_path)
    assert config.changed(init_std=None) == model.config
    for name, weight in model.state_dict().items():
        kept = weight if dtype == "float32" else weight.bfloat16().float()
        assert torch.equal(state[name], kept)


def test_gradients_equal_those_of_transformers(exported: Path) -> None:
    theirs = transformers.LlamaForCausalLM.from_pretrained(exported, dtype=torch.float32)
    ours, tokens = built(), torch.randint(300, (3, 33), generator=torch.Generator().manual_seed(0))
    labels = tokens.masked_fill(torch.rand(3, 33, generator=torch.Generator().manual_seed(1)) < 0.1, -100)  # fmt: skip
    loss = theirs(input_ids=tokens, labels=labels).loss
    torch.autograd.backward(loss)
    hidden = ours(tokens[:, :-1]).flatten(0, 1)
    targets = labels[:, 1:].flatten()
    summed = linear_cross_entropy(hidden, ours.head_weight, targets, chunk=20)
    mine = summed / (targets >= 0).sum()
    torch.autograd.backward(mine)
    torch.testing.assert_close(mine, loss)
    grads = {name: p.grad for name, p in ours.named_parameters() if p.grad is not None}
    yours = dict(theirs.named_parameters())
    assert grads.keys() == dict(ours.named_parameters()).keys()
    for name, grad in to_hf(grads, TINY).items():
        torch.testing.assert_close(grad, yours[name].grad, atol=1e-6, rtol=1e-4, msg=name)


def test_transformers_finds_the_tokenizer_and_the_end_of_text(exported: Path) -> None:
    found = transformers.AutoTokenizer.from_pretrained(exported, local_files_only=True)
    text = "so we beat on, boats"
    assert found.decode(found(text)["input_ids"]) == text
    assert found.eos_token == END
    model = transformers.AutoModelForCausalLM.from_pretrained(exported, local_files_only=True)
    assert model.generation_config.eos_token_id == found.eos_token_id
    ids = torch.tensor([found(text)["input_ids"]])
    drawn = model.generate(ids, max_new_tokens=4, do_sample=False, attention_mask=ids > -1)
    assert drawn.shape[1] <= ids.shape[1] + 4


def test_an_export_that_computes_otherwise_is_refused_and_removed(
    tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def swapped(state: Any, config: ModelConfig) -> Any:
        return {name: tensor.flip(0) for name, tensor in to_hf(state, config).items()}

    monkeypatch.setattr("ramify.model.hf.to_hf", swapped)
    with pytest.raises(Mismatch, match="other logits in transformers: off by"):
        export(built(), tokenizer, tmp_path, end_of_text=END, context=64)
    assert not (tmp_path / "model.safetensors").exists()


def test_the_gate_refuses_weights_that_are_not_those_of_the_folder(exported: Path) -> None:
    state = built().state_dict()
    assert check_logits(TINY, state, exported) <= 1e-5
    state["blocks.0.mlp.down.weight"] = state["blocks.0.mlp.down.weight"] * 1.01
    with pytest.raises(Mismatch):
        check_logits(TINY, state, exported)
    state["norm.weight"] = torch.full_like(state["norm.weight"], float("nan"))
    with pytest.raises(Mismatch):
        check_logits(TINY, state, exported)


@settings(max_examples=20, deadline=None)
@given(
    kv_heads=st.integers(1, 3), group=st.integers(1, 3), half=st.integers(1, 4),
    layers=st.integers(1, 3), tied=st.booleans(),
)  # fmt: skip
def test_layouts_are_inverse_for_any_dimensions(
    kv_heads: int, group: int, half: int, layers: int, tied: bool
) -> None:
    heads = kv_heads * group
    config = ModelConfig(
        layers=layers, width=2 * half * heads, heads=heads, kv_heads=kv_heads, ffw=7, vocab=11,
        tied=tied,
    )  # fmt: skip
    state = built(config).state_dict()
    back = from_hf(to_hf(state, config), config, interleaved=False)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)


def test_interleaved_weights_compute_the_same_after_import(folder: Path) -> None:
    half, width = TINY.head_dim // 2, TINY.width
    tensors = load_file(folder / "model.safetensors")
    for name in tensors:
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            pairs = tensors[name].view(-1, 2, half, width).transpose(1, 2)
            tensors[name] = pairs.reshape(-1, width).contiguous()
            assert torch.equal(half_split(tensors[name], 2 * half), pairs.transpose(1, 2).reshape(-1, width))  # fmt: skip
    save_file(tensors, folder / "model.safetensors")
    straight = built().state_dict()
    for state in (load(folder, interleaved=True)[1], load(spoil(folder, rope_interleaved=True))[1]):
        assert all(torch.equal(state[name], straight[name]) for name in straight)
    asked_otherwise = load(folder, interleaved=False)[1]
    name = "blocks.0.attention.qkv.weight"
    assert not torch.equal(asked_otherwise[name], straight[name])


def test_shards_and_the_index_of_large_models_are_read(folder: Path) -> None:
    model = transformers.LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="60KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 2
    config, state = load(folder)
    assert config.changed(init_std=None) == TINY
    assert all(torch.equal(state[name], w) for name, w in built().state_dict().items())
    next(folder.glob("model-00002*")).unlink()
    with pytest.raises(NotFound, match=r"though model.safetensors.index.json names it"):
        load(folder)


def test_an_index_cannot_point_out_of_its_folder(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder.parent / "outside.safetensors")
    places = {"weight_map": {"model.norm.weight": "../outside.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(places))
    with pytest.raises(Corrupt, match="not a file of its folder"):
        load(folder)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "RoPE of type 'llama3'"),
        ({"rope_parameters": {"type": "linear"}}, "RoPE of type 'linear'"),
        ({"attention_bias": True}, "attention_bias=True, which the network cannot do"),
        ({"mlp_bias": True}, "mlp_bias=True"),
        ({"hidden_act": "gelu"}, "hidden_act='gelu'"),
        ({"head_dim": 64}, "head_dim=64"),
        ({"model_type": "qwen3"}, "model_type 'qwen3'; only llama"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"hidden_size": "big"}, "config.json cannot be used: width Input should be a valid int"),
        ({"num_attention_heads": 7}, "width=48 is no multiple of heads=7"),
    ],
)
def test_what_the_network_cannot_do_is_refused(
    folder: Path, changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(BadInput, match=says):
        load(spoil(folder, **changes))


def test_theta_is_read_from_either_form_of_config(folder: Path) -> None:
    assert load(spoil(folder, rope_theta=50_000.0))[0].rope_theta == 50_000.0
    new = {"rope_type": "default", "rope_theta": 70_000.0}
    assert load(spoil(folder, rope_parameters=new))[0].rope_theta == 70_000.0


def test_missing_misshapen_and_unplaced_tensors_are_named(folder: Path) -> None:
    whole = load_file(folder / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"

    def keep(**changes: Any) -> None:
        save_file(whole | changes, folder / "model.safetensors")

    keep(**{name: torch.zeros(39, 48)})
    with pytest.raises(Mismatch, match=r"up_proj.weight is \[39, 48\], .* asks for \[40, 48\]"):
        load(folder)
    keep(**{"model.layers.0.self_attn.q_proj.bias": torch.zeros(48)})
    with pytest.raises(BadInput, match=r"1 tensors have no place in this network: .*q_proj.bias"):
        load(folder)
    keep(**{"lm_head.weight": torch.zeros(300, 48)})
    with pytest.raises(Mismatch, match="tied to its embedding, but holds another head"):
        load(folder)
    keep(**{"model.layers.0.self_attn.rotary_emb.inv_freq": torch.zeros(4)})
    load(folder)
    del whole[name]
    keep()
    with pytest.raises(Mismatch, match=r"1 tensors are missing: model.layers.1.mlp.up_proj.weight"):
        load(folder)


def test_missing_and_broken_files_are_named(folder: Path) -> None:
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    with pytest.raises(Corrupt, match="not a whole safetensors file"):
        load(folder)
    weights.unlink()
    with pytest.raises(NotFound, match="only safetensors are read"):
        load(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(Corrupt, match="is not JSON"):
        load(folder)
    (folder / "config.json").unlink()
    with pytest.raises(NotFound, match=r"no config.json"):
        load(folder)


def test_a_tokenizer_that_does_not_fit_is_refused(tokenizer: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="ids up to 279, the model only 200 rows"):
        export(built(TINY.changed(vocab=200)), tokenizer, tmp_path, end_of_text=END, context=64)
    with pytest.raises(BadInput, match="has no token '</s>'"):
        export(built(), tokenizer, tmp_path, end_of_text="</s>", context=64)
    with pytest.raises(BadInput, match="dtype 'fp8'"):
        export(built(), tokenizer, tmp_path, end_of_text=END, context=64, dtype="fp8")
    bare = tmp_path / "bare.json"
    bare.write_text('{"model": {}}')
    with pytest.raises(Corrupt, match=r"no tokenizer.json with a vocabulary"):
        export(built(), bare, tmp_path, end_of_text=END, context=64)
