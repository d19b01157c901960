"""`tenfold solve`: known answers, the size of a tree before it starts, mistakes with exit code 2.

Cost: about 10 s on one core.
"""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tenfold.algorithms.rl_cfr.solver import subgame
from tenfold.algorithms.rl_cfr.solver.browse import Decision, cells, decisions, names, page
from tenfold.algorithms.rl_cfr.solver.saved import load_solved, save_solved
from tenfold.algorithms.rl_cfr.solver.solve import CHECK_EVERY, Solution, by_action, solve
from tenfold.algorithms.rl_cfr.solver.subgame import Subgame
from tenfold.algorithms.rl_cfr.solver.tree import FOLD, MATRIX, SHOWDOWN
from tenfold.algorithms.rl_cfr.solver.tree_size import kept_bytes, tree_size
from tenfold.envs.poker.cards import HANDS
from tenfold.envs.poker.sizes import parse_menu
from tenfold.envs.poker.spot import deals, read_spot
from tenfold.envs.poker.strength import board_ranks
from tenfold.platform import cli

SPOT = {
    "--board": ["AsKd7h2c3d"],
    "--pot": ["1000"],
    "--stacks": ["1000"],
    "--ranges": ["AhAd,5h4h", "KhKs"],
    "--sizes": ["1"],
    "--iterations": ["300"],
}


def tenfold(monkeypatch: pytest.MonkeyPatch, options: dict[str, list[str]], *more: str) -> int:
    words = [word for name, values in options.items() for each in values for word in (name, each)]
    monkeypatch.setattr(sys, "argv", ["tenfold", "solve", *words, *more])
    with pytest.raises(SystemExit) as left:
        cli.main()
    return int(left.value.code or 0)


