"""`generate`: a language model's run at work from the command line, and what it refuses."""

import io
import json

import pytest

from modelwright.core.schema import Feature, Schema
from modelwright.data.config import DataConfig
from modelwright.models.family import families
from modelwright.models.network import build_network, choose_stem
from modelwright.nn.head import HeadConfig
from modelwright.serving.bundle import BundleConfig, save_bundle
from modelwright.serving.generation import Generator

CONTEXT = 24


@pytest.fixture(scope="session")
def language_run(tmp_path_factory):
    """A bundle of an untrained network that continues texts in bytes."""
    pytest.importorskip("tokenizers")
    from modelwright.data.tokenizers.bytes import BytesConfig
    from modelwright.tasks.next_token import NextTokenConfig

    tokenizer = BytesConfig().train([])
    text = Feature(name="text", type="text", shape=(CONTEXT,), vocabulary=tokenizer.size, tokenizer=tokenizer.to_json())
    schema = Schema(inputs=(text,), target=Feature(name="next token", type="text", shape=(CONTEXT,), vocabulary=tokenizer.size))
    family = families["transformer"].model_validate({"depth": 1, "width": 16})
    head = HeadConfig.model_validate({})
    config = BundleConfig(
        name="test",
        data=DataConfig(path="texts"),
        data_schema=schema,
        task=NextTokenConfig(),
        stem=choose_stem(schema, family),
        model=family,
        head=head,
    )
    path = tmp_path_factory.mktemp("language") / "run"
    save_bundle(path / "model", config, build_network(schema, family, tokenizer.size, head=head))
    return path


def test_json_tells_texts_tokens_and_speed(command, language_run):
    arguments = ("generate", language_run, "--prompt", "To be", "--prompt", "Or", "--samples", 2, "--max-tokens", 30, "--seed", 3, "--json")
    code, out, _ = command(*arguments)
    assert code == 0
    answer = json.loads(out)
    rows = answer["generations"]
    assert [row["prompt"] for row in rows] == ["To be", "To be", "Or", "Or"]
    assert {row["finish_reason"] for row in rows} <= {"length", "end"}
    assert all(len(row["tokens"]) <= 30 and isinstance(row["text"], str) for row in rows)
    assert rows[0]["tokens"] != rows[1]["tokens"]
    assert answer["tokens_per_second"] > 0
    again = json.loads(command(*arguments)[1])["generations"]
    assert again == rows
    assert json.loads(command(*arguments[:-2], 4, "--json")[1])["generations"] != rows


def test_prompts_are_written_as_a_corpus_is(command, language_run):
    arguments = ("--max-tokens", 4, "--json")
    first, second = (json.loads(command("generate", language_run, "--prompt", text, *arguments)[1]) for text in ("a\r\ne\u0301", "a\n\xe9"))
    assert first["generations"] == second["generations"]


def test_a_single_text_is_shown_as_it_is_made(command, language_run):
    options = ("--prompt", "[bold]To be", "--max-tokens", 20, "--temperature", 0.5)
    code, shown, _ = command("generate", language_run, *options)
    assert code == 0
    row = json.loads(command("generate", language_run, *options, "--json")[1])["generations"][0]
    assert shown.startswith(row["prompt"] + row["text"] + "\n")
    assert "tokens in" in shown
    assert command("generate", language_run, *options, "--quiet")[1] == row["prompt"] + row["text"] + "\n"


def test_every_option_reaches_the_model(command, language_run):
    options = ["--top-k", 5, "--top-p", 0.9, "--min-p", 0.01, "--repetition-penalty", 1.2, "--stop", "-x", "--stop", "e", "--max-tokens", 9]
    code, out, _ = command("generate", language_run, *options, "--json", "--precision", "bfloat16")
    assert code == 0
    assert "e" not in json.loads(out)["generations"][0]["text"]
    code, out, _ = command("generate", language_run, "--prompt", "a", "--beams", 3, "--length-penalty", 0.5, "--max-tokens", 9, "--json")
    assert code == 0
    first = json.loads(out)["generations"][0]
    assert (
        first
        == json.loads(
            command("generate", language_run, "--prompt", "a", "--beams", 3, "--length-penalty", 0.5, "--max-tokens", 9, "--json")[1]
        )["generations"][0]
    )


def test_sampling_options_reach_the_generator(command, language_run, monkeypatch):
    seen = []
    generate = Generator.generate
    monkeypatch.setattr(
        Generator, "generate", lambda self, prompts, config, **more: seen.append(config) or generate(self, prompts, config, **more)
    )
    options = {"top_k": 5, "top_p": 0.9, "min_p": 0.01, "repetition_penalty": 1.2, "temperature": 0.7, "seed": 3, "max_tokens": 4}
    flags = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", value)]
    assert command("generate", language_run, *flags, "--prompt", "a", "--prompt", "b", "--json")[0] == 0
    assert {name: getattr(seen[0], name) for name in options} == options


def test_a_prompt_that_is_too_long_is_refused_before_anything_is_shown(command, language_run):
    code, out, error = command("generate", language_run, "--prompt", "be " * 500)
    assert (code, out) == (2, "")
    assert "reads" in error


def test_prompts_from_a_file_and_from_standard_input(command, language_run, tmp_path, monkeypatch):
    file = tmp_path / "prompt.txt"
    file.write_text("To be,\nor\n")
    from_file = json.loads(command("generate", language_run, "--prompt-file", file, "--json")[1])["generations"]
    assert from_file[0]["prompt"] == "To be,\nor"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(file.read_bytes())))
    assert json.loads(command("generate", language_run, "--prompt-file", "-", "--json")[1])["generations"] == from_file


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--prompt", "x" * (CONTEXT + 1)], "the prompt has 25 tokens, and the network reads 24 at once"),
        (["--temperature", "-1"], "temperature"),
        (["--beams", "2", "--top-k", "3"], "beam search samples nothing"),
        (["--samples", "0"], "0 samples"),
        (["--precision", "int7"], "unknown precision 'int7'"),
        (["--prompt-file", "nowhere.txt"], "nowhere.txt"),
        (["--prompt-file", "{binary}"], "is no UTF-8 text"),
    ],
)
def test_wrong_input(command, language_run, tmp_path, options, expected):
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    code, _, err = command("generate", language_run, *(option.format(binary=tmp_path / "binary") for option in options))
    assert code == 2
    assert expected in err


def test_a_run_that_is_no_language_model(command, run):
    code, _, err = command("generate", run, "--prompt", "a")
    assert code == 2
    assert "continues no text" in err
    assert "modelwright predict" in err


def test_an_interrupted_text_ends_its_line(command, language_run, monkeypatch):
    from modelwright.serving.generation import Generator

    def follow(self, prompt, config, show):
        show(" or")
        raise KeyboardInterrupt

    monkeypatch.setattr(Generator, "follow", follow)
    code, out, err = command("generate", language_run, "--prompt", "To be")
    assert (code, out) == (130, "To be or\n")
    assert "Interrupted" in err


def test_it_is_a_function_too(language_run):
    import modelwright as mw

    result = mw.generate(language_run, ["To be"], settings={"max_tokens": 5, "temperature": 0})
    assert len(result.generations) == 1
    assert result.to_json()["generations"][0]["prompt"] == "To be"
