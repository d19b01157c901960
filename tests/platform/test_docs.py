"""README.md and docs/ run as written, in an empty folder whose files the test makes.

A block that is not run says why in a comment before it. The commands of the methods' READMEs, which
run for minutes to hours, are checked up to their start.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import ROOT, install_example, invoke

from tenfold.platform import best_points, cli, study
from tenfold.platform.experiment import make_experiment

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
METHODS = [
    ROOT / "algorithms" / name
    for name in (
        "dom2/README.md",
        "icvar/README.md",
        "icvar_deep/README.md",
        "mst/README.md",
        "qsr/README.md",
        "risk_pomdp/README.md",
        "risk_pomdp_deep/README.md",
        "rl_cfr/LEARNING.md",
        "rs_disrl/README.md",
        "rs_disrl_deep/README.md",
        "rs_disrl_sac/README.md",
    )
]
# What tests of their own run: the methods that a page shows, how they are declared, images.
COVERED = {
    "adding-a-method.md": {"python", "toml", ""},  # test_adding_a_method.py
    "tutorial.md": {"python", "toml"},  # its files: written, its method's installed, below
    "offline-multi-agent.md": {"python"},  # test_offline.py
    "experiment.md": {"json"},  # a setting of an editor
    "models.md": {"python"},  # test_export.py
}
_BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^\n]+) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and why it is not run if it is not."""

    language: str
    text: str
    reason: str | None


def blocks(page: Path) -> list[Block]:
    return [
        Block(found["language"], found["text"], found["reason"])
        for found in _BLOCK.finditer(page.read_text())
    ]


def commands(page: Path) -> Iterator[list[str]]:
    """The words of every command that is to be run, in their order."""
    for block in blocks(page):
        if block.language == "" and block.reason is None:
            for line in block.text.replace("\\\n", " ").splitlines():
                if line.strip() and not line.startswith("#"):
                    yield shlex.split(line, comments=True)


def by_name(page: Path) -> str:
    return f"{page.parent.name}-{page.stem}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the files that the pages take as the user's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TENFOLD_RUNS", raising=False)
    rng = np.random.default_rng(0)
    log = [f"{1_700_000_000 + i // 4},{'web' if i % 3 else 'db'}" for i in range(8_000)]
    Path("requests.csv").write_text("\n".join(["time,service", *log]) + "\n")
    worlds = (ROOT / "envs" / "risk" / "README.md").read_text()
    tiger = re.search(r"^```pomdp\n(.*?)^```", worlds, re.DOTALL | re.MULTILINE)
    assert tiger is not None
    Path("tiger.pomdp").write_text(tiger[1])
    moves = rng.dirichlet(np.ones(3), size=(2, 3))
    np.savez("machine.npz", transition=moves, reward=[[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]], H=3)
    Path("machine.json").write_text(
        '{"transition": [[[0.9, 0.1], [0.0, 1.0]], [[0.6, 0.4], [0.0, 1.0]]],'
        ' "reward": [[2, 5], [1, -4]], "initial": 0, "H": 6}'
    )
    Path("my_texts").mkdir()
    words = np.array(["a", "text", "of", "one's", "own", "is", "read", "byte", "by", "byte"])
    for name in ("one.txt", "two.txt"):
        Path("my_texts", name).write_text(" ".join(rng.choice(words, 5_000)))
    from PIL import Image

    for label in ("dark", "light"):
        Path("my_images", label).mkdir(parents=True)
        for i in range(60):
            pixels = rng.integers(0, 128, (32, 32, 3)) + 127 * (label == "light")
            Image.fromarray(pixels.astype(np.uint8)).save(f"my_images/{label}/{i}.png")
    Path("experiments/queues").mkdir(parents=True)
    demo = yaml.safe_load((ROOT / "experiments" / "queues" / "demo.yaml").read_text())
    demo["config"] |= {"horizon": 2_000, "replicas": 2}  # as it stands it takes a minute
    demo |= {"variants": ["softmw", "uniform"], "seeds": 1}
    Path("experiments/queues/demo.yaml").write_text(yaml.safe_dump(demo))
    return tmp_path


