"""The target `huggingface`: a folder that `transformers` loads by itself, tokenizer included."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from modelwright.core.errors import InputError, import_extra
from modelwright.data.tokenizer import Tokenizer
from modelwright.exporting.decoder import Decoder
from modelwright.exporting.instructions import beginning
from modelwright.exporting.layout import fitting_layout
from modelwright.exporting.portable import Arrays
from modelwright.exporting.program import quietly
from modelwright.exporting.subject import Subject
from modelwright.exporting.target import Runtime, Target, targets


@targets.register("huggingface")
class HuggingFaceTarget(Target):
    """`config.json`, `model.safetensors`, `generation_config.json`, `tokenizer.json` and `tokenizer_config.json`."""

    runtime = "Hugging Face transformers"
    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers", "tokenizers", "safetensors")

    def check(self, subject: Subject) -> None:
        """See that a layout of `transformers` holds the model.

        Raises:
            InputError: none does, or a package is missing.
        """
        fitting_layout(Decoder.of(subject))
        _library()

    def write(self, subject: Subject, folder: Path) -> None:
        """Write the folder."""
        decoder, library = Decoder.of(subject), _library()
        tokenizer = Tokenizer.from_json(subject.schema.text.tokenizer)
        special = {"bos_token_id": tokenizer.separator, "eos_token_id": tokenizer.separator, "pad_token_id": tokenizer.separator}
        with _quietly(library):
            model = fitting_layout(decoder).model(decoder, **special)
            model.generation_config = library.GenerationConfig(**special, do_sample=True, temperature=0.8, max_length=decoder.context)
            model.save_pretrained(folder)
            for file in folder.glob("*.safetensors"):
                file.chmod((folder / "config.json").stat().st_mode)
            separator = _spelling(tokenizer)
            library.PreTrainedTokenizerFast(
                tokenizer_file=str(folder / "tokenizer.json"),
                bos_token=separator,
                eos_token=separator,
                pad_token=separator,
                model_max_length=decoder.context,
                clean_up_tokenization_spaces=False,
            ).save_pretrained(folder)

    def load(self, subject: Subject, folder: Path) -> Runtime:
        """Read the folder by the Auto classes; the tokens of each text are compared too.

        Raises:
            InputError: the tokenizer makes other tokens of a text.
        """
        library = _library()
        with _quietly(library):
            model = library.AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype=torch.float32).eval()
            theirs = library.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        ours = Tokenizer.from_json(subject.schema.text.tokenizer)

        def run(inputs: Arrays) -> Arrays:
            for row in inputs["tokens"]:
                _check_tokens(ours, theirs, row)
            with torch.inference_mode():
                return {"logits": model(input_ids=torch.from_numpy(inputs["tokens"])).logits.numpy()}

        return run

    def note(self, subject: Subject) -> str:
        """Which layout it is."""
        layout = fitting_layout(Decoder.of(subject)).model_type
        return f"The layout is that of `{layout}`; what is called `tokens` below is `input_ids` here. Weights and settings are read, and nothing is executed."

    def front_matter(self, subject: Subject) -> str:
        """What a hub of models reads."""
        return "---\nlibrary_name: transformers\npipeline_tag: text-generation\ntags:\n- modelwright\n---"

    def usage(self, subject: Subject) -> list[str]:
        """Load model and tokenizer, and continue a text."""
        return [
            "from transformers import AutoModelForCausalLM, AutoTokenizer",
            'model, tokenizer = AutoModelForCausalLM.from_pretrained("."), AutoTokenizer.from_pretrained(".")',
            f'given = tokenizer({beginning(subject.schema)!r}, return_tensors="pt", return_token_type_ids=False)',
            "print(tokenizer.decode(model.generate(**given, max_new_tokens=20)[0]))",
        ]


def _spelling(tokenizer: Tokenizer) -> str:
    """How the separator of documents is spelled."""
    added = json.loads(tokenizer.to_json())["added_tokens"]
    return next(token["content"] for token in added if token["id"] == tokenizer.separator)


def _check_tokens(ours: Tokenizer, theirs: Any, row: np.ndarray) -> None:
    """See that a text is the same tokens in both tokenizers, and the tokens the same text.

    Raises:
        InputError: they differ.
    """
    text = ours.decode(row)
    if "\ufffd" in text:
        return  # the row begins or ends within a character
    if theirs.decode(row.tolist(), skip_special_tokens=True) != text:
        raise InputError("the exported tokenizer decodes a text to another one than the model's", remedy="Export to another target")
    if theirs.encode(text, add_special_tokens=False) != ours.encode(text).tolist():
        raise InputError("the exported tokenizer makes other tokens of a text than the model's", remedy="Export to another target")


@contextmanager
def _quietly(library: Any) -> Iterator[None]:
    """Within, the library draws no progress bars and gives no advice."""
    talk = library.utils.logging
    level, bars = talk.get_verbosity(), talk.is_progress_bar_enabled()
    try:
        talk.set_verbosity_error()
        talk.disable_progress_bar()
        with quietly():
            yield
    finally:
        talk.set_verbosity(level)
        if bars:
            talk.enable_progress_bar()


def _library() -> Any:
    """The library `transformers`.

    Raises:
        InputError: it is not installed.
    """
    return import_extra("transformers", "transformers", "huggingface")
