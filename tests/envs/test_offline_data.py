"""Data sets: round trips, levels by return, refusals, converters; some five seconds."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from tenfold.envs.modes import ModesGame
from tenfold.envs.mpe.worlds import ParticleWorlds
from tenfold.envs.offline.checks import check_fits
from tenfold.envs.offline.collect import PARTICLES_AT_ONCE, collect
from tenfold.envs.offline.convert import from_minari, from_omar
from tenfold.envs.offline.dataset import OfflineDataset
from tenfold.envs.offline.environments import make_environments
from tenfold.envs.offline.names import OFFLINE_TASKS, split_task
from tenfold.envs.offline.tasks import offline_task

AGENTS = ("left", "right")


def own_data(lengths: list[int], seed: int = 0, environment: str = "my/own") -> OfflineDataset:
    """Random numbers in episodes of these lengths; every other one ends by itself."""
    rng, steps = np.random.default_rng(seed), sum(lengths)
    ends = np.cumsum(lengths) - 1
    terminated, truncated = np.zeros((2, steps), bool)
    terminated[ends[::2]], truncated[ends[1::2]] = True, True
    return OfflineDataset.from_arrays(
        environment=environment,
        obs={agent: rng.normal(size=(steps, 3 + j)) for j, agent in enumerate(AGENTS)},
        next_obs={agent: rng.normal(size=(steps, 3 + j)) for j, agent in enumerate(AGENTS)},
        actions={agent: rng.uniform(-1, 1, (steps, 2)) for agent in AGENTS},
        rewards={agent: rng.normal(size=steps) for agent in AGENTS},
        terminated=terminated,
        truncated=truncated,
        episode=np.repeat(10 * np.arange(len(lengths)), lengths),
    )


@settings(max_examples=15, deadline=None)
@given(lengths=st.lists(st.integers(1, 5), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_what_is_written_is_what_is_read(
    lengths: list[int], seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    made = own_data(lengths, seed)
    folder = tmp_path_factory.mktemp("data")
    made.write(folder)
    found = OfflineDataset.read(folder)
    assert found.card == made.card
    for (name, one), (_, two) in zip(made.columns(), found.columns(), strict=True):
        assert one.dtype == two.dtype
        np.testing.assert_array_equal(one, two, err_msg=name)
    assert np.bincount(found.episode).tolist() == lengths
    summed = [part.sum() for part in np.split(made.rewards["left"], np.cumsum(lengths)[:-1])]
    np.testing.assert_allclose(found.returns()[:, 0], summed, rtol=1e-5, atol=1e-6)


def test_other_programs_read_the_steps(tmp_path: Path) -> None:
    made = own_data([2, 3])
    made.write(tmp_path)
    frame = pd.read_parquet(tmp_path / "steps")
    assert frame["t"].tolist() == [0, 1, 0, 1, 2]
    np.testing.assert_array_equal(np.stack(frame["obs.right"]), made.obs["right"])
    table = parquet.read_table(tmp_path / "steps")
    assert table.schema.field("action.left").type == pa.list_(pa.float32(), 2)


def rewrite(folder: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    (file,) = (folder / "steps").glob("*.parquet")
    parquet.write_table(change(parquet.read_table(file)), file)


def put(name: str, place: int, value: Any) -> Callable[[pa.Table], pa.Table]:
    """A change of one number of a column."""

    def change(table: pa.Table) -> pa.Table:
        column = table[name].to_pylist()
        column[place] = value
        kind = table.schema.field(name).type
        return table.set_column(table.schema.names.index(name), name, pa.array(column, kind))

    return change


def take(*rows: int) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.take(list(rows))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (put("reward.left", 3, float("nan")), "'reward.left' of '{}' is not finite in episode 1"),
        (put("obs.right", 0, [0.0, float("inf"), 0.0, 0.0]), "'obs.right' of '{}' is not finite"),
        (put("reward.right", 1, None), "Column 'reward.right' of '{}' has 1 empty rows"),
        (take(1, 0, 2, 3, 4), "begins with episode 0, step 1"),
        (take(0, 1, 3, 2, 4), "step 1 of episode 1 comes after step 1 of episode 0"),
        (take(0, 1, 2, 4), "step 2 of episode 1 comes after step 0 of episode 1"),
        (take(0, 1, 2, 3), "episode 1 stops in step 1 and is neither terminated nor truncated"),
        (put("terminated", 2, True), "episode 1 goes on after its end in step 0"),
        (take(0, 1), "has 2 steps, its card says 5"),
        (put("action.left", 0, [0.5, 0.5]), "are not those of its card"),
        (lambda table: table.drop_columns(["t"]), "has no column 't'"),
        (lambda table: table.drop_columns(["obs.left"]), "has no column 'obs.left'"),
        (
            lambda table: table.append_column("obs.third", table["obs.left"]),
            "has the agents left, right, third in its columns and left, right in its card",
        ),
        (
            lambda table: table.set_column(0, "episode", table["episode"].cast(pa.string())),
            "Column 'episode' of '{}' is string: give whole numbers",
        ),
        (
            lambda table: table.set_column(
                table.schema.names.index("obs.left"), "obs.left", table["reward.left"]
            ),
            "Column 'obs.left' of '{}' is float: give lists of one fixed size",
        ),
    ],
    ids=[
        "nan",
        "inf",
        "null",
        "start",
        "unsorted",
        "gap",
        "open-end",
        "beyond-end",
        "cut",
        "hash",
        "no-time",
        "no-obs",
        "agents",
        "type",
        "shape",
    ],
)
def test_data_that_do_not_fit_are_refused_by_name(
    change: Callable[[pa.Table], pa.Table], sentence: str, tmp_path: Path
) -> None:
    own_data([2, 3]).write(tmp_path)
    rewrite(tmp_path, change)
    with pytest.raises(ValueError, match=re.escape(sentence.format(tmp_path))) as refused:
        OfflineDataset.read(tmp_path)
    assert len(str(refused.value).splitlines()) == 1


def test_folders_that_hold_no_data_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no card\.json"):
        OfflineDataset.read(tmp_path)
    made = own_data([1])
    made.write(tmp_path / "twice")
    with pytest.raises(ValueError, match="holds a data set already"):
        made.write(tmp_path / "twice")
    card = tmp_path / "twice" / "card.json"
    told = json.loads(card.read_text())
    card.write_text(json.dumps({**told, "physics_order": "openai"}))
    with pytest.raises(ValueError, match="is not a card: physics_order"):
        OfflineDataset.read(tmp_path / "twice")
    card.write_text(json.dumps({**told, "anchors": {"random": 1.0, "expert": 1.0}}))
    with pytest.raises(ValueError, match="random and expert are equal"):
        OfflineDataset.read(tmp_path / "twice")


def test_data_of_another_environment_are_refused() -> None:
    made = collect("mpe/tag", "random", 50, 0)
    environments = make_environments("mpe/tag", 1, 0)
    right = {
        "environment": "mpe/tag",
        "agents": environments.agents,
        "observation_sizes": environments.observation_sizes,
        "action_size": 2,
        "physics_order": "legacy",
        "reward": "omar",
    }
    check_fits(made, **right)
    for field, value, sentence in (
        ("physics_order", "mpe2", "have physics_order 'legacy', the environment has 'mpe2'"),
        ("reward", "mpe2", "have reward 'omar'"),
        ("environment", "mpe/world", "have environment 'mpe/tag'"),
        ("agents", ("a", "b", "c"), "have agents 'adversary_0, adversary_1, adversary_2'"),
        ("observation_sizes", (24,) * 3, "'adversary_0' observes 16 numbers in the data and 24"),
        ("action_size", 5, "has actions of size 2 in the data and 5"),
    ):
        with pytest.raises(ValueError, match=sentence):
            check_fits(made, **{**right, field: value})


@pytest.mark.parametrize(
    ("environment", "level", "mean", "within"),
    [
        ("mpe/spread", "random", 159.6, 6.0),
        ("mpe/spread", "medium-replay", 203.7, 15.0),
        ("mpe/spread", "medium", 273.4, 15.0),
        ("mpe/spread", "expert", 575.0, 45.0),
        ("mpe/tag", "random", -4.1, 2.0),
        ("mpe/tag", "medium-replay", 3.9, 5.0),
        ("mpe/tag", "medium", 116.4, 10.0),
        ("mpe/tag", "expert", 207.9, 12.0),
        ("mpe/world", "random", -6.8, 1.5),
        ("mpe/world", "medium-replay", 1.2, 4.0),
        ("mpe/world", "medium", 65.9, 6.0),
        ("mpe/world", "expert", 85.2, 6.0),
    ],
)
def test_levels_have_the_published_returns(
    environment: str, level: str, mean: float, within: float
) -> None:
    made = collect(environment, level, 25 * 1_000, 3)
    assert made.card.returns.mean == pytest.approx(mean, abs=within)


def test_a_mixture_is_the_beginnings_of_its_parts() -> None:
    mixed = collect("mpe/spread", "medium-expert", 1_000, 4)
    parts = [collect("mpe/spread", level, 1_000, 4) for level in ("medium", "expert")]
    assert [(part.level, part.episodes) for part in mixed.card.parts] == [
        ("medium", 36),
        ("expert", 4),
    ]
    low, high = (dict(part.columns()) for part in parts)
    for name, array in mixed.columns():
        if name != "episode":
            first, second = low[name][: 36 * 25], high[name][: 4 * 25]
            np.testing.assert_array_equal(array, np.concatenate([first, second]), err_msg=name)


def test_collected_steps_are_those_of_the_environment() -> None:
    """The first episode, replayed from its start with the recorded actions."""
    made = collect("mpe/world", "expert", 25, 11)
    worlds = ParticleWorlds(
        "world", PARTICLES_AT_ONCE, int(np.random.default_rng([11, 0]).integers(2**31))
    )
    worlds.reset()  # collection begins with the second episode of its seed
    for t in range(25):
        acts = np.stack([made.actions[agent][t] for agent in made.agents])
        seen, rewards, _ = worlds.step(np.repeat(acts[None], PARTICLES_AT_ONCE, axis=0))
        for j, agent in enumerate(made.agents):
            np.testing.assert_array_equal(made.next_obs[agent][t], seen[0, j])
            assert made.rewards[agent][t] == np.float32(rewards[0, j])
    assert made.truncated.tolist() == [False] * 24 + [True]
    assert not made.terminated.any()


def test_equal_seeds_give_equal_data_and_others_do_not() -> None:
    hashes = [collect("mpe/tag", "medium", 500, seed).card.sha256 for seed in (1, 1, 2)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_named_task_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = offline_task("mpe/spread-medium", tmp_path, steps=250)
    assert OfflineDataset.read(folder).card.level == "medium"
    monkeypatch.setattr("tenfold.envs.offline.tasks.collect", None)  # a second time would fail
    assert offline_task("mpe/spread-medium", tmp_path, steps=250) == folder
    with pytest.raises(TypeError):
        offline_task("mpe/spread-medium", tmp_path, steps=275)


def test_every_name_leads_to_an_environment_and_a_level() -> None:
    assert split_task("mpe/spread-medium-replay") == ("mpe/spread", "medium-replay")
    assert split_task("mamujoco/HalfCheetah-2x3-expert") == ("mamujoco/HalfCheetah-2x3", "expert")
    for name in OFFLINE_TASKS:
        assert "-".join(split_task(name)) == name
    with pytest.raises(ValueError, match="No data set 'mpe/spread-good'"):
        split_task("mpe/spread-good")


@pytest.mark.parametrize("task", ["free", "match"])
def test_the_mean_of_the_modes_is_worth_nothing(task: str) -> None:
    made = collect(f"modes/{task}", "expert", 2_000, 0)
    points = np.stack([made.actions[agent] for agent in made.agents], axis=1)
    game = ModesGame(task, 1, 0)
    centre = points.mean(axis=0, keepdims=True)
    assert game.step(centre)[1].max() < 1e-3 < 0.5 < made.card.returns.mean
    best = np.repeat(game.points[[2]][None], 2, axis=1)
    np.testing.assert_allclose(game.step(best)[1], 1.0)
    nearest = np.linalg.norm(points[:, :, None] - game.points, axis=-1).argmin(axis=-1)
    together = (nearest[:, 0] == nearest[:, 1]).mean()
    assert together == pytest.approx(1.0 if task == "match" else 0.25, abs=0.04)
    differ = game.points[[0, 1]][None]
    assert game.step(differ)[1][0, 0] == pytest.approx(0.0 if task == "match" else 1.0, abs=1e-6)


def test_omars_files_become_a_data_set(tmp_path: Path) -> None:
    made = collect("mpe/tag", "medium", 100, 0)
    for j, agent in enumerate(made.agents):
        np.save(tmp_path / f"obs_{j}.npy", made.obs[agent])
        np.save(tmp_path / f"next_obs_{j}.npy", made.next_obs[agent])
        np.save(tmp_path / f"acs_{j}.npy", made.actions[agent])
        np.save(tmp_path / f"rews_{j}.npy", made.rewards[agent][:, None])
        np.save(tmp_path / f"dones_{j}.npy", np.zeros(100))
    found = from_omar(tmp_path, 25, environment="mpe/tag", physics_order="legacy", reward="omar")
    assert found.card.sha256 == made.card.sha256
    with pytest.raises(ValueError, match="not whole episodes of 30"):
        from_omar(tmp_path, 30, environment="mpe/tag")
    (tmp_path / "acs_1.npy").unlink()
    with pytest.raises(ValueError, match=r"acs_1.npy' is missing: agent 1"):
        from_omar(tmp_path, 25, environment="mpe/tag")


def test_minaris_data_become_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import minari
    from gymnasium import spaces
    from minari.data_collector import EpisodeBuffer

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    made = own_data([3, 2])
    buffers = []
    for episode in range(2):
        rows = made.episode == episode
        seen = {
            agent: np.vstack([made.obs[agent][rows], made.next_obs[agent][rows][-1:]])
            for agent in AGENTS
        }
        buffers.append(
            EpisodeBuffer(
                observations=seen,
                actions={agent: made.actions[agent][rows] for agent in AGENTS},
                rewards=made.rewards["left"][rows].tolist(),
                terminations=made.terminated[rows].tolist(),
                truncations=made.truncated[rows].tolist(),
            )
        )
    box = {agent: spaces.Box(-9, 9, (3 + j,), np.float32) for j, agent in enumerate(AGENTS)}
    minari.create_dataset_from_buffers(
        dataset_id="own/pair-v0",
        buffer=buffers,
        observation_space=spaces.Dict(box),
        action_space=spaces.Dict({agent: spaces.Box(-1, 1, (2,), np.float32) for agent in AGENTS}),
    )
    found = from_minari("own/pair-v0")
    assert found.agents == AGENTS
    assert found.card.environment == "own/pair-v0"
    for agent in AGENTS:
        np.testing.assert_array_equal(found.obs[agent], made.obs[agent])
        np.testing.assert_array_equal(found.actions[agent], made.actions[agent])
        np.testing.assert_array_equal(found.rewards[agent], made.rewards["left"])
    np.testing.assert_array_equal(found.next_obs["left"][:2], made.obs["left"][1:3])
    np.testing.assert_array_equal(found.terminated, made.terminated)
    np.testing.assert_array_equal(found.truncated, made.truncated)
    with pytest.raises(ValueError, match="Minari has no data set 'own/none-v0'"):
        from_minari("own/none-v0")
