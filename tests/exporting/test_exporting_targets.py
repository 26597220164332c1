"""Every family in every target: written, read back in its runtime, the same for any batch and length. `benchmarks/export.py` tries all cells."""

import json
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from harness.exports import CONTEXT, Some, schemas, subject
from harness.families import small
from safetensors import safe_open

from modelwright.core.errors import InputError
from modelwright.exporting.export import export
from modelwright.exporting.target import Target, targets
from modelwright.models.family import families
from modelwright.models.transformer import TransformerConfig
from modelwright.nn.head import HeadConfig

CELLS = {
    "cnn": (small("cnn"), "image"),
    "gru": (small("gru"), "text"),
    "hybrid": (small("hybrid").replace(pattern=("convolution", "lstm", "attention", "gru"), depth=4), "image"),
    "linear": (small("linear"), "table"),
    "lstm": (small("lstm"), "text"),
    "mlp": (small("mlp"), "number"),
    "rnn": (small("rnn").replace(bidirectional=True), "table"),
    "transformer": (small("transformer").replace(experts=3, window=3, depth=1), "text"),
}
"""Both directions of each kind of recurrence are among them: where nothing is causal the layers of the hybrid read from both ends."""
HARD = {
    "bidirectional": (small("lstm").replace(bidirectional=True), "image"),
    "class token": (small("transformer").replace(pool="class"), "image"),
    "residual": (small("cnn").replace(residual=True, norm="group"), "image"),
    "window": (small("transformer").replace(window=3, num_kv_heads=1), "text"),
    "alibi": (small("transformer").replace(positions="alibi", window=3), "text"),
    "experts": (small("transformer").replace(experts=4), "text"),
    "hybrid": (small("hybrid").replace(positions="rotary"), "text"),
    "encoder": (small("transformer"), "table"),
}


