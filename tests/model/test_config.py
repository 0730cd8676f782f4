"""Dimensions: counts that equal the papers', and errors that say what to write."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ramify.ground.errors import BadInput
from ramify.model.config import PRESETS, ModelConfig, preset
from ramify.model.network import Transformer

PUBLISHED = {"135M": 134_515_008, "360M": 361_821_120, "1.7B": 1_711_376_384}  # FACTS 1.1
HAEGELE = {  # FACTS 2.4, in millions
    "h33M": 33.5, "h53M": 53.0, "h60M": 59.8, "h93M": 93.2,
    "h124M": 123.6, "h151M": 151.9, "h210M": 208.5, "h360M": 359.8,
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_smollm2_sizes_have_exactly_the_published_parameters(name: str) -> None:
    assert preset(name).parameters == PUBLISHED[name]


@pytest.mark.parametrize("name", HAEGELE)
def test_haegele_sizes_have_the_parameters_their_names_tell(name: str) -> None:
    assert round(preset(name).parameters / 1e6, 1) == HAEGELE[name]
    assert preset(name).head_dim == 64


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_counts_what_the_network_has(name: str) -> None:
    with torch.device("meta"):
        model = Transformer(preset(name))
    assert sum(p.numel() for p in model.parameters()) == preset(name).parameters
    assert preset(name).parameters - preset(name).non_embedding_parameters == (
        model.embed.weight.numel()
    )


@settings(max_examples=20, deadline=None)
@given(
    layers=st.integers(1, 3),
    kv_heads=st.integers(1, 3),
    group=st.integers(1, 3),
    half=st.integers(1, 4),
    ffw=st.integers(1, 9),
    vocab=st.integers(1, 50),
    tied=st.booleans(),
)
def test_any_network_has_the_parameters_its_config_counts(
    layers: int, kv_heads: int, group: int, half: int, ffw: int, vocab: int, tied: bool
) -> None:
    heads = kv_heads * group
    config = ModelConfig(
        layers=layers, width=2 * half * heads, heads=heads, kv_heads=kv_heads, ffw=ffw,
        vocab=vocab, tied=tied,
    )  # fmt: skip
    with torch.device("meta"):
        model = Transformer(config)
    assert sum(p.numel() for p in model.parameters()) == config.parameters


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"width": 130}, "width=130 is no multiple of heads=4; try width=132"),
        ({"heads": 4, "kv_heads": 3}, "heads=4 is no multiple of kv_heads=3"),
        ({"width": 12}, "gives an odd head_dim=3"),
        ({"layers": 0}, "layers=0 of a model; it must be at least 1"),
        ({"rope_theta": 0.0}, "rope_theta=0.0 of a model; it must be positive"),
        ({"init_std": -1.0}, "init_std=-1.0"),
        ({"widht": 128}, "Extra inputs"),
    ],
)
def test_dimensions_that_do_not_go_together_are_refused(
    changes: dict[str, object], says: str
) -> None:
    with pytest.raises(ValidationError, match=says):
        preset("mini").changed(**changes)


def test_a_longer_context_only_changes_theta() -> None:
    longer = preset("135M").changed(rope_theta=100_000.0)
    assert longer.rope_theta == 100_000.0
    assert longer.changed(rope_theta=10_000.0) == preset("135M")


def test_a_size_that_has_no_name_is_refused_with_the_names_that_exist() -> None:
    with pytest.raises(BadInput, match="no model size is called '7B'; use one of 135M"):
        preset("7B")


def test_the_config_needs_no_torch() -> None:
    code = "import sys, ramify.model.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
