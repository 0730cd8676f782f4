"""Sampling: the cache changes nothing, seeds decide, options cut what they say."""

import pytest
import torch

from ramify.ground.errors import BadInput
from ramify.model.config import ModelConfig
from ramify.model.network import Transformer
from ramify.model.sample import choose, complete

TINY = ModelConfig(layers=2, width=32, heads=4, kv_heads=2, ffw=40, vocab=37)


@pytest.fixture(scope="module")
def model() -> Transformer:
    model = Transformer(TINY)
    model.init_weights(0)
    return model


def test_greedy_with_the_cache_is_greedy_without(model: Transformer) -> None:
    ids = [3, 1, 4, 1, 5]
    with torch.no_grad():
        for _ in range(20):
            logits = model(torch.tensor([ids]))[0, -1] @ model.head_weight.t()
            ids.append(int(logits.argmax()))
    assert complete(model, ids[:5], max_new_tokens=20, temperature=0) == ids[5:]


def test_equal_seeds_draw_equal_texts_and_others_do_not(model: Transformer) -> None:
    texts = [complete(model, [1], max_new_tokens=24, seed=seed) for seed in (7, 7, 8)]
    assert texts[0] == texts[1] != texts[2]
    assert len(texts[0]) == 24


def test_a_stop_id_ends_the_text_and_is_not_part_of_it(model: Transformer) -> None:
    whole = complete(model, [1], max_new_tokens=24, seed=7)
    stop = whole[10]
    assert (
        complete(model, [1], max_new_tokens=24, seed=7, stop_ids={stop})
        == (whole[: whole.index(stop)])
    )


@pytest.mark.filterwarnings("ignore:::torch")  # its compiler warns of itself
def test_compiled_blocks_complete_as_eager_ones(model: Transformer) -> None:
    compiled = Transformer(TINY)
    compiled.init_weights(0)
    compiled.compile_blocks()
    eager = complete(model, [1, 2], max_new_tokens=8, temperature=0)
    assert complete(compiled, [1, 2], max_new_tokens=8, temperature=0) == eager


def drawn(top_k: int | None, top_p: float | None, temperature: float = 1.0) -> set[int]:
    logits = torch.tensor([0.1, 0.4, 0.2, 0.3]).log()
    generator = torch.Generator().manual_seed(0)
    return {choose(logits, temperature, top_k, top_p, generator) for _ in range(200)}


def test_top_k_and_top_p_keep_the_likeliest() -> None:
    assert drawn(None, None) == {0, 1, 2, 3}
    assert drawn(2, None) == {1, 3}
    assert drawn(None, 0.65) == {1, 3}
    assert drawn(None, 0.75) == {1, 2, 3}
    assert drawn(None, 0.01) == {1}
    assert drawn(3, 0.5) == {1, 3}
    assert drawn(None, None, temperature=0.01) == {1}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"prompt_ids": []}, "an empty prompt"),
        ({"prompt_ids": [37]}, "token 37 of the prompt is not in the vocabulary of 37"),
        ({"max_new_tokens": 0}, "max_new_tokens=0"),
        ({"temperature": -1.0}, "temperature=-1.0"),
        ({"top_k": 0}, "top_k=0"),
        ({"top_p": 0.0}, "top_p=0.0"),
    ],
)
def test_options_out_of_range_are_refused(
    model: Transformer, changes: dict[str, object], says: str
) -> None:
    asked: dict[str, object] = {"prompt_ids": [1], "max_new_tokens": 4}
    with pytest.raises(BadInput, match=says):
        complete(model, **(asked | changes))  # type: ignore[arg-type]