def proved(made, target: str, folder: Path) -> dict:
    """Export, see that the record tells of a proof, and give the record."""
    done = export(made, target, Some(made.schema), folder)
    record = json.loads((folder / "export.json").read_text())
    assert record == json.loads(json.dumps(done.record))
    comparison = record["comparison"]
    assert comparison["examples"] == 9
    assert comparison["agreement"] == 1
    assert 0 <= comparison["differences"][record["outputs"][0]["name"]] < 1e-5
    assert comparison["original"] == pytest.approx(comparison["exported"], rel=1e-5)
    assert comparison["batch_sizes"] == [1, 2, 6]
    assert comparison["lengths"] == ([1, CONTEXT // 2, CONTEXT] if made.schema.causal else [])
    assert {"README.md", *([] if not made.schema.causal else ["tokenizer.json"])} < set(record["files"])
    assert {file.name for file in folder.iterdir()} == {"export.json", *record["files"]}
    return record


def test_every_family_has_a_cell():
    assert set(CELLS) == set(families)


@pytest.mark.parametrize("family", list(CELLS))
def test_every_family_to_torch(family: str, tmp_path: Path):
    proved(subject(*CELLS[family]), "torch", tmp_path / "out")


def test_a_program_needs_no_unpickling(tmp_path: Path):
    proved(subject("lstm", "text"), "torch", tmp_path / "out")
    with zipfile.ZipFile(tmp_path / "out" / "model.pt2") as archive:
        configs = [json.loads(archive.read(name)) for name in archive.namelist() if name.endswith("_config.json")]
    payloads = [payload for config in configs for payload in config["config"].values()]
    assert len(payloads) > 5
    assert not any(payload["use_pickle"] for payload in payloads)


@pytest.mark.parametrize("name", list(HARD))
def test_what_is_hard_to_trace_to_torch(name: str, tmp_path: Path):
    proved(subject(*HARD[name]), "torch", tmp_path / "out")


@pytest.mark.parametrize("family", list(CELLS))
def test_every_family_to_onnx(family: str, tmp_path: Path):
    made = subject(*CELLS[family])
    record = proved(made, "onnx", tmp_path / "out")
    model = onnx.load(tmp_path / "out" / "model.onnx")
    props = {prop.key: json.loads(prop.value) for prop in model.metadata_props}
    assert props["comparison"] == record["comparison"]
    assert props["inputs"] == record["inputs"]
    assert props["outputs"] == record["outputs"]
    for given, described in zip(model.graph.input, record["inputs"], strict=True):
        assert given.name == described["name"]
        sizes = [size.dim_param or size.dim_value for size in given.type.tensor_type.shape.dim]
        assert sizes == described["shape"]
    operators = {node.op_type for node in model.graph.node}
    if family in ("rnn", "gru", "lstm"):
        assert family.upper() in operators, "a layer is one operator"
        layers = [node for node in model.graph.node if node.op_type == family.upper()]
        weights = {tensor.name for tensor in model.graph.initializer}
        assert all({*layer.input[1:4]} <= weights for layer in layers), "its weights are in ONNX's order already"


@pytest.mark.parametrize("family", list(CELLS))
def test_every_family_to_safetensors(family: str, tmp_path: Path):
    made = subject(*CELLS[family])
    proved(made, "safetensors", tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    with safe_open(tmp_path / "out" / "model.safetensors", "pt") as file:
        assert file.metadata()["family"] == family
        assert {name: list(file.get_tensor(name).shape) for name in file.keys()} == {  # noqa: SIM118
            name: tensor["shape"] for name, tensor in config["tensors"].items()
        }
    assert "tokenizer" not in json.dumps(config) or '"tokenizer": ""' in json.dumps(config)


DECODERS = {
    "default": (TransformerConfig(width=32), HeadConfig(), "persimmon"),
    "llama": (TransformerConfig(preset="llama-1m", width=32, num_heads=4, depth=2), HeadConfig(), "llama"),
    "gpt2": (TransformerConfig(preset="gpt2-124m", width=32, num_heads=4, depth=2), HeadConfig(tied=False), "gpt2"),
    "scaled": (small("transformer"), HeadConfig(scale=0.25), "persimmon"),
    "experts": (
        TransformerConfig(preset="llama-1m", width=32, num_heads=4, depth=2, experts=4, qk_norm=True, window=5),
        HeadConfig(),
        "qwen3_moe",
    ),
}


@pytest.mark.parametrize("name", list(DECODERS))
def test_decoders_to_huggingface(name: str, tmp_path: Path):
    transformers = pytest.importorskip("transformers")
    config, head, layout = DECODERS[name]
    made = subject(config, "text", head=head)
    proved(made, "huggingface", tmp_path / "out")
    assert json.loads((tmp_path / "out" / "config.json").read_text())["model_type"] == layout
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    given = tokenizer("abc hij\nk", return_tensors="pt", return_token_type_ids=False)
    assert tokenizer.decode(given["input_ids"][0]) == "abc hij\nk"
    assert tokenizer.decode([tokenizer.eos_token_id]) == "<|endoftext|>"
    with torch.no_grad():
        torch.testing.assert_close(model(given["input_ids"]).logits, made.network({"tokens": given["input_ids"]}), atol=1e-5, rtol=1e-5)
    written = model.generate(**given, max_new_tokens=3, do_sample=False)
    assert written.shape == (1, 12) or written[0, -1] == tokenizer.eos_token_id


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: subject("lstm", "text"), "transformers has no layout for the family lstm.*torch, onnx and safetensors"),
        (lambda: subject("transformer", "image"), "predicts target, and .* continue texts.*torch, onnx and safetensors"),
        (lambda: subject(small("transformer").replace(positions="alibi"), "text"), "persimmon has no positions: alibi"),
        (lambda: subject(small("transformer").replace(window=3), "text"), "persimmon has no window: 3"),
        (lambda: subject("transformer", "text", head=HeadConfig(softcap=3.0)), "no layout of transformers holds the setting head.softcap"),
        (lambda: subject("transformer", "text", head=HeadConfig(bias=True)), "head.bias"),
    ],
)
def test_what_no_layout_holds_is_refused_with_the_reason(made, message: str, tmp_path: Path):
    made = made()
    with pytest.raises(InputError, match=message):
        export(made, "huggingface", Some(made.schema), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    made = subject("transformer", "text")
    for target, package in (("onnx", "onnxruntime"), ("huggingface", "transformers")):
        with monkeypatch.context() as context:
            context.setitem(sys.modules, package, None)
            with pytest.raises(InputError, match=f"needs the package {package}.*modelwright"):
                export(made, target, Some(made.schema), tmp_path / "out")


class Broken(Target):
    """A target whose runtime gives something else."""

    runtime = "nothing"

    def __init__(self, change) -> None:
        self.change = change

    def write(self, made, folder):
        """Write a file."""
        (folder / "model").write_text("weights")

    def load(self, made, folder):
        """Run the original, and change what it gives."""
        return lambda arrays: {
            "logits": self.change(made.network({"image": (torch.from_numpy(arrays["image"]) / 255 - 0.5) / 0.3}).numpy())
        }

    def usage(self, made):
        """Nothing."""
        return []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda logits: logits + 0.01, "refused: its logits differ from the model's by 0.01"),
        (lambda logits: logits * np.nan, "differ from the model's by inf"),
        (lambda logits: logits[:, :2], r"gives logits of shape \(1, 2\); expected \(1, 3\)"),
    ],
)
def test_what_differs_is_refused_and_leaves_nothing(change, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    made = subject("cnn", "image")
    monkeypatch.setitem(targets._parts, "broken", lambda: Broken(change))
    for folder in (tmp_path / "out", tmp_path / "exports" / "out"):
        with pytest.raises(InputError, match=message):
            export(made, "broken", Some(made.schema), folder)
        assert list(tmp_path.iterdir()) == []
    monkeypatch.setitem(targets._parts, "broken", lambda: Broken(lambda logits: logits + 1e-6))
    assert export(made, "broken", Some(made.schema), tmp_path / "out").comparison.difference < 2e-6


def test_a_higher_tolerance_lets_more_pass(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    made = subject("cnn", "image")
    monkeypatch.setitem(targets._parts, "broken", lambda: Broken(lambda logits: logits + 0.01))
    done = export(made, "broken", Some(made.schema), tmp_path / "out", tolerance=0.1)
    assert done.comparison.difference == pytest.approx(0.01, rel=1e-3)
    assert done.comparison.tolerance == 0.1


def test_what_can_not_be_traced_says_which_target_works(tmp_path: Path):
    class Data(torch.nn.Module):
        def forward(self, features):
            return features if features.x.sum() > 0 else features._replace(x=-features.x)

    made = subject("linear", "image")
    made.network.backbone = Data()
    with pytest.raises(InputError, match=r"can't be traced.*Choose another --to, such as safetensors"):
        export(replace(made), "torch", Some(made.schema), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_there_is_an_example_to_compare_on(tmp_path: Path):
    made = subject("cnn", "image")
    with pytest.raises(InputError, match="no example to compare on"):
        export(made, "safetensors", Some(schemas()["image"], 0), tmp_path / "out")
