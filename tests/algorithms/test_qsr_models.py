"""Image classifiers of a user's folder or config. About 4 s on one core."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    ConvNextConfig,
    ConvNextForImageClassification,
    GPT2Config,
    ViTConfig,
    ViTForImageClassification,
)

from tenfold.algorithms.common import transformers_configs
from tenfold.algorithms.qsr.config import QSRConfig
from tenfold.algorithms.qsr.loop import QSRLoop
from tenfold.platform.configuration import build_config
from tenfold.platform.errors import InputError
from tenfold.platform.registry import get_method

VIT: dict[str, Any] = {
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "intermediate_size": 8,
    "patch_size": 4,
}
FEW: dict[str, Any] = {"steps": 2, "report_every": 2, "batch": 4, "workers_per_process": 2}


def build(model: Path, **fields: Any) -> QSRConfig:
    given = {**FEW, "model": str(model), **fields}
    config = build_config(get_method("qsr"), "digits", "qsr", given, seed=0)
    assert isinstance(config, QSRConfig)
    return config


def refusal(model: Path, **fields: Any) -> str:
    with pytest.raises(InputError) as refused:
        build(model, **fields)
    message = str(refused.value)
    assert "\n" not in message
    assert len(message) < 500
    return message


@pytest.mark.parametrize("whole", [True, False], ids=["a folder", "a file"])
def test_a_config_alone_is_an_untrained_model_for_the_data(whole: bool, tmp_path: Path) -> None:
    ConvNextConfig(hidden_sizes=[4, 8], depths=[1, 1], num_stages=2).save_pretrained(tmp_path)
    config = build(tmp_path if whole else tmp_path / "config.json", sizes={"depths": [2, 1]})
    loop = QSRLoop(config)
    assert isinstance(loop.workers.module, ConvNextForImageClassification)
    made = loop.workers.module.config
    assert (made.num_channels, made.num_labels, made.depths) == (1, 10, [2, 1])
    metrics = loop.advance()
    assert metrics["step"] == 2
    assert 0 < metrics["loss"] < 10
    loop.save(tmp_path)
    again = ConvNextForImageClassification.from_pretrained(tmp_path / "model")
    assert loop.task.judge(again.eval())["loss"] == pytest.approx(metrics["loss"], abs=1e-5)


def test_weights_are_kept_and_the_last_layer_is_new_for_other_classes(tmp_path: Path) -> None:
    torch.manual_seed(7)
    theirs = ViTForImageClassification(ViTConfig(num_channels=1, image_size=8, num_labels=3, **VIT))
    theirs.save_pretrained(tmp_path)
    made = QSRLoop(build(tmp_path)).task.model()
    kept, found = theirs.state_dict(), made.state_dict()
    assert found["classifier.weight"].shape == (10, 8)
    for name, tensor in kept.items():
        if not name.startswith("classifier"):
            assert torch.equal(found[name], tensor), name


def test_weights_for_other_images_are_refused(tmp_path: Path) -> None:
    ViTForImageClassification(ViTConfig(num_channels=3, image_size=8, **VIT)).save_pretrained(
        tmp_path / "rgb"
    )
    assert "for 'model': no image model comes of it" in refusal(tmp_path / "rgb")
    ViTForImageClassification(ViTConfig(num_channels=1, image_size=16, **VIT)).save_pretrained(
        tmp_path / "large"
    )
    assert "image size (8*8) doesn't match model (16*16)" in refusal(tmp_path / "large")
    # A size that the weights were not made for.
    lacking = refusal(tmp_path / "large", sizes={"hidden_size": 16})
    assert "'hidden_size': 16" in lacking
    assert "lack" in lacking


def test_a_model_of_timm_is_refused_where_timm_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformers_configs, "is_timm_available", lambda: False)
    said = refusal(Path("timm:resnet18"))
    assert said.startswith("Bad value 'timm:resnet18' for 'model': timm and torchvision are not")
    assert "'pip install timm'" in said


def test_what_is_no_image_classifier_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "for 'model': no config" in refusal(tmp_path / "empty")
    (tmp_path / "odd.json").write_text("[1, 2")
    assert "for 'model': no config" in refusal(tmp_path / "odd.json")
    GPT2Config(n_layer=1).save_pretrained(tmp_path / "text")
    assert "'digits' needs vit, resnet or another image classifier" in refusal(tmp_path / "text")
    code = tmp_path / "code"
    code.mkdir()
    remote = {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config"}}
    (code / "config.json").write_text(json.dumps(remote))
    (code / "mine.py").write_text("raise SystemExit('code of a folder ran')")
    assert "for 'model': no config" in refusal(code)
    pickled = tmp_path / "pickled"
    ViTConfig(**VIT).save_pretrained(pickled)
    (pickled / "pytorch_model.bin").write_bytes(b"")
    assert "'pytorch_model.bin' may hold code; give safetensors" in refusal(pickled)
    ViTConfig(**{**VIT, "num_hidden_layers": 10**6}).save_pretrained(tmp_path / "deep")
    assert "'num_hidden_layers', and at most 256" in refusal(tmp_path / "deep")
    ViTConfig(**VIT).save_pretrained(tmp_path / "vit")
    assert "'hiden_size'" in refusal(tmp_path / "vit", sizes={"hiden_size": 8})
