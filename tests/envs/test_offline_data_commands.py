"""`tenfold collect` and `tenfold dataset` as a user types them; some six seconds."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, invoke

from tenfold.envs.offline.dataset import OfflineDataset
from tenfold.platform.errors import InputError


def test_a_collected_folder_is_a_data_set_and_its_card_is_shown(tmp_path: Path) -> None:
    folder = tmp_path / "my_data"
    told = invoke("collect", "mpe/spread", "--level", "expert", "--steps", 500, "--out", folder)
    assert told.exit_code == 0, told.output
    found = OfflineDataset.read(folder)
    assert len(found) == 500
    assert f"score {found.card.returns.mean:.4g}" in told.output
    assert f"tenfold run dom2 --task {folder}" in told.output
    shown = invoke("dataset", "show", folder, "--json")
    assert json.loads(shown.stdout) == found.card.model_dump()
    assert found.card.anchors is not None
    assert found.card.normalised(found.card.anchors.expert) == 100.0


def test_the_environment_is_told_what_it_is_set_to(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    settings = "--set", "physics_order=mpe2", "--set", "max_speed=[0.5, 0.6]"
    invoke("collect", "mpe/tag", "--steps", 100, "--out", folder, *settings)
    card = OfflineDataset.read(folder).card
    assert card.physics_order == "mpe2"
    assert card.parameters == {"physics_order": "mpe2", "max_speed": [0.5, 0.6]}


def test_what_the_readme_shows_runs_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recording, and one's own data; the conversions need other people's files."""
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "envs" / "offline" / "README.md").read_text()
    record, show, run = re.findall(r"^tenfold (.+)$", text, re.MULTILINE)[:3]
    for command in (record, show):
        assert invoke(*command.split()).exit_code == 0
    assert run == "run dom2 --task my_data"
    assert OfflineDataset.read("my_data").card.level == "medium-replay"
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    Path("my_data").rename("recorded")
    exec(block, {})
    assert OfflineDataset.read("my_data").card.episodes == 8
    readme = (ROOT / "envs" / "mpe" / "README.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    names: dict[str, Any] = {}
    exec(block, names)
    assert names["rewards"].shape == (64, 3)
    assert list(names["seen"]) == ["adversary_0", "adversary_1", "adversary_2"]


def test_omars_folder_is_converted(tmp_path: Path) -> None:
    source = tmp_path / "seed_0_data"
    source.mkdir()
    rng = np.random.default_rng(0)
    for j in range(3):
        np.save(source / f"obs_{j}.npy", rng.normal(size=(50, 18)))
        np.save(source / f"next_obs_{j}.npy", rng.normal(size=(50, 18)))
        np.save(source / f"acs_{j}.npy", rng.uniform(-1, 1, (50, 2)))
        np.save(source / f"rews_{j}.npy", rng.normal(size=50))
    words = "dataset", "convert", source, "--from", "omar", "--environment", "mpe/spread"
    told = invoke(*words, "--level", "medium", "--out", tmp_path / "converted")
    assert told.exit_code == 0, told.output
    card = OfflineDataset.read(tmp_path / "converted").card
    assert (card.episodes, card.physics_order, card.reward, card.level) == (
        2,
        "legacy",
        "omar",
        "medium",
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["collect", "mpe/spred"], "Unknown environment 'mpe/spred': did you mean 'mpe/spread'?"),
        (["collect", "mpe/tag", "--level", "good"], "Unknown level of mpe/tag 'good'"),
        (["collect", "mpe/tag", "--steps", "24"], "an episode of mpe/tag has 25"),
        (
            ["collect", "mpe/tag", "--level", "medium-expert", "--steps", "50"],
            "a mixture needs ten episodes, 250 steps",
        ),
        (["collect", "mpe/tag", "--set", "unavailable=2"], "only six_landmarks"),
        (["collect", "mpe/tag", "--set", "speed"], "write key=value"),
        (["dataset", "convert", "nowhere", "--from", "omar"], "give --environment"),
        (
            ["dataset", "convert", "nowhere", "--from", "omar", "--environment", "mpe/tag"],
            "'nowhere' holds no obs_0.npy",
        ),
    ],
    ids=["task", "level", "steps", "mixture", "field", "setting", "environment", "folder"],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing(
    words: list[str], sentence: str, tmp_path: Path
) -> None:
    told = invoke(*words, "--out", tmp_path / "out")
    assert isinstance(told.exception, InputError)
    assert sentence in str(told.exception)
    assert len(str(told.exception).splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    told = invoke("collect", "mpe/tag", "--out", tmp_path)
    assert "is there already: give --out a new folder" in str(told.exception)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]
