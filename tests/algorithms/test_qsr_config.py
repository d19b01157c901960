"""Every config key of the training loops against every kind of wrong value; what may change.

About 8 s on one core, most of it imports of transformers.
"""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from tenfold.algorithms.mst.config import MSTConfig
from tenfold.algorithms.qsr.config import QSRConfig
from tenfold.algorithms.qsr.schedule import QuadraticSync
from tenfold.platform.configuration import build_config
from tenfold.platform.errors import InputError
from tenfold.platform.registry import get_method
from tenfold.platform.training import FIXED_FILE, TrainingConfig, TrainingTrial

VALUES: list[Any] = [
    "abc",
    "",
    "0.1",
    "3",
    True,
    None,
    math.nan,
    math.inf,
    -math.inf,
    10**400,
    -(10**400),
    1e308,
    2.5,
    -1,
    [],
    [1],
    ["abc", None],
    [[0, "abc"]],
    {},
    {"abc": 1},
]
OTHERS = {
    "model": "resnet",
    "sizes": {"hidden_size": 8},
    "tokenizer": "bpe:300",
    "rule": "swap",
    "optimizer": "sgd",
    "outer": "nesterov",
    "average_bits": 8,
    "average_rounding": "error_feedback",
    "sync": "quadratic",
}
"""Another value of each key that cannot change; 96 where none stands here."""
OPTIONAL = {
    "model": str,
    "min_workers": int,
    "image_size": int,
    "image_column": str,
    "label_column": str,
    "gpus_per_trial": float,
    "restoration_lr": float,
}
CONFIGS = {"mst": MSTConfig, "qsr": QSRConfig}
KEYS = [
    (name, key)
    for name, config in CONFIGS.items()
    for key in config.model_fields
    if key not in ("task", "seed")
]


def is_wrong(config: type[TrainingConfig], key: str, value: Any) -> bool:
    """Whether a value cannot be right for a key, whatever its bounds are."""
    if key in OPTIONAL and value is None:
        return False
    default = config.model_fields[key].default
    if type(value) is type(default) and value == default:
        return False
    kind = OPTIONAL.get(key, type(default))
    if isinstance(value, bool):
        return kind is not bool
    if kind is int:
        return not isinstance(value, int) or value < 0 or value > 2**63
    if kind is float:
        return not isinstance(value, int | float) or not 0 <= value < 1e100
    if kind is tuple:
        return not isinstance(value, list) or value != []
    return not isinstance(value, kind) or value in ("abc", "", "0.1", "3", {"abc": 1})


@pytest.mark.parametrize(("method", "key"), KEYS)
def test_a_wrong_value_is_one_sentence_with_its_key(method: str, key: str) -> None:
    # Texts need no data to be read here; what only images have is tried on them.
    task = "digits" if key in ("image_size", "label_noise", "sizes", "tokenizer") else "stdlib"
    task = task if method == "qsr" else "stdlib"
    for value in VALUES:
        try:
            config = build_config(get_method(method), task, method, {key: value}, seed=0)
        except InputError as refusal:
            said = str(refusal)
            assert f"'{key}" in said, said
            assert "\n" not in said
            assert len(said) < 500
            continue
        assert not is_wrong(CONFIGS[method], key, value), f"{key} = {value!r} was taken"
        # What is taken has a schedule.
        assert config.learning_rate(0) > 0
        rule = config.rule if method == "mst" else config.sync
        assert 1 <= rule.h(config.learning_rate(0), 0) <= config.steps


@pytest.mark.parametrize(
    ("model", "sizes", "said"),
    [
        ("vit", {"hidden_size": "8"}, ["'8'", "sizes.hidden_size", "a whole number from 1"]),
        ("vit", {"hidden_size": True}, ["True", "sizes.hidden_size"]),
        ("vit", {"hidden_size": 10**400}, ["sizes.hidden_size", "65536"]),
        ("vit", {"num_hidden_layers": 10**6}, ["1000000", "sizes.num_hidden_layers", "256"]),
        ("vit", {"hiden_size": 8}, ["'hiden_size'", "'hidden_size'"]),
        ("vit", {"num_channels": 3}, ["'num_channels'"]),
        ("vit", {"patch_size": 16}, ["'patch_size': 16", "no vit model"]),
        ("vit", {"hidden_act": "abc"}, ["'hidden_act': 'abc'", "no vit model"]),
        ("vit", {"hidden_dropout_prob": math.nan}, ["nan", "sizes.hidden_dropout_prob"]),
        ("resnet", {"depths": 3}, ["3", "sizes.depths", "a list"]),
        ("resnet", {"hidden_sizes": [8, "abc"]}, ["'abc'", "sizes.hidden_sizes"]),
        ("gpt2", {"n_embd": 3}, ["'n_embd': 3", "no gpt2 model"]),
    ],
)
def test_sizes_of_which_no_model_comes_are_refused(
    model: str, sizes: dict[str, Any], said: list[str]
) -> None:
    task = "stdlib" if model == "gpt2" else "digits"
    with pytest.raises(InputError) as refusal:
        build_config(get_method("qsr"), task, "qsr", {"model": model, "sizes": sizes}, seed=0)
    message = str(refusal.value)
    assert "\n" not in message
    for part in said:
        assert part in message, message


