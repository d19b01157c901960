"""Schedulers that other packages bring by entry points; some three processor seconds."""

import re
import runpy
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from tenfold.algorithms.softmw import registered, schedulers
from tenfold.algorithms.softmw.schedulers import SCHEDULERS, make_scheduler, scheduler_class
from tenfold.envs.queues.scenarios import scenario
from tenfold.envs.queues.simulator import Simulator
from tenfold.platform.parameters import check

METHOD_FOLDER = Path(__file__).parent.parent.parent / "algorithms" / "softmw"
README = (METHOD_FOLDER / "README.md").read_text()


def test_the_scheduler_that_the_readme_shows_is_found_and_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = README[README.index("## A scheduler of your own") :]
    source = re.findall(r"```python\n(.*?)```", part, re.DOTALL)[0]
    group, entry = re.findall(r'```toml\n\[project.entry-points."(.*)"\]\n(.*)\n```', part)[0]
    (tmp_path / "proportional").mkdir()
    (tmp_path / "proportional" / "rules.py").write_text(source)
    info = tmp_path / "proportional-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: proportional\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{entry}\n".replace('"', ""))
    monkeypatch.syspath_prepend(tmp_path)

    # The declaration and the config as a process reads them in which the package is installed.
    method = runpy.run_path(str(METHOD_FOLDER / "__init__.py"))["METHOD"]
    assert method.variants["proportional"] == {"scheduler": "proportional"}
    config = runpy.run_path(str(METHOD_FOLDER / "config.py"))["SoftMWConfig"]
    check(config.Parameters, {"scheduler": "proportional"})
    with pytest.raises(ValueError, match=r"'sofmw'.*longest_queue, proportional"):
        check(config.Parameters, {"scheduler": "sofmw"})

    declared = scenario("stationary")
    mine = make_scheduler("proportional", declared, 2, alpha=2.0)
    p = mine.probabilities(np.array([[1.0, 2.0, 0.0, 2.0]] * 2))
    np.testing.assert_allclose(p, [[1 / 9, 4 / 9, 0, 4 / 9]] * 2, atol=1e-6)
    simulator = Simulator(declared, 2, seed=1)
    simulator.run(mine, 2_000)
    uniform = Simulator(declared, 2, seed=1)
    uniform.run(make_scheduler("uniform", declared, 2), 2_000)
    assert 0 < simulator.q.sum() < uniform.q.sum()
    with pytest.raises(ValueError, match=r"^Scheduler 'proportional': bad value -1"):
        make_scheduler("proportional", declared, 2, alpha=-1.0)


def bring(monkeypatch: pytest.MonkeyPatch, **found: str) -> None:
    entries = [
        EntryPoint(name.rstrip("_"), value, registered.ENTRY_POINT_GROUP)
        for name, value in found.items()
    ]
    monkeypatch.setattr(registered, "entry_points", lambda group: entries)


def test_a_brought_scheduler_is_loaded_when_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = "tenfold.algorithms.softmw.baselines"
    bring(monkeypatch, mine=f"{place}:Uniform", uniform=f"{place}:Oracle")
    monkeypatch.setattr(SCHEDULERS["uniform"], "name", "mine")
    assert scheduler_class("mine") is SCHEDULERS["uniform"]
    assert scheduler_class("uniform") is SCHEDULERS["uniform"]  # the built-in one stays
    assert registered.scheduler_names() == (*registered.BUILT_IN, "mine")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({}, "There is no scheduler 'mine': choose one of softmw, "),
        ({"mine": "json:loads"}, "leads to json:loads, which is not a subclass of Compiled"),
        ({"mine": "tenfold.algorithms.softmw.baselines:Uniform"}, "named 'mine'"),
        ({"mine": "a:B", "mine_": "c:D"}, "Two installed packages bring the scheduler 'mine'"),
    ],
    ids=["none", "no scheduler", "another name", "two"],
)
def test_what_is_not_a_scheduler_is_refused_in_one_sentence(
    found: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring(monkeypatch, **found)
    with pytest.raises(ValueError, match="cheduler") as refusal:
        schedulers.make_scheduler("mine", None, 1)  # type: ignore[arg-type]
    assert said in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1