def test_the_solution_comes_as_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tenfold(monkeypatch, SPOT, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["actions"] == ["check", "bet 1000 all-in"]
    # 5h4h and AhAd both beat KhKs on this board: every hand of the first player wins.
    assert {hand["equity"] for hand in answer["hands"].values()} == {1.0}
    assert answer["ev"][0] == pytest.approx(1000, rel=0.01)
    assert sum(answer["ev"]) == pytest.approx(1000, rel=1e-4)
    assert answer["exploitability"]["percent_of_pot"] < 0.5


def answer(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, list[str]],
) -> dict[str, Any]:
    assert tenfold(monkeypatch, {**SPOT, **change}, "--json") == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_small_chips_are_the_same_game_in_other_units(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ranges = ["AhAd,5h4h,QcJc", "KhKs,7c7d,AcQc"]
    spot = {"--ranges": ranges, "--sizes": ["0.25,0.5,1,allin"], "--iterations": ["50"]}
    large = answer(monkeypatch, capsys, {**spot, "--pot": ["1000"], "--stacks": ["4000"]})
    small = answer(monkeypatch, capsys, {**spot, "--pot": ["2.5"], "--stacks": ["10"]})
    assert large["actions"] == ["check", *(f"bet {n}" for n in (250, 500, 1000)), "bet 4000 all-in"]
    assert small["actions"] == ["check", "bet 0.625", "bet 1.25", "bet 2.5", "bet 10 all-in"]
    assert (small["pot"], small["stacks"], small["smallest_bet"]) == (2.5, [10, 10], 0.25)
    np.testing.assert_allclose(small["ev"], np.array(large["ev"]) / 400, rtol=1e-3)
    np.testing.assert_allclose(small["frequencies"], large["frequencies"], atol=1e-3)
    for hand, found in large["hands"].items():
        assert small["hands"][hand]["ev"] == pytest.approx(found["ev"] / 400, abs=2e-3)


def test_the_blind_is_derived_and_moved_sizes_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spot = {"--pot": ["50"], "--stacks": ["200"], "--sizes": ["0.25,0.5,1,4,9,allin"]}
    spot["--iterations"] = ["1"]
    free = answer(monkeypatch, capsys, spot)
    assert free["actions"][1:] == ["bet 12.5", "bet 25", "bet 50", "bet 200 all-in"]
    assert "the smallest bet is 5 chips" in free["notes"][0]
    assert free["notes"][1] == (
        "Sizes 4, 9 and allin are one bet of 200 chips, for no more can be called."
    )
    assert "Below the first decision, sizes are moved or merge at" in free["notes"][2]
    held = answer(monkeypatch, capsys, {**spot, "--big-blind": ["40"]})
    assert held["actions"][1:] == ["bet 40", "bet 50", "bet 200 all-in"]
    assert held["notes"][1] == (
        "Sizes 0.25 and 0.5 are one bet of 40 chips, the smallest that is legal, where 0.25 and "
        "0.5 would be less."
    )


def test_a_flop_is_solved(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spot = {"--board": ["KsQh2d"], "--ranges": ["AsAh", "JsTs"], "--pot": ["100"]}
    spot |= {"--stacks": ["1000"], "--sizes": ["allin"], "--max-raises": ["1"]}
    found = answer(monkeypatch, capsys, {**spot, "--iterations": ["100"]})
    # AsAh goes all-in, and JsTs, which would need 10/21 for a call, folds.
    assert found["exploitability"]["percent_of_pot"] < 0.5
    assert sum(found["ev"]) == pytest.approx(100, rel=1e-5)
    assert found["ev"][0] > 99


@pytest.mark.parametrize("own_hands", [False, True])
@pytest.mark.parametrize(
    ("board", "ranges", "sizes", "most"),
    [
        ("AsKd7h2c3d", ["22+,AK", "22+,AK"], "0.5,1,allin", 3),
        ("AsKs7s2d", ["77+,AK,QJs", "TT+"], "0.5,allin", 2),
        ("AsKd7h2c", ["22+,A2+,KT+", "55+,K2s+"], "2e,spr=3", 2),
        ("7c8c9c", ["AA,K2o:0.5", "AA,K2o:0.5"], "allin", 1),
    ],
)
def test_a_tree_is_counted_as_it_is_built(
    board: str, ranges: list[str], sizes: str, most: int, own_hands: bool
) -> None:
    spot, menu = read_spot(board, 100, "450,400", ranges), parse_menu(sizes)
    size = tree_size(spot, menu.raises, most, own_hands=own_hands)
    tree = Subgame(spot, menu.raises, most, own_hands=own_hands).game.tree
    assert size.complete
    assert (size.nodes, size.rows, size.hands) == (len(tree.kind), tree.rows, tree.hands)
    assert (size.numbers, size.boards) == (tree.size, len(tree.sizes))
    assert size.matrices == len(tree.matrices)
    assert size.products == int((tree.kind == MATRIX).sum())
    assert size.ends == int(np.isin(tree.kind, (FOLD, SHOWDOWN, MATRIX)).sum())
    for compressed in (False, True):
        arrays = tree.nbytes + kept_bytes("dcfr", compressed) * tree.size
        estimate = size.arrays(kept_bytes("dcfr", compressed))
        assert 0.8 * arrays < estimate < 1.2 * arrays
    assert size.memory() > size.arrays()
    assert size.seconds(2) == pytest.approx(size.seconds() / 2)
    stopped = tree_size(spot, menu.raises, most, most=size.memory() - 1, own_hands=own_hands)
    assert not stopped.complete


def test_a_tree_too_large_is_refused_before_it_is_built(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(subgame, "Subgame", None)
    spot = {"--board": ["QsJh2h"], "--ranges": ["random", "random"], "--sizes": ["0.5,1,allin"]}
    assert tenfold(monkeypatch, {**SPOT, **spot, "--stacks": ["9500"]}) == 2
    said = capsys.readouterr().err
    assert "The tree has more than" in said
    assert "nodes with 1,176 hands and needs more than 4.0 GB" in said
    assert "also with --max-raises 1: give fewer sizes" in " ".join(said.split())
    assert "--max-memory than 4." in said


def test_what_would_fit_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spot = {"--board": ["QsJh2h8c"], "--ranges": ["22+,A2s+", "22+,A2s+"], "--stacks": ["9500"]}
    spot |= {"--sizes": ["0.3,0.5,1,allin"], "--max-raises": ["4"], "--max-memory": ["0.3"]}
    assert tenfold(monkeypatch, {**SPOT, **spot}) == 2
    said = " ".join(capsys.readouterr().err.split())
    fits = re.search(r"with --max-raises (\d) (0\.\d) GB: take that", said)
    assert fits is not None
    spot |= {"--max-raises": [fits[1]], "--iterations": ["1"]}
    assert tenfold(monkeypatch, {**SPOT, **spot}) == 0
    assert f"needs about {fits[2]} GB" in " ".join(capsys.readouterr().err.split())
    spot |= {"--max-raises": ["3"], "--max-memory": ["0.45"]}
    assert tenfold(monkeypatch, {**SPOT, **spot}) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert re.search(r"and with --compressed 0\.\d GB: take that, or give fewer", said)


def test_a_limit_of_time_ends_at_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    spot = read_spot("AsKd7h2c3d", 1_000, "1000", ["AhAd,5h4h", "KhKs"])
    built = Subgame(spot, parse_menu("1").raises)
    assert solve(built, "dcfr", 10 * CHECK_EVERY, limit=1e-9).iterations == CHECK_EVERY
    assert solve(built, "dcfr", 3 * CHECK_EVERY, limit=1e9).iterations == 3 * CHECK_EVERY


@pytest.mark.parametrize("target", [0.0, 50.0])
def test_progress_begins_with_the_first_iteration(target: float) -> None:
    spot = read_spot("AsKd7h2c3d", 1_000, "1000", ["AhAd,5h4h", "KhKs"])
    told: list[tuple[int, float]] = []

    def tell(done: int, lost: float, seconds: float) -> None:
        told.append((done, lost))

    built = Subgame(spot, parse_menu("1").raises)
    found = solve(built, "dcfr", 3 * CHECK_EVERY, target, tell)
    assert told[0][0] == 1
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1] == (found.iterations, found.exploitability)
    assert found.iterations == (3 * CHECK_EVERY if target == 0.0 else 1)
    assert np.isfinite([lost for _, lost in told]).all()


def test_who_is_told_of_progress_gets_the_same_solution() -> None:
    spot = read_spot("AsKd7h2c3d", 1_000, "1000", ["AhAd,5h4h", "KhKs"])

    def solved(progress: Callable[[int, float, float], None] | None) -> np.ndarray:
        return solve(Subgame(spot, parse_menu("1").raises), "dcfr", 60, 0.0, progress).strategy

    np.testing.assert_array_equal(solved(None), solved(lambda *told: None))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"--board": ["AsKx7h2c3d"]}, "Unknown card 'Kx'"),
        ({"--board": ["AsAs7h2c3d"]}, "Card 'As' stands twice"),
        ({"--board": ["AsKd"]}, "has 2 cards"),
        ({"--pot": ["0"]}, "Bad pot '0'"),
        ({"--pot": ["ten"]}, "Bad pot 'ten'"),
        ({"--pot": ["1e9999"]}, "Bad pot '1e9999'"),
        ({"--big-blind": ["nan"]}, "Bad big blind 'nan'"),
        ({"--max-memory": ["0"]}, "0 for 'max-memory'"),
        ({"--max-memory": ["nan"]}, "nan for 'max-memory'"),
        ({"--target": ["nan"]}, "target of nan %"),
        ({"--sizes": ["1e308"]}, "Unknown bet size '1e308'"),
        ({"--sizes": ["nan"]}, "Unknown bet size 'nan'"),
        ({"--stacks": ["lots"]}, "Bad stacks 'lots'"),
        ({"--ranges": ["AA"]}, "1 ranges given"),
        ({"--ranges": ["AA", "AKx"]}, "Cannot read range 'AKx'"),
        ({"--ranges": ["AA", "22+,KK:0.5"]}, "twice, by '22+' and by 'KK:0.5'"),
        ({"--ranges": ["AA", "KK:200"]}, "Bad weight '200'"),
        ({"--sizes": ["half"]}, "Unknown bet size 'half'"),
        ({"--iterations": ["0"]}, "0 iterations"),
        ({"--variant": ["fast"]}, "fast"),
        ({"--rake": ["5"]}, "Bad rake '5'"),
        ({"--rake-cap": ["5"]}, "caps nothing"),
        ({"--max-time": ["0"]}, "0 for 'max-time'"),
        ({"--locks": ["none.yaml"]}, "does not exist"),
        ({"--sizes": ["0.5,spr=x"]}, "Bad limit 'spr=x'"),
    ],
)
def test_mistakes_are_told_by_name(
    change: dict[str, list[str]],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert tenfold(monkeypatch, {**SPOT, **change}) == 2
    assert said in capsys.readouterr().err


# Every decision of the street


@pytest.fixture(scope="module")
def solved() -> tuple[Solution, list[Decision]]:
    menu = parse_menu("0.5,1,allin")
    spot = read_spot(
        "AsKd7h2c3d", "100", "300", ["22+,A2s+,KTo+", "55+,K2s+"], None, menu.fractions
    )
    solution = solve(Subgame(spot, menu.raises, 2, own_hands=True), "dcfr", 200)
    return solution, decisions(solution)


def test_the_first_decision_is_the_solutions(solved: tuple[Solution, list[Decision]]) -> None:
    solution, (first, *_) = solved
    assert (first.line, first.reached) == ((), 1.0)
    np.testing.assert_allclose(first.frequencies(), solution.frequencies())
    here = first.weights > 0
    mixed = (first.strategy * first.ev).sum(axis=0)
    np.testing.assert_allclose(mixed[here], solution.ev[first.player, here], rtol=1e-4)


def test_a_decision_is_reached_as_often_as_its_action_is_taken(
    solved: tuple[Solution, list[Decision]],
) -> None:
    _, every = solved
    below = 0
    for decision in every:
        shares = decision.frequencies()
        assert shares.sum() == pytest.approx(1.0)
        for share, action, child in zip(shares, decision.actions, decision.children, strict=True):
            if child is not None:
                assert every[child].line == (*decision.line, action)
                assert every[child].reached == pytest.approx(decision.reached * share, rel=1e-4)
                below += 1
    assert below == len(every) - 1 > 10


def test_a_fold_wins_nothing_and_no_action_is_worth_more_than_all_chips(
    solved: tuple[Solution, list[Decision]],
) -> None:
    for decision in solved[1]:
        here = decision.weights > 0
        for action, chips in zip(decision.actions, decision.ev[:, here], strict=True):
            assert (np.abs(chips) <= 700.0 + 1e-3).all()
            if action == "fold":
                np.testing.assert_allclose(chips, 0.0, atol=1e-3)


def test_equities_and_means_by_action_are_those_of_the_hands_here(
    solved: tuple[Solution, list[Decision]],
) -> None:
    solution, every = solved
    spot, strength = solution.subgame.spot, board_ranks(solution.subgame.spot.board)
    root, checked = every[0], every[1]
    assert checked.line == ("check",)
    reach = spot.ranges[0] * root.strategy[0]  # of the first player's, what checks
    for hand in np.flatnonzero(checked.weights)[::40]:
        apart = [h for h in np.flatnonzero(reach) if not {*HANDS[h]} & {*HANDS[hand]}]
        score = 0.5 + 0.5 * np.sign(strength[hand] - strength[apart])
        expected = float(score @ reach[apart] / reach[apart].sum())
        assert checked.equity[hand] == pytest.approx(expected, abs=1e-5)
    shares = solution.frequencies()
    for found in (root.by_action(), solution.by_action()):
        taken = [each for each in found if each.ev is not None and each.equity is not None]
        assert len(taken) == len(found) == 4
        # Over all actions the means are those of the range.
        assert sum(
            s * each.ev for s, each in zip(shares, taken, strict=True) if each.ev is not None
        ) == pytest.approx(solution.value[0], rel=1e-3)
        weights = deals(spot.ranges)[0]
        assert sum(
            s * each.equity for s, each in zip(shares, taken, strict=True) if each.equity
        ) == pytest.approx(weights @ solution.equity[0] / weights.sum(), rel=1e-3)
    np.testing.assert_allclose(solution.action_ev, root.ev, atol=1e-9)


def test_an_action_that_nobody_takes_has_no_mean() -> None:
    strategy = np.array([[1.0], [0.0]]) * np.ones((2, 1326))
    found = by_action(strategy, np.ones((2, 1326)), np.full(1326, 0.5), np.ones(1326))
    assert found == [(1.0, 0.5), (None, None)]


def test_the_grid_holds_all_hands_once_by_rank_and_suitedness(
    solved: tuple[Solution, list[Decision]],
) -> None:
    rows, columns = cells()
    counts = np.zeros((13, 13), int)
    np.add.at(counts, (rows, columns), 1)
    assert [counts[i, j] for i, j in ((0, 0), (0, 1), (1, 0))] == [6, 4, 12]
    expected = {(0, 0): "AA", (0, 1): "AKs", (1, 0): "AKo", (12, 11): "32o"}
    assert {(row, column): names()[row][column] for row, column in expected} == expected
    for decision in solved[1]:
        shares, weights = decision.grid()
        if weights.sum() > 0:
            mean = (shares * weights[..., None]).sum(axis=(0, 1)) / weights.sum()
            np.testing.assert_allclose(mean, decision.frequencies(), atol=1e-9)


def test_the_page_holds_every_decision_and_nothing_from_elsewhere(
    solved: tuple[Solution, list[Decision]],
) -> None:
    solution, every = solved
    text = page(solution, every)
    start = text.index("const answer = ") + len("const answer = ")
    answer = json.loads(text[start : text.index(";\n", start)])
    assert answer["decisions"] == json.loads(json.dumps([each.to_json() for each in every]))
    assert "http" not in text.replace(json.dumps(answer), "")
    assert text.count("<script>") == text.count("</script>") == 1


def test_nodes_and_page_of_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "spot.html"
    assert tenfold(monkeypatch, SPOT, "--json", "--nodes", "--html", str(file)) == 0
    nodes = json.loads(capsys.readouterr().out)["nodes"]
    assert [node["line"] for node in nodes][:2] == [[], ["check"]]
    assert f'"line": {json.dumps(nodes[-1]["line"])}' in file.read_text()
    assert tenfold(monkeypatch, SPOT, "--nodes") == 2
    assert "give --json too" in capsys.readouterr().err
    assert tenfold(monkeypatch, SPOT, "--html", str(tmp_path / "none" / "x.html")) == 2
    assert "there is no folder" in capsys.readouterr().err


def test_the_grid_of_the_command_names_all_classes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tenfold(monkeypatch, SPOT, "--grid") == 0
    said = capsys.readouterr().out
    assert said.splitlines()[0].split()[:3] == ["AA", "AKs", "AQs"]
    assert "bet 1000 all-in" in said


def question(**changes: Any) -> dict[str, list[str]]:
    return {key: value for key, value in {**SPOT, **changes}.items() if value is not None}


def test_a_saved_tree_goes_on_as_if_it_had_not_been_stopped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def answer(options: dict[str, list[str]], *more: str) -> dict[str, Any]:
        assert tenfold(monkeypatch, options, "--json", *more) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        del found["seconds"]
        return found

    file = str(tmp_path / "solved.npz")
    for variant, kept in (("dcfr", ()), ("pcfr+", ()), ("dcfr", ("--compressed",))):
        spot = question(**{"--variant": [variant]})
        whole = answer(spot, *kept)
        half = answer({**spot, "--iterations": ["120"]}, "--save", file, *kept)
        assert half["iterations"] == 120
        assert answer({"--load": [file], "--iterations": ["300"]}) == whole
        # Shown, not solved on, when it has as many iterations already.
        assert answer({"--load": [file], "--iterations": ["120"]}) == half


def test_what_stands_beside_a_solved_tree_or_lacks_without_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "solved.npz"
    few = question(**{"--iterations": ["5"]})
    assert tenfold(monkeypatch, few, "--save", str(file)) == 0
    capsys.readouterr()
    for options, sentence in (
        ({"--load": [str(file)], "--pot": ["5"]}, "'--pot' is in '"),
        ({"--board": ["AsKd7h2c3d"], "--pot": ["5"]}, "Option '--stacks' is missing"),
        ({"--load": [str(tmp_path / "none")]}, "is no solved tree"),
    ):
        assert tenfold(monkeypatch, options) == 2
        assert sentence in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_damaged_tree_is_refused(
    share: float,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    file = tmp_path / "solved.npz"
    assert tenfold(monkeypatch, question(**{"--iterations": ["5"]}), "--save", str(file)) == 0
    whole = file.read_bytes()
    file.write_bytes(whole[: int(share * len(whole))])
    assert tenfold(monkeypatch, {"--load": [str(file)]}) == 2
    assert "is no solved tree, or damaged" in " ".join(capsys.readouterr().err.split())


def test_numbers_of_another_tree_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "solved.npz"
    assert tenfold(monkeypatch, question(**{"--iterations": ["5"]}), "--save", str(file)) == 0
    asked, numbers = load_solved(file)
    save_solved(file, asked.model_copy(update={"max_raises": 1, "sizes": ("0.3,allin",)}), numbers)
    assert tenfold(monkeypatch, {"--load": [str(file)]}) == 2
    assert "of another tree" in capsys.readouterr().err
    numbers["sums"][0] = np.nan
    save_solved(file, asked, numbers)
    assert tenfold(monkeypatch, {"--load": [str(file)]}) == 2
    assert "are no numbers any more" in capsys.readouterr().err


def test_rake_and_locks_of_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    locks, file = tmp_path / "locks.yaml", str(tmp_path / "solved.npz")
    locks.write_text("locks:\n  - {line: [check], strategy: {check: 0.75, allin: 0.25}}\n")
    spot = question(**{"--rake": ["5%"], "--rake-cap": ["60"], "--locks": [str(locks)]})

    def solved(options: dict[str, list[str]]) -> dict[str, Any]:
        assert tenfold(monkeypatch, options, "--json", "--nodes") == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        del found["seconds"]
        return found

    found = solved({**spot, "--save": [file]})
    assert found["rake"]["share"] == 0.05
    assert found["rake"]["cap"] == 60.0
    assert found["rake"]["chips"] == pytest.approx(1000 - sum(found["ev"]))
    assert 50 - 1e-3 < found["rake"]["chips"] < 60
    (checked,) = (node for node in found["nodes"] if node["line"] == ["check"])
    assert checked["frequencies"] == [0.75, 0.25]
    assert {tuple(hand["strategy"]) for hand in checked["hands"].values()} == {(0.75, 0.25)}
    locks.unlink()
    assert solved({"--load": [file], "--iterations": ["300"]}) == found
    assert tenfold(monkeypatch, {"--load": [file]}) == 0
    assert "for the house" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("wide", [True, False])
def test_a_report_has_the_ev_of_each_action(
    wide: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "120" if wide else "70")
    assert tenfold(monkeypatch, SPOT) == 0
    said, told = capsys.readouterr()
    lines = [[cell.strip() for cell in re.split("[│┃]", line)[1:-1]] for line in said.splitlines()]
    head = ["hand", "weight", "check", "bet 1000 all-in", "EV", "equity"]
    rows = {cells[0]: cells[2:] for cells in lines if cells}
    if wide:
        assert lines[1] == [*head[:3], "EV", head[3], *["EV"] * 2, "equity"]
        assert len(rows["AhAd"]) == 6
        assert rows["equity"] == ["1.000", "", "1.000", "", "", ""]
    else:
        assert lines[1] == head
        assert rows["equity"] == ["1.000", "1.000", "", ""]
        assert [float(cell) for cell in rows["EV"][:2]] == pytest.approx([1000, 1000], rel=0.01)
    assert "An iteration takes less than 0.01 s, 300 of them less than 0.01 s." in told