@pytest.mark.parametrize(
    ("task", "fields", "said"),
    [
        ("digits", {"flip": True}, "Bad value True for 'flip': a mirrored digit"),
        ("digits", {"randaugment": 2}, "Bad value 2 for 'randaugment': it is for pixels"),
        ("digits", {"model": "gpt2"}, "'gpt2' for 'model': 'digits' needs vit, resnet or"),
        ("drawings", {"model": "gpt2"}, "'gpt2' for 'model': 'drawings' needs vit, resnet or"),
        ("digits", {"model": "vti"}, "'vti' for 'model': give vit, resnet, gpt2, or the path"),
        ("drawings", {"label_column": "y"}, "'y' for 'label_column': it is for images in Parquet"),
        ("drawings", {"train_images": 60}, "each need 64, there are 60"),
        ("drawings", {"image_size": 25, "sizes": {"patch_size": 30}}, "no vit model comes of it"),
        ("digits", {"rule": "data_parallel", "outer": "nesterov"}, "'nesterov' for 'outer'"),
    ],
)
def test_what_does_not_go_together_is_refused(task: str, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as refusal:
        build_config(get_method("qsr"), task, "qsr", fields, seed=0)
    assert "\n" not in str(refusal.value)


def test_lists_stand_for_tuples_and_a_text_file_for_a_language_model(tmp_path: Path) -> None:
    given = {"betas": [0.8, 0.9], "sparsity": [[0, 0], [0.5, 0.5]]}
    config = build_config(get_method("mst"), "stdlib", "mst", given, seed=0)
    assert config.betas == (0.8, 0.9)
    assert config.sparsity == ((0, 0), (0.5, 0.5))
    (tmp_path / "mine.txt").write_text("some text " * 1_000)
    task = str(tmp_path / "mine.txt")
    assert build_config(get_method("qsr"), task, "qsr", {}, seed=0).architecture == "gpt2"


def test_powers_beyond_all_numbers_ask_for_the_longest_round() -> None:
    assert QuadraticSync(50, 1e6, 1, 100.0, 0, 1.0).h(1e-6, 20) == 30


class Small(TrainingTrial):
    """A trial whose loop is never made."""

    def __init__(self, config: TrainingConfig, folder: Path) -> None:
        self.settings = config
        self.folder = folder
        self._loop = self._train_workers = None

    @property
    def logdir(self) -> str:
        return str(self.folder)


@pytest.mark.parametrize("name", CONFIGS)
def test_what_a_checkpoint_depends_on_cannot_change_in_mid_run(name: str, tmp_path: Path) -> None:
    config = CONFIGS[name](workers=1)
    assert config.fixed <= CONFIGS[name].model_fields.keys()
    saved = tmp_path / "saved"
    saved.mkdir()
    values = json.loads(json.dumps(config.to_dict()))
    (saved / FIXED_FILE).write_text(json.dumps({key: values[key] for key in config.fixed}))
    Small(config, tmp_path).load_checkpoint(str(saved))
    free = config.model_copy(update={"lr": 0.1, "steps": 7, "alpha": 1.0, "base": 1})
    Small(free, tmp_path).load_checkpoint(str(saved))
    for key in sorted(config.fixed):
        other = OTHERS.get(key, 96)
        changed = config.model_copy(update={key: other})
        with pytest.raises(ValueError, match=r"cannot change in mid-run\.$") as refusal:
            Small(changed, tmp_path).load_checkpoint(str(saved))
        assert str(refusal.value).startswith(f"Bad value {other!r} for '{key}': the checkpoint has")
