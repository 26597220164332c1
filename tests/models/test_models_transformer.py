"""The decoder: against the models of `transformers`, in every setting, and in published shapes."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from harness import huggingface
from harness.families import image, small, text
from harness.texts import CHECKS, T, V, language_model, telling, tokens
from torch.utils.checkpoint import checkpoint

from modelwright.core.config import validate
from modelwright.core.errors import InputError
from modelwright.models.network import build_network, meta_network
from modelwright.models.presets import PRESETS
from modelwright.models.transformer import TransformerConfig
from modelwright.nn.head import HeadConfig
from modelwright.nn.stem import stems

GPT2 = TransformerConfig(preset="gpt2-124m", width=32, depth=3, num_heads=4)
LLAMA = TransformerConfig(preset="llama-8b", width=32, depth=3, num_heads=4, num_kv_heads=2, rotary_base=100.0)
DECODER = small("transformer").replace(num_heads=4, rotary_base=50.0)
OPTIONS = {
    "none": DECODER.replace(positions="none"),
    "sinusoidal": DECODER.replace(positions="sinusoidal"),
    "learned": DECODER.replace(positions="learned"),
    "rotary": DECODER.replace(positions="rotary"),
    "alibi": DECODER.replace(positions="alibi"),
    "alibi-grouped": DECODER.replace(positions="alibi", num_kv_heads=2),
    "grouped": DECODER.replace(num_kv_heads=2),
    "multi-query": DECODER.replace(num_kv_heads=1),
    "qk-norm": DECODER.replace(qk_norm=True),
    "window": DECODER.replace(window=5),
    "window-alibi": DECODER.replace(window=4, positions="alibi"),
    "window-grouped-learned": DECODER.replace(window=3, num_kv_heads=2, positions="learned"),
    "window-beyond": DECODER.replace(window=100),
    "rms-swiglu": DECODER.replace(norm="rms", activation="swiglu", bias=False),
    "relu2": DECODER.replace(activation="relu2", bias=False),
    "experts": DECODER.replace(experts=4),
    "one-expert": DECODER.replace(experts=3, experts_per_token=1, activation="swiglu", expert_ratio=1.5),
    "gpt2": GPT2,
    "llama": LLAMA,
}


def logits(theirs, given: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return theirs(input_ids=given).logits


def test_logits_are_those_of_gpt2():
    network = language_model(GPT2).eval()
    huggingface.vary(network)
    theirs = huggingface.counterpart(network, GPT2, context=T)
    assert theirs.config.model_type == "gpt2"
    given = tokens()
    torch.testing.assert_close(network({"tokens": given}), logits(theirs, given), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("num_kv_heads", [1, 2, 4])
@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_logits_are_those_of_llama_and_mistral(tied: bool, window: int | None, num_kv_heads: int):
    config = LLAMA.replace(num_kv_heads=num_kv_heads, window=window)
    network = language_model(config, head=HeadConfig(tied=tied)).eval()
    huggingface.vary(network)
    theirs = huggingface.counterpart(network, config, context=T)
    assert theirs.config.model_type == ("llama" if window is None else "mistral")
    assert theirs.config.tie_word_embeddings is tied
    given = tokens()
    torch.testing.assert_close(network({"tokens": given}), logits(theirs, given), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("check", ["causal", "cache", "documents"])
@pytest.mark.parametrize("name", list(OPTIONS))
def test_every_option(name: str, check: str):
    if check == "causal" and name == "one-expert":
        pytest.skip("another token may be sent to the expert that it was sent to before, and change too little")
    CHECKS[check](OPTIONS[name])


@pytest.mark.parametrize("name", ["grouped", "rms-swiglu", "experts", "alibi", "window"])
def test_options_learn(name: str):
    CHECKS["overfits"](OPTIONS[name].replace(width=32))


@torch.no_grad()
@pytest.mark.parametrize("name", ["rotary", "sinusoidal", "alibi"])
def test_a_window_reads_on_beyond_the_context(name: str):
    """A ring buffer of 4 tokens, and three times as many tokens as the network was made for."""
    config, given = OPTIONS[name].replace(window=4), tokens(2, 3 * T)
    network = telling(config)
    longer = language_model(config, context=3 * T).eval()
    longer.load_state_dict(network.state_dict())
    cache = network.new_cache(2, 3 * T)
    assert {tensor.shape[2] for state in cache.layers for tensor in state} == {4}
    read = torch.cat([network({"tokens": part}, cache) for part in given.split((9, 1, 11, 3, 12), dim=1)], dim=1)
    torch.testing.assert_close(read, longer({"tokens": given}), atol=1e-5, rtol=1e-5)
    with pytest.raises(AssertionError, match="36 \\+ 1 tokens, and 36 at most"):
        network({"tokens": given[:, :1]}, cache)


@torch.no_grad()
def test_a_cache_may_keep_another_type():
    network = telling(OPTIONS["grouped"]).bfloat16()
    cache = network.new_cache(3, T)
    assert cache.layers[0][0].dtype == torch.float32
    given = tokens()
    read = torch.cat([network({"tokens": part}, cache) for part in given.split((5, 1, 6), dim=1)], dim=1)
    assert read.dtype == torch.bfloat16
    # bfloat16 has 8 bits of precision.
    torch.testing.assert_close(read, network({"tokens": given}), atol=0.15, rtol=0.1)


def test_learned_positions_end():
    network = language_model(OPTIONS["learned"])
    with pytest.raises(InputError, match="13 tokens are too many: the positions are learned, and there are 12 of them"):
        network.new_cache(1, T + 1)


def test_queries_and_keys_are_normed_on_a_text_unless_told_otherwise():
    def normed(schema, config: TransformerConfig) -> bool:
        return meta_network(schema, config, 3).backbone.blocks[0].attention.query_norm is not None

    plain = small("transformer")
    assert normed(text(V, T), plain)
    assert not normed(text(V, T), plain.replace(qk_norm=False))
    assert not normed(text(V, T), GPT2)
    assert not normed(image(1, 8, 8), plain)
    assert normed(image(1, 8, 8), plain.replace(qk_norm=True))


def test_an_encoder_can_not_read_on():
    network = build_network(image(1, 8, 8), small("transformer"), 3)
    with pytest.raises(InputError, match="a Transformer can't go on from what it has read"):
        network.backbone.new_cache(1, 4)


# Parameters of the whole model, as published: with the table of tokens once if it is tied.
PUBLISHED = {
    "gpt2-124m": (50257, 1024, True, 124_439_808),
    "gpt2-350m": (50257, 1024, True, 354_823_168),
    "gpt2-774m": (50257, 1024, True, 774_030_080),
    "gpt2-1.5b": (50257, 1024, True, 1_557_611_200),
    "llama-1.1b": (32000, 2048, False, 1_100_048_384),
    "llama-1.2b": (128256, 2048, True, 1_235_814_400),
    "llama-3.2b": (128256, 2048, True, 3_212_749_824),
    "llama-7b": (32000, 4096, False, 6_738_415_616),
    "llama-8b": (128256, 8192, False, 8_030_261_248),
    "llama-13b": (32000, 4096, False, 13_015_864_320),
    "llama-70b": (32000, 4096, False, 68_976_648_192),
}


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_published_shapes_have_as_many_parameters_as_published(name: str):
    vocabulary, context, tied, parameters = PUBLISHED[name]
    stem = stems["embedding"].model_validate({})
    network = meta_network(text(vocabulary, context), TransformerConfig(preset=name), vocabulary, stem=stem, head=HeadConfig(tied=tied))
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


@pytest.mark.parametrize("name", [name for name in PRESETS if name not in PUBLISHED])
def test_shapes_of_our_own_are_as_large_as_their_names_say(name: str):
    network = meta_network(text(256, 256), TransformerConfig(preset=name), 256, stem=stems["embedding"].model_validate({}))
    size = sum(parameter.numel() for parameter in network.backbone.parameters())
    assert size == pytest.approx(float(name.removeprefix("llama-").removesuffix("m")) * 1e6, rel=0.13)


@pytest.mark.parametrize(
    ("heads", "keys", "factor", "expected"),
    [
        (4, None, 2, (128, 8, None)),
        (4, None, 1.3, (80, 5, None)),
        (4, None, 0.25, (16, 1, None)),
        (4, None, 0.125, (8, 1, None)),
        (4, 2, 3, (192, 12, 6)),
        (4, 2, 0.5, (32, 2, 1)),
        (4, 1, 2, (128, 8, 1)),
        (4, 4, 0.1, (6, 1, 1)),
    ],
)
def test_wider_networks_have_more_heads_of_one_width(heads: int, keys: int | None, factor: float, expected: tuple):
    grown = TransformerConfig(width=64, num_heads=heads, num_kv_heads=keys).scaled(width=factor)
    assert (grown.width, grown.num_heads, grown.num_kv_heads) == expected


def test_a_preset_decides_what_is_not_set():
    config = validate(TransformerConfig, {"family": "transformer", "preset": "gpt2-124m", "depth": 2, "norm": "rms"})
    assert (config.width, config.num_heads, config.depth, config.norm, config.positions) == (768, 12, 2, "rms", "learned")
    assert validate(TransformerConfig, config.model_dump()) == config
    assert config.scaled(width=0.5).width == 384
    assert config.replace(dropout=0.1).depth == 2
    with pytest.raises(InputError, match=r"unknown preset 'gpt2-125m'; expected one of .*Did you mean gpt2-124m"):
        validate(TransformerConfig, {"preset": "gpt2-125m"})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_heads": 4, "num_kv_heads": 3}, "the 4 heads can't share 3 heads of keys and values"),
        ({"experts": 2, "experts_per_token": 3}, "a token can't be sent to 3 of 2 experts"),
        ({"window": 0}, "window: input should be greater than 0"),
        ({"activation": "swish"}, "activation"),
    ],
)
def test_settings_that_can_not_be(values: dict, message: str):
    with pytest.raises(InputError, match=message):
        validate(TransformerConfig, values)


def test_settings_that_do_not_fit_the_data():
    with pytest.raises(InputError, match="pools \\(mean\\), and the next token is told at every position"):
        language_model(small("transformer").replace(pool="mean"))
    with pytest.raises(InputError, match="a window looks back, and on these data the family transformer looks both ways"):
        build_network(image(1, 8, 8), small("transformer").replace(window=3), 3)
    with pytest.raises(InputError, match="a class token comes first"):
        build_network(image(1, 8, 8), small("transformer").replace(causal=True, pool="class"), 3)


def test_experts_tell_what_keeps_them_in_use():
    network = language_model(OPTIONS["experts"].replace(router_z_loss=0.0)).train()
    network({"tokens": tokens()})
    penalties = [module.penalty for module in network.modules() if getattr(module, "penalty", None) is not None]
    assert len(penalties) == OPTIONS["experts"].depth
    for penalty in penalties:
        assert 0.005 < penalty.item() < 0.04
        assert penalty.requires_grad
    network.eval()({"tokens": tokens()})
    assert all(getattr(module, "penalty", None) is None for module in network.modules())


def test_blocks_may_be_computed_twice_to_save_memory():
    network = language_model(OPTIONS["experts"]).train()
    given, gradients = {"tokens": tokens()}, []
    for saving in (False, True):
        if saving:
            for block in network.backbone.blocks:
                block.forward = partial(checkpoint, type(block).forward, block, use_reentrant=False)
        loss = network(given).square().mean() + sum(block.feedforward.penalty for block in network.backbone.blocks)
        gradients.append(torch.autograd.grad(loss, list(network.parameters())))
    for plain, saved in zip(*gradients, strict=True):
        torch.testing.assert_close(saved, plain)


def test_the_backbone_can_be_compiled_as_one():
    for name in ("rotary", "window-grouped-learned"):
        network = language_model(OPTIONS[name])
        compiled = torch.compile(network, backend="eager", fullgraph=True)
        for given in ({"tokens": tokens()}, {"tokens": tokens(), "documents": torch.arange(T).expand(3, T) // 5}):
            torch.testing.assert_close(compiled(given), network(given))
