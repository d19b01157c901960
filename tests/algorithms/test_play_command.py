"""`tenfold play`: typed hands, mistakes asked again, leaving in mid-hand, and what a hand teaches.

The EVs lost are computed again by brute force: the average strategy read off the solver, then a
plain recursion over the other player's hands. Costs 12 processor seconds, nearly all of them
imports, and the MLflow store of one test.
"""

import io
import json
import re
import sys
from collections.abc import Sequence
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
from tenfold.algorithms.rl_cfr.play.match import expected_payoffs
from tenfold.algorithms.rl_cfr.play.policies import HandStrategy, History, Policy, check_call
from tenfold.algorithms.rl_cfr.play.resolving import Resolver
from tenfold.algorithms.rl_cfr.play.response import best_response
from tenfold.algorithms.rl_cfr.play.review import review
from tenfold.algorithms.rl_cfr.solver.solver import Solver
from tenfold.algorithms.rl_cfr.solver.subgame import Subgame
from tenfold.envs.poker.cards import HANDS, format_hand, hand_index, parse_cards
from tenfold.envs.poker.rules import CALL, FOLD, BettingState
from tenfold.envs.poker.sizes import parse_menu
from tenfold.envs.poker.spot import Spot, deals, read_spot
from tenfold.envs.poker.strength import board_ranks
from tenfold.platform import cli
from tenfold.platform.experiment import EXPERIMENT_FILE
from tenfold.platform.store import open_store

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


# What a hand teaches

RANGES = ["AA,KK:0.5,T9s,87s", "QQ,A9s,JTs,54s"]
TINY = ["--board", "AsKd7h2c3d", "--pot", "1000", "--stacks", "2500", "--big-blind", "100"]
TINY += ["--ranges", RANGES[0], "--ranges", RANGES[1], "--sizes", "0.5,1", "--max-raises", "2"]
MENU = parse_menu("0.5,1")
SOLVING = Solving(MENU, 2, "dcfr", 60)


def tiny_spot() -> Spot:
    return read_spot("AsKd7h2c3d", 1_000, "2500", RANGES, 100)


def solution(spot: Spot, extra: Sequence[int] = ()) -> Policy:
    """The average strategy of the whole spot, whose root has further raises."""

    def raises(state: BettingState) -> list[int]:
        more = [] if state.acted else extra
        return sorted({*MENU.raises(state), *more}) if state.raised < 2 else []

    subgame = Subgame(spot, raises)
    solver = Solver(subgame.game, SOLVING.variant)
    solver.iterate(SOLVING.iterations)
    nodes = {state: node for node, state in subgame.states.items()}

    def policy(history: History) -> HandStrategy:
        node = nodes[history.state]
        return HandStrategy(subgame.moves[node], subgame.spread(solver.strategy(node)))

    return policy


def worth(policy: Policy, history: History, seat: int, hand: int, others: np.ndarray) -> float:
    """Chips of a hand that answers best, summed over (1326,) weights of the other's hands."""
    state = history.state
    if state.folded is not None:
        return float(others.sum()) * state.payoffs()[seat]
    if state.over:
        ranks = board_ranks(history.board)
        total = 0.0
        for other in np.flatnonzero(others):
            winner = None if ranks[hand] == ranks[other] else seat ^ int(ranks[hand] < ranks[other])
            total += others[other] * state.payoffs(winner)[seat]
        return total
    actions, chances = policy(history)
    if state.player == seat:
        return max(worth(policy, history.apply(each), seat, hand, others) for each in actions)
    return sum(
        worth(policy, history.apply(each), seat, hand, others * chance)
        for each, chance in zip(actions, chances, strict=True)
    )


