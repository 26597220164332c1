"""Next-token prediction: at every position of a text, which token comes next.

Legend: B batch, T time, V vocabulary, D width.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field
from torch import Tensor

from modelwright.core.batch import IGNORED
from modelwright.core.schema import Feature, Schema
from modelwright.data.tokenizer import Tokenizer
from modelwright.metrics.language import LanguageMeter
from modelwright.metrics.meter import Meter
from modelwright.tasks.projected_loss import cross_entropy, projected_cross_entropy
from modelwright.tasks.task import Prediction, Task, TaskConfig, tasks

SMALL_VOCABULARY = 512
"""Up to this size, a plain cross-entropy on all scores was measured to be as fast as the one in chunks, or faster."""


@tasks.register("next_token")
class NextTokenConfig(TaskConfig):
    """Which token comes next; one output a token of the vocabulary, at every position."""

    preference: ClassVar[int] = 10

    name: Literal["next_token"] = "next_token"  # pyright: ignore[reportIncompatibleVariableOverride]
    z_loss: float = Field(0.0, ge=0)
    """Coefficient of the squared log of the softmax's denominator, which keeps scores near 0 (Chowdhery et al. 2022, PaLM); 1e-4 there."""

    @classmethod
    def learns(cls, target: Feature) -> bool:
        """The next tokens of texts."""
        return target.type == "text"

    def build(self, schema: Schema) -> NextToken:
        """The task for the vocabulary of `schema`; bytes are counted where its tokenizer loses nothing."""
        tokenizer = schema.text.tokenizer
        return NextToken(schema.target.vocabulary, Tokenizer.from_json(tokenizer).byte_lengths() if tokenizer else None, self.z_loss)


class NextToken(Task):
    """Softmax over the V tokens at every position; only targets that are not `IGNORED` are scored.

    Args:
        vocabulary: V.
        byte_lengths: (V,) UTF-8 bytes of each token, for a score that is comparable across tokenizers; None where the tokenizer loses some.
        z_loss: coefficient of the squared log of the softmax's denominator, in training.
    """

    higher_is_better = False

    def __init__(self, vocabulary: int, byte_lengths: np.ndarray | None = None, z_loss: float = 0.0) -> None:
        self.outputs, self.z_loss, self._byte_lengths = vocabulary, z_loss, byte_lengths
        self.primary = "loss" if byte_lengths is None else "bits_per_byte"

    def loss(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The summed cross-entropy of `output` (B, T, V) at the scored of the targets (B, T), and their number."""
        return cross_entropy(output.flatten(0, 1), target.flatten(), self.z_loss), (target != IGNORED).sum()

    def objective(self, network: Any, inputs: dict[str, Tensor], target: Tensor) -> tuple[Tensor, Tensor]:
        """The same of what a network makes of `inputs`, without holding the scores of all positions where the vocabulary is large.

        Args:
            network: called as it is, or by its `hidden`, `output_weight`, `output_bias` and `softcap`.
            inputs: of a batch, by name.
            target: (B, T).
        """
        if self.outputs <= SMALL_VOCABULARY:
            return self.loss(network(inputs), target)
        hidden_NE = network.hidden(inputs).flatten(0, 1)
        total = projected_cross_entropy(
            hidden_NE, network.output_weight(), target.flatten(), bias=network.output_bias, softcap=network.softcap, z_loss=self.z_loss
        )
        return total, (target != IGNORED).sum()

    def meter(self, replicates: int = 0, seed: int = 0) -> Meter:
        """A meter of loss, perplexity, bits a byte and accuracy."""
        return LanguageMeter(self._byte_lengths, replicates=replicates, seed=seed)

    def predict(self, output: Tensor) -> Prediction:
        """The likeliest token after the last position of each row of `output` (B, T, V)."""
        return Prediction(output[:, -1].argmax(-1))