def newest_trial(folder: Path) -> str:
    """The MLflow id that a user copies from the end of a run of softmw, or from `tenfold ui`."""
    from mlflow import MlflowClient
    from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

    client = MlflowClient(f"sqlite:///{folder / 'runs' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("softmw")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id], order_by=["start_time DESC"])
    return next(run.info.run_id for run in found if MLFLOW_PARENT_RUN_ID in run.data.tags)


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_every_block_is_run_or_says_why_not(page: Path) -> None:
    known = {"", "yaml"} | COVERED.get(page.name, set())
    for block in blocks(page):
        assert block.language in known, block.text
        assert block.reason is None or len(block.reason.split()) > 2
    for words in commands(page):
        known_programs = {"tenfold", "python"} if page.name == "tutorial.md" else {"tenfold"}
        assert words[0] in known_programs, f"not a command that this test runs: {words}"
    assert len(blocks(page)) * 2 == len(re.findall("^```", page.read_text(), re.MULTILINE))


@pytest.mark.usefixtures("ray_session", "in_process")
@pytest.mark.parametrize(
    "page", [p for p in PAGES if p.name != "adding-a-method.md" and any(commands(p))], ids=by_name
)
def test_the_commands_of_a_page_run(page: Path, folder: Path, more_methods: Path) -> None:
    if page.name == "tutorial.md":
        install_example(more_methods, "coins", page.name)
        script = next(block.text for block in blocks(page) if "requests.csv" in block.text)
        Path("make_log.py").write_text(script)
        Path("requests.csv").unlink()  # the page makes its own
    for block in blocks(page):
        if block.language == "yaml" and "method:" in block.text:
            Path("experiment.yaml").write_text(block.text)
    for words in commands(page):
        if words[0] == "python":
            subprocess.run([sys.executable, *words[1:]], check=True)
            continue
        arguments = [newest_trial(folder) if word == "RUN_ID" else word for word in words[1:]]
        if arguments[0] in ("run", "sweep"):
            # On two cores what starts a trial's process takes longer than these trials.
            arguments += ["--concurrent", "1"]
        done = invoke(*arguments)
        # A doctor that finds something says so by 1.
        expected = (0, 1) if arguments == ["doctor"] else (0,)
        assert done.exit_code in expected, f"{shlex.join(words)}\n{done.output}\n{done.exception!r}"
    assert (folder / "runs").exists() or all("run" not in words for words in commands(page))


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_the_experiments_of_a_page_are_valid(page: Path) -> None:
    for block in blocks(page):
        if block.language == "yaml":
            study.resolve_study(make_experiment(yaml.safe_load(block.text)))


@pytest.mark.parametrize("page", METHODS, ids=by_name)
def test_the_commands_of_a_method_are_valid_up_to_their_start(
    page: Path, folder: Path, launched: list[study.Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = re.findall(r"^tenfold (?:run|sweep) .*$", page.read_text(), re.MULTILINE)
    expected = [shlex.split(line, comments=True) for line in shown]
    Path("experiments").rename("demo")
    Path("experiments").symlink_to(ROOT / "experiments")
    # The sweeps before are not run here, so that no store says what was best in them.
    monkeypatch.setattr(best_points, "best_points", lambda *_: [])
    for words in expected:
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as left:
            cli.main()
        assert left.value.code in (0, None), words
    assert len(launched) == len(expected) > 0


def test_no_line_is_long() -> None:
    pages = [*PAGES, *ROOT.glob("*.md"), *ROOT.glob("algorithms/*/*.md"), *ROOT.glob("envs/*/*.md")]
    found = [
        f"{page.relative_to(ROOT)}: {line[:60]}"
        for page in pages
        for line in page.read_text().splitlines()
        if len(line) > 120
    ]
    assert found == []


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


@pytest.mark.slow
def test_the_site_builds_without_a_broken_link(tmp_path: Path) -> None:
    """As `make docs`; some 16 seconds of processor time, most of it for the API reference."""
    typing = ROOT / ".venv" / "typing" / "tenfold"
    typing.mkdir(parents=True, exist_ok=True)
    for name in ("platform", "algorithms", "envs", "tune_spaces"):
        if not (typing / name).is_symlink():
            (typing / name).symlink_to(ROOT / name)
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict"]
    built = subprocess.run(
        [*command, "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    index = (tmp_path / "site" / "index.html").read_text()
    assert 'href="methods/softmw.html"' in index
    assert 'href="tutorial.ipynb"' in (tmp_path / "site" / "tutorial.html").read_text()
    assert (tmp_path / "site" / "tutorial.ipynb").exists()
    # Whoever opens the pages without a network sees them whole.
    for page in (tmp_path / "site").rglob("*.html"):
        fetched = re.findall(
            r'<(?:script|link|img)[^>]*?(?:src|href)="(https?:[^"]+)', page.read_text()
        )
        assert fetched == []
    reference = (tmp_path / "site" / "reference" / "platform.html").read_text()
    assert 'id="tenfold.platform.experiment.Experiment"' in reference
