"""The bundle: what is damaged, of another version, or missing is refused in words; what is good comes back to the bit."""

import json

import pytest
import torch

from modelwright.core.errors import InputError
from modelwright.core.schema import Feature, Schema
from modelwright.data.config import DataConfig
from modelwright.models.cnn import CNNConfig
from modelwright.models.network import build_network, choose_stem
from modelwright.nn.head import HeadConfig
from modelwright.serving.bundle import BundleConfig, load_bundle, save_bundle
from modelwright.tasks.classification import ClassificationConfig

IMAGE = Feature(name="image", type="image", shape=(1, 8, 8), mean=(0.5,), scale=(0.5,))
SCHEMA = Schema(inputs=(IMAGE,), target=Feature(name="label", type="category", values=("a", "b", "c")))


@pytest.fixture
def bundle(tmp_path):
    family = CNNConfig(channels=(8, 8), blocks=1)
    network = build_network(SCHEMA, family, 3, seed=1).eval()
    config = BundleConfig(
        name="test",
        data=DataConfig(path="images"),
        data_schema=SCHEMA,
        task=ClassificationConfig(),
        stem=choose_stem(SCHEMA, family),
        model=family,
        head=HeadConfig.model_validate({}),
    )
    save_bundle(tmp_path / "model", config, network)
    return tmp_path / "model", network


def test_a_bundle_comes_back_to_the_bit(bundle):
    path, network = bundle
    images = torch.randn(4, 1, 8, 8)
    loaded = load_bundle(path)
    with torch.no_grad():
        assert torch.equal(loaded.network({"image": images}), network({"image": images}))
    assert load_bundle(path.parent).config == loaded.config


def test_loading_draws_nothing(bundle, monkeypatch):
    def draw(fill):
        raise AssertionError("a weight was drawn, only to be overwritten")

    monkeypatch.setattr("modelwright.nn.initialization.Fill._next", draw)
    path, network = bundle
    loaded = load_bundle(path).network.state_dict()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize(
    ("content", "expected"),
    [('{"format": 2, "new": 1}', "format 2"), ("{", "damaged"), ("[]", "damaged"), ('{"format": 1, "name": "x"}', "data")],
)
def test_a_wrong_description_is_told(bundle, content, expected):
    path, _ = bundle
    (path / "bundle.json").write_text(content)
    with pytest.raises(InputError, match=expected):
        load_bundle(path)


def test_changed_weights_are_noticed(bundle):
    path, _ = bundle
    description = json.loads((path / "bundle.json").read_text())
    name = next(iter(description["digests"]))
    description["digests"][name] = "0" * 32
    (path / "bundle.json").write_text(json.dumps(description))
    with pytest.raises(InputError, match="not what was written"):
        load_bundle(path)


def test_nothing_there(tmp_path):
    with pytest.raises(InputError, match="holds no bundle"):
        load_bundle(tmp_path)
