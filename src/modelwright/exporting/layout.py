"""The layout: a kind of decoder that `transformers` knows, which settings of ours it holds, and where our weights go in it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from modelwright.core.errors import InputError, import_extra
from modelwright.core.registry import Registry
from modelwright.exporting.decoder import Decoder, Weights

ACTIVATIONS = {"relu": "relu", "gelu": "gelu", "silu": "silu", "tanh": "tanh", "gelu_tanh": "gelu_pytorch_tanh", "relu2": "relu2"}
"""The nonlinearities without a gate, as `transformers` calls them."""


class Layout:
    """A model type of `transformers`; one registered under its name is all that a new layout needs."""

    model_type: ClassVar[str]
    """The name in `config.json`."""
    holds: ClassVar[Mapping[str, Collection[Any]]]
    """Which values of each of `Decoder.traits` it can hold."""

    def misfits(self, decoder: Decoder) -> list[str]:
        """The settings that stand against it, as `name: value`."""
        return [f"{name}: {getattr(decoder.config, name)}" for name, value in decoder.traits.items() if value not in self.holds[name]]

    def config(self, decoder: Decoder) -> dict[str, Any]:
        """The settings in `config.json`, under the names of `transformers`."""
        raise NotImplementedError

    def weights(self, decoder: Decoder) -> Weights:
        """All weights, under the names of `transformers`."""
        raise NotImplementedError

    def model(self, decoder: Decoder, **tokens: int) -> Any:
        """The model of `transformers` with the weights of `decoder`, in evaluation mode.

        Args:
            decoder: that fits.
            tokens: numbers of special tokens, such as `eos_token_id`.

        Raises:
            InputError: `transformers` is not installed.
        """
        library = import_extra("transformers", "transformers", "huggingface")
        settings = {"vocab_size": decoder.vocabulary, "tie_word_embeddings": decoder.tied, **self.config(decoder), **tokens}
        config = library.AutoConfig.for_model(self.model_type, **settings)
        model = library.AutoModelForCausalLM.from_config(config)
        model.load_state_dict(self.weights(decoder), strict=True)
        return model.eval()


layouts: Registry[type[Layout]] = Registry("layout", "modelwright.exporting.layouts")


def fitting_layout(decoder: Decoder) -> Layout:
    """The layout that holds a decoder.

    Raises:
        InputError: there is none; names the settings that the nearest ones don't hold.
    """
    tried = sorted(((layout(), layout().misfits(decoder)) for _, layout in layouts.items()), key=lambda pair: len(pair[1]))
    nearest, misfits = tried[0]
    if not misfits:
        return nearest
    near = [f"{layout.model_type} has no {', no '.join(lacks)}" for layout, lacks in tried if len(lacks) == len(misfits)]
    raise InputError(
        f"no layout of transformers holds these settings of the transformer: {'; '.join(near)}",
        remedy="Choose another --to (torch, onnx and safetensors hold every setting), or train with the setting preset: llama-1m or gpt2-124m",
    )