def losses(spot: Spot, policy: Policy, history: History, seat: int, hand: int) -> list[float]:
    """EV lost in each decision of a seat, by brute force."""
    shared = np.isin(HANDS, HANDS[hand]).any(axis=1)
    others = np.where(shared, 0.0, spot.ranges[1 - seat])
    found = []
    for past, action in history.past(spot):
        actions, chances = policy(past)
        if past.state.player == seat:
            values = [worth(policy, past.apply(each), seat, hand, others) for each in actions]
            found.append((max(values) - values[actions.index(action)]) / others.sum())
        else:
            others = others * chances[actions.index(action)]
    return found


def read_hands(said: str) -> list[tuple[int, int, list[int], list[float]]]:
    """Seat, hand, actions of both, and EVs lost of each hand that was played, from the screen."""
    found = []
    for text in said.split("You hold ")[1:]:
        card, seat = re.match(r"(\w{4}) and act (first|second)", text).groups()
        words = re.findall(r"│ > (\w+)(?: to)? ?(\d*).*│ +(\d+\.\d\d) │", text)
        own = [(word, number) for word, number, _ in words]
        others = re.findall(r"Solver: (\w+)(?: to)? ?(\d*)", text)
        turns = [own, others] if seat == "first" else [others, own]
        actions = []
        for place in range(len(own) + len(others)):
            word, number = turns[place % 2][place // 2]
            level = int(number or 0)
            actions.append({"fold": FOLD, "check": CALL, "call": CALL}.get(word, level))
        lost = [float(value) for _, _, value in words]
        found.append((int(seat == "second"), hand_index(*parse_cards(card)), actions, lost))
    return found


def played(spot: Spot, actions: Sequence[int]) -> History:
    history = History.of(spot)
    for action in actions:
        history = history.apply(action)
    return history


def test_the_ev_lost_is_that_of_brute_force(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [*TINY, "--hands", "12", "--iterations", str(SOLVING.iterations), "--seed", "4"]
    # Answers that are not legal are asked again, so each hand takes its own part of this.
    assert play(monkeypatch, options, "b 500\nf\nc\nk\n" * 30) == 0
    said = capsys.readouterr().out
    spot, hands = tiny_spot(), read_hands(said)
    policy, total = solution(spot), 0.0
    assert len(hands) == 12
    assert {seat for seat, *_ in hands} == {0, 1}
    assert max(len(lost) for *_, lost in hands) == 2
    for seat, hand, actions, lost in hands:
        exact = losses(spot, policy, played(spot, actions), seat, hand)
        assert lost == pytest.approx(exact, abs=0.02), format_hand(hand)
        total += sum(lost)
    assert total > 100
    count = sum(len(lost) for *_, lost in hands)
    shown = re.search(rf"EV lost in your {count} decisions: ([\d.]+) chips", said)
    assert shown is not None
    assert float(shown[1]) == pytest.approx(total, abs=0.01 * count)


def test_a_bet_outside_the_tree_is_judged_in_one_that_has_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [*TINY, "--iterations", str(SOLVING.iterations), "--seed", "1"]
    assert play(monkeypatch, options, "b 333\n" + "f\nc\n" * 4) == 0
    said = capsys.readouterr().out
    assert "The solver had no 'bet 333': it solved that river decision again" in " ".join(
        said.split()
    )
    [(seat, hand, actions, lost)] = read_hands(said)
    spot = tiny_spot()
    exact = losses(spot, solution(spot, [333]), played(spot, actions), seat, hand)
    assert actions[0] == 333
    assert lost == pytest.approx(exact, abs=0.02)


def test_losses_are_never_negative_and_mixed_actions_lose_nothing() -> None:
    spot = tiny_spot()
    solver = Resolver(spot, Solving(MENU, 2, "pcfr+", 2_000))
    accuracy = solver.exploitability()
    assert accuracy < 0.1
    mixed = 0
    for seat, before in ((0, []), (1, [CALL]), (1, [500]), (1, [1000])):
        past = played(spot, before)
        for action in solver(past).actions:
            for hand in np.flatnonzero(deals(spot.ranges)[seat]):
                *_, verdict = review(solver, spot, past.apply(action), seat, int(hand))
                assert verdict.lost >= 0.0
                assert verdict.mix.sum() == pytest.approx(1.0)
                assert verdict.reach == 1.0
                if 0.05 < verdict.mix[verdict.choice] < 0.95:
                    mixed += 1
                    assert verdict.lost < 2.0, (format_hand(int(hand)), action, verdict)
    assert mixed > 20


def test_the_losses_of_a_player_add_up_to_what_a_best_answer_wins_more() -> None:
    spot = tiny_spot()
    solver = Resolver(spot, SOLVING)
    weights, total = deals(spot.ranges)[0], 0.0
    first = History.of(spot).apply(CALL)
    actions, chances = solver(first)
    for hand in np.flatnonzero(weights):
        shared = np.isin(HANDS, HANDS[hand]).any(axis=1)
        others = np.where(shared, 0.0, spot.ranges[1])
        for action, chance in zip(actions, chances, strict=True):
            share = others @ chance / others.sum()
            after = first.apply(action)
            ended = after if after.state.over else after.apply(CALL)
            lost = sum(each.lost for each in review(solver, spot, ended, 0, int(hand)))
            total += weights[hand] * share * lost
    best = best_response(spot, solver, 0, MENU, 2)
    passive, _ = expected_payoffs(spot, (check_call, solver))
    assert total / weights.sum() == pytest.approx(best - passive, abs=0.01)
    assert best - passive > 20


def test_a_hand_that_the_solver_would_not_have_here_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Nothing to gain by a bet with nothing: whatever is worse folds, whatever is better calls.
    options = [*NUTS, "--sizes", "1,3,allin", "--max-raises", "2", "--hands", "1"]
    options = ["4c3h" if word == "Ts9h" else "Ts9h" if word == "4c3h" else word for word in options]
    assert play(monkeypatch, options, "b 100\nc\n") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Solver: raise to" in said
    assert "Before you could 'call" in said
    assert "go by the EVs" in said
    assert "-0.00" not in said


# Checkpoints


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


def test_a_checkpoint_is_found_by_its_run_its_trial_or_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TENFOLD_RUNS", str(tmp_path))
    client = open_store(f"sqlite:///{tmp_path}/mlflow.db")
    run_dir = tmp_path / "tune" / "rl_cfr-20260101-000000"
    ids = {}
    for method in ("rl_cfr", "ppo"):
        trial = run_dir / f"{method}_0"
        # The older checkpoint is of a game that is refused: only the newest can be the one meant.
        for number, task in ((9, "leduc_nl"), (10, "river_hunl")):
            (trial / f"checkpoint_{number:06}").mkdir(parents=True)
            save(trial / f"checkpoint_{number:06}", task)
        tags = {"kind": "trial", "method": method, "run_dir": str(run_dir)}
        run = client.create_run("0", tags={**tags, "trial_dir": str(trial)})
        ids[method] = run.info.run_id
    (run_dir / EXPERIMENT_FILE).write_text("method: rl_cfr\n")
    trial, run_id = run_dir / "rl_cfr_0", ids["rl_cfr"]
    for name in (run_id, run_id[:8], "rl_cfr_0", str(trial), str(trial / "checkpoint_000010")):
        assert play(monkeypatch, [*NUTS, "--checkpoint", name], "") == 0, name
    assert play(monkeypatch, [*NUTS, "--checkpoint", ids["ppo"]], "") == 2
    assert "is a trial of ppo: give the id of one of rl_cfr" in capsys.readouterr().err
    assert play(monkeypatch, [*NUTS, "--checkpoint", "ffffffff0"], "") == 2
    assert "No run 'ffffffff0' in the store" in capsys.readouterr().err


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
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TENFOLD_RUNS", str(tmp_path))
    assert play(monkeypatch, options, "") == 2
    assert said in capsys.readouterr().err
