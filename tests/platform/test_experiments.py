"""The first lines of an experiment are the commands that make its table: they are valid.

Costs about 15 processor seconds.
"""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tenfold.platform import best_points, cli
from tenfold.platform.experiment import load_experiment
from tenfold.platform.study import Study, resolve_study

ROOT = Path(__file__).parents[2]
FILES = sorted(
    file
    for file in (ROOT / "experiments").glob("*/*.yaml")
    # Those of `make evidence` belong to it; a step of the recipes for ImageNet takes 4,096 images.
    if file.parent.name != "evidence" and not file.stem.startswith("imagenet")
)
# Prints the words of a command, each before a 0, in place of running it.
STAND_IN = "tenfold() { printf '%s\\0' \"$@\"; echo; }"


def commands(file: Path) -> list[list[str]]:
    """The words of each `tenfold` command in a file's comments, as a shell reads them."""
    said = re.findall(r"^#(?: |$)(.*)$", file.read_text(), re.MULTILINE)
    text = re.sub(r"\\\n\s*", "", "\n".join(said))
    variables = re.findall(r"\b[A-Z]+=(?:\"[^\"]*\"|[\w/.]+)", text)
    lines = [line for line in text.splitlines() if re.match(r" +tenfold ", line)]
    found = subprocess.run(
        ["bash", "-euc", "\n".join([STAND_IN, *variables, *lines])],
        capture_output=True,
        text=True,
        check=True,
    )
    return [line.split("\0")[:-1] for line in found.stdout.splitlines()]


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_the_commands_of_an_experiment_are_valid_up_to_their_start(
    file: Path, launched: list[Study], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("TENFOLD_RUNS", raising=False)
    monkeypatch.chdir(tmp_path)
    Path("experiments").symlink_to(ROOT / "experiments")
    # The sweeps before are not run here, so that no store says what was best in them.
    monkeypatch.setattr(best_points, "best_points", lambda *_: [])
    Path("openwebtext").mkdir()
    for split in ("train", "val"):
        np.zeros(4_000, np.uint16).tofile(Path("openwebtext", f"{split}.bin"))
    found = commands(file)
    # A file without commands of its own is run by those of the one that it names.
    named = re.search(r"(?:by the commands of|same as) (\w+\.yaml)", file.read_text())
    assert found or named
    own = [words for words in found if words[0] in ("run", "sweep")]
    for words in own or [["run", str(file.relative_to(ROOT))]]:
        monkeypatch.setattr(sys, "argv", ["tenfold", *words])
        with pytest.raises(SystemExit) as left:
            cli.main()
        assert left.value.code in (0, None), words
    assert len(launched) == max(len(own), 1)
    named_files = [file.with_name(named[1])] if named else []
    assert all(each.is_file() for each in named_files)


@pytest.mark.parametrize(
    "script", ["icvar/backlog.py", "rs_disrl/measure.py", "risk_pomdp/measure.py"]
)
def test_a_script_runs_as_a_file_and_answers_a_typo_in_one_sentence(
    script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [script, "quene"])
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(ROOT / "experiments" / script), run_name="__main__")
    assert re.fullmatch("Error: .*'quene'.*[.?]", str(left.value.code))


@pytest.mark.parametrize("method", ["icvar_deep", "rs_disrl_deep", "risk_pomdp_deep"])
def test_the_peers_of_deep_agents_answer_a_typo_in_one_sentence(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT)
    monkeypatch.setattr(sys, "argv", ["measure", "shotrcut"])
    with pytest.raises(SystemExit) as left:
        runpy.run_module(f"experiments.{method}.measure", run_name="__main__")
    assert re.fullmatch("Error: .*'shotrcut'.*[.?]", str(left.value.code))


def test_a_peer_has_the_budget_of_its_experiment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten updates of 64 steps after ten steps of each of 24 environments."""
    monkeypatch.syspath_prepend(ROOT)
    from experiments.deep_peers import Budget, same_budget

    queue = ROOT / "experiments" / "icvar_deep" / "queue.yaml"
    config = resolve_study(load_experiment(queue)).unswept("icvar_deep")
    assert same_budget(config) == Budget(
        collected=240,
        updates=10,
        lr=(0.003, 0.0003),
        batch=64,
        warmup=500,
        exploring=3_000,
        exploration=0.05,
    )
