"""`tenfold play`: typed hands, mistakes asked again, leaving in the middle of a hand."""

import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tenfold.algorithms.common.planning import PLAN_ARRAYS, PLAN_VALUES
from tenfold.algorithms.rl_cfr.abstraction import describe_learned, load_abstraction
from tenfold.algorithms.rl_cfr.config import RLCFRConfig
from tenfold.algorithms.rl_cfr.learning.actor_critic import Actor
from tenfold.algorithms.rl_cfr.learning.features import FEATURES
from tenfold.algorithms.rl_cfr.mdp import Solving
from tenfold.algorithms.rl_cfr.play.policies import History
from tenfold.algorithms.rl_cfr.play.resolving import Resolver
from tenfold.envs.poker.rules import CALL
from tenfold.envs.poker.sizes import parse_menu
from tenfold.envs.poker.spot import read_spot
from tenfold.platform import cli

NUTS = ["--board", "AsKsQsJs2d", "--pot", "100", "--stacks", "1000", "--big-blind", "10"]
NUTS += ["--ranges", "Ts9h", "--ranges", "4c3h", "--iterations", "100", "--seed", "0"]


def play(monkeypatch: pytest.MonkeyPatch, options: list[str], typed: str) -> int:
    monkeypatch.setattr(sys, "argv", ["tenfold", "play", *options])
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    with pytest.raises(SystemExit) as left:
        cli.main()
    return int(left.value.code or 0)


def test_a_typed_hand_is_played_by_the_rules(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert play(monkeypatch, NUTS, "hello\nf\nr 1001\na\n") == 0
    said = capsys.readouterr().out
    assert "You hold Ts9h and act first." in said
    assert "Cannot read 'hello': write check, bet 10..1000, or all-in." in said
    assert "'f' is not legal" in said
    assert "'r 1001' is not legal" in said
    assert said.index("Solver: fold.") < said.index("You win 100 chips.")
    assert "Hands played: 1. You won +100 chips" in said


def test_seats_alternate_and_hands_are_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # The person checks with the royal flush, then calls with nothing.
    assert play(monkeypatch, [*NUTS, "--hands", "2"], "k\nk\n" + "c\n" * 5) == 0
    first, second = capsys.readouterr().out.split("You hold 4c3h and act second.")
    assert "The solver shows 4c3h on AsKsQsJs2d." in first
    assert "You win 100 chips." in first
    assert "Solver: " in second
    assert "Hands played: 2." in second


def test_a_turn_shows_its_river(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [*NUTS, "--sizes", "1", "--max-raises", "1"]
    options[1] = "AsKsQsJs"
    assert play(monkeypatch, options, "k\n" * 4) == 0
    said = capsys.readouterr().out
    assert said.index("Turn AsKsQsJs, pot 100") < said.index("River AsKsQsJs")
    assert "You win 100 chips." in said


@pytest.mark.parametrize("typed", ["", "b 20\n"])
def test_the_end_of_input_leaves_the_table(
    typed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["4c3h" if word == "Ts9h" else "Ts9h" if word == "4c3h" else word for word in NUTS]
    assert play(monkeypatch, options, typed) == 0
    said = capsys.readouterr().out
    assert "You leave the table." in said
    assert "Hands played: 0. You won +0 chips" in said


def save(folder: Path, task: str) -> None:
    """A checkpoint of an untrained actor with one component."""
    config = RLCFRConfig()
    config.m, config.threshold = 1, -1.0
    sizes = config.size_map()
    torch.manual_seed(0)
    weights = Actor(FEATURES, sizes.m, [8]).state_dict()
    np.savez(folder / PLAN_ARRAYS, **{f"actor.{name}": each for name, each in weights.items()})
    plan = {"policy": describe_learned(task, sizes, [8])}
    (folder / PLAN_VALUES).write_text(json.dumps({"plan": plan}))


def test_a_checkpoint_of_another_game_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path, "leduc_nl")
    assert play(monkeypatch, ["--checkpoint", str(tmp_path)], "") == 2
    assert "was trained on another game" in capsys.readouterr().err


def test_a_checkpoint_that_knows_rivers_only_is_refused_on_a_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path, "river_hunl")
    options = ["--checkpoint", str(tmp_path), "--board", "AsKd7h2c"]
    assert play(monkeypatch, options, "") == 2
    assert "has not learned the turn" in capsys.readouterr().err


def test_a_checkpoint_chooses_the_solvers_bets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path, "river_hunl")
    spot = read_spot("AsKd7h2c3d", 1_000, "2500", ["AA,KK,98s"] * 2, 10)
    solving = Solving(parse_menu("0.5,1,2,allin"), 2, "dcfr", 50)
    resolver = Resolver(spot, solving, load_abstraction(tmp_path))
    first = History.of(spot)
    chosen = {*resolver(first).actions, *resolver(first.apply(CALL)).actions}
    assert len(chosen & {500, 1_000, 2_000}) == 0
    options = ["--board", "AsKd7h2c3d", "--stacks", "2500", "--ranges", "AA,KK,98s"]
    options += ["--ranges", "AA,KK,98s", "--hands", "40", "--iterations", "50", "--seed", "0"]
    options += ["--big-blind", "10", "--checkpoint", str(tmp_path)]
    assert play(monkeypatch, options, "c\n" * 80) == 0
    bets = {int(each) for each in re.findall(r"Solver: bet (\d+)", capsys.readouterr().out)}
    assert bets & chosen
    assert bets <= chosen


def test_ctrl_c_leaves_the_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(prompt: str = "") -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("builtins.input", interrupt)
    assert play(monkeypatch, NUTS, "") == 0
    assert "You leave the table." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--board", "AsKd7h"], "is a flop"),
        (["--ranges", "AA"], "1 ranges given"),
        (["--variant", "fast"], "Unknown CFR variant 'fast'"),
        (["--sizes", "half"], "Unknown bet size 'half'"),
        (["--stacks", "0"], "Bad stacks '0'"),
        (["--checkpoint", "nowhere"], "'nowhere' is no checkpoint of rl_cfr"),
        (["--checkpoint", "nowhere", "--board", "AsKd7h2c"], "no checkpoint of rl_cfr"),
    ],
)
def test_mistakes_are_told_by_name(
    options: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert play(monkeypatch, options, "") == 2
    assert said in capsys.readouterr().err
