"""`tenfold solve`: a known answer as JSON, and mistakes in one sentence with exit code 2."""

import json
import sys

import pytest

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


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"--board": ["AsKx7h2c3d"]}, "Unknown card 'Kx'"),
        ({"--board": ["AsAs7h2c3d"]}, "Card 'As' stands twice"),
        ({"--board": ["AsKd7h"]}, "is a flop"),
        ({"--board": ["AsKd"]}, "has 2 cards"),
        ({"--pot": ["0"]}, "Pot 0"),
        ({"--stacks": ["lots"]}, "Bad stacks 'lots'"),
        ({"--ranges": ["AA"]}, "1 ranges given"),
        ({"--ranges": ["AA", "AKx"]}, "Cannot read range 'AKx'"),
        ({"--ranges": ["AA", "22+,KK:0.5"]}, "twice, by '22+' and by 'KK:0.5'"),
        ({"--ranges": ["AA", "KK:200"]}, "Bad weight '200'"),
        ({"--sizes": ["half"]}, "Unknown bet size 'half'"),
        ({"--iterations": ["0"]}, "0 iterations"),
        ({"--variant": ["fast"]}, "fast"),
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
