"""`make evidence`: a reduced headline of every paper, run by `tenfold`, on one page.

python -m experiments.evidence.page [METHOD ...]

Each experiment of this folder is run (`tenfold run`), or gone on with, and what `claims.yaml` says
of it is checked on the trials that MLflow has. A paper that is measured has a file in
`runs/evidence` and is not run again unless its claim or experiment changes. Figures are kept in
experiments/results/evidence, and the page that is made of them is docs/evidence.md.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import pandas as pd
import yaml
from mlflow import MlflowClient
from pydantic import BaseModel, ConfigDict, TypeAdapter

from tenfold.platform.compare import collect
from tenfold.platform.registry import get_method
from tenfold.platform.runs import Selection
from tenfold.platform.statistics import Estimate, difference_interval, mean_interval
from tenfold.platform.store import runs_folder, tracking_uri
from tenfold.platform.tables import interval, number, plus_minus

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGE = ROOT / "docs" / "evidence.md"
RESULTS = HERE.parent / "results" / "evidence"


class Rows(BaseModel):
    """A column of a table of results, a row a seed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    table: str
    rows: dict[str, str | float]
    column: str

    def scores(self) -> dict[int, float]:
        """By seed."""
        table = pd.read_csv(ROOT / self.table)
        for key, value in self.rows.items():
            table = table[table[key] == value]
        return dict(zip(table["seed"], table[self.column], strict=True))

    def __str__(self) -> str:
        return " ".join(v if isinstance(v, str) else f"{v:g}" for v in self.rows.values())


class Check(BaseModel):
    """`ours` is better than `factor` times `theirs`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ours: str
    theirs: str | Rows
    better: Literal["min", "max"]
    metric: str | None = None
    factor: float = 1.0
    task: str | None = None  # where the experiment has several


class Claim(BaseModel):
    """What a paper says, and what is measured of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str
    paper: str
    short: str
    claim: str
    protocol: str
    checks: list[Check]

    @property
    def file(self) -> Path:
        """The experiment."""
        return HERE / f"{self.method}.yaml"

    def fingerprint(self) -> str:
        """Changes with what is run and how it is checked."""
        checks = self.model_dump_json(include={"checks"}, exclude_defaults=True).encode()
        return hashlib.sha256(checks + self.file.read_bytes()).hexdigest()


class Measured(BaseModel):
    """A check with its figures: means over seeds, and the difference of equal seeds."""

    metric: str
    seeds: int
    ours: Estimate
    theirs: Estimate
    difference: Estimate
    holds: bool | None  # None where the interval has 0 in it, or where there is none


class Result(BaseModel):
    """What came of a claim."""

    fingerprint: str
    minutes: float
    checks: list[Measured]

    @property
    def verdict(self) -> str:
        """Reproduced if every check holds, not if none does."""
        held = [check.holds for check in self.checks]
        return "reproduced" if all(held) else "in part" if any(held) else "not"


def main() -> None:
    said = claims()
    names = [claim.method for claim in said]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("methods", nargs="*", metavar="METHOD", choices=[*names, []])
    asked = parser.parse_args().methods or names
    for claim in said:
        mark = runs_folder() / "evidence" / claim.method
        if claim.method not in asked or (mark.exists() and mark.read_text() == claim.fingerprint()):
            continue
        result = measured(claim)
        RESULTS.mkdir(parents=True, exist_ok=True)
        (RESULTS / f"{claim.method}.json").write_text(result.model_dump_json(indent=1) + "\n")
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.write_text(claim.fingerprint())
    found = results()
    PAGE.write_text(page(said, found))
    print(f"Wrote {PAGE.relative_to(ROOT)}: {len(found)} of {len(names)} papers")


def claims() -> list[Claim]:
    """All of them."""
    text = (HERE / "claims.yaml").read_text()
    return TypeAdapter(list[Claim]).validate_python(yaml.safe_load(text))


def results() -> dict[str, Result]:
    """What is measured, by method."""
    return {
        file.stem: Result.model_validate_json(file.read_text()) for file in RESULTS.glob("*.json")
    }


def measured(claim: Claim) -> Result:
    """Run a claim's experiment, and check it."""
    name = yaml.safe_load(claim.file.read_text())["name"]
    begun = any((runs_folder() / "tune").glob(f"{name}-*"))
    began = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-m", "tenfold.platform.cli", "run", str(claim.file)]
        + (["--resume"] if begun else []),
        env={"OMP_NUM_THREADS": "1", **os.environ},
    )
    if ended.returncode:  # it has said why
        sys.exit(ended.returncode)
    minutes = (time.monotonic() - began) / 60
    checks = [checked(claim, check, name) for check in claim.checks]
    return Result(fingerprint=claim.fingerprint(), minutes=minutes, checks=checks)


def checked(claim: Claim, check: Check, name: str) -> Measured:
    """The figures of a check, from the trials of the newest run of its experiment."""
    method = get_method(claim.method)
    metric = check.metric or method.metric
    found = collect(
        MlflowClient(tracking_uri=tracking_uri()),
        Selection([name], last=True),
        by=["variant"],
        metric=metric,
        mode=check.better,
        at="end",
        mix=True,
    )
    by_seed: dict[str, dict[int, float]] = {}
    for run in found.runs:
        if run.score is not None and check.task in (None, run.task):
            by_seed.setdefault(run.group, {})[int(run.seed)] = run.score
    ours = by_seed[check.ours]
    theirs = check.theirs.scores() if isinstance(check.theirs, Rows) else by_seed[check.theirs]
    seeds = sorted(ours.keys() & theirs.keys())
    pair = [ours[seed] for seed in seeds], [check.factor * theirs[seed] for seed in seeds]
    difference = difference_interval(pair, paired=True)
    return Measured(
        metric=metric,
        seeds=len(seeds),
        ours=mean_interval(pair[0]),
        theirs=mean_interval([theirs[seed] for seed in seeds]),
        difference=difference,
        holds=holds(difference, check.better),
    )


def holds(difference: Estimate, better: str) -> bool | None:
    """Whether ours less theirs is on the better side with its interval; None if on neither."""
    if difference.low is None or difference.high is None:
        return None
    good, bad = (difference.high < 0, difference.low > 0)
    if better == "max":
        good, bad = bad, good
    return True if good else False if bad else None


WORDS = {True: "yes", False: "no, worse", None: "open"}


ABOUT = """\
What ten papers claim, and what a reduced run of each shows here. `make evidence` runs all of it
through `tenfold run`, goes on where it was interrupted, and writes this page ({minutes:.0f}
minutes on two cores). A check holds if the 95 % interval of the difference, by equal seeds, lies
on the better side of 0; it is open if 0 is in it. *Reproduced*: every check of a claim holds; *in
part*: some do; *not*: none does. Among the checks are the strongest simple baselines that we know,
also where the paper has not got them. Full runs, and why something is not so, are in the READMEs.
"""


def page(said: Sequence[Claim], found: Mapping[str, Result]) -> str:
    """The page as Markdown."""
    minutes = sum(result.minutes for result in found.values())
    rows = [
        f"| [{claim.method}](#{claim.method}) | {claim.paper} | {claim.short} | "
        f"{found[claim.method].verdict if claim.method in found else 'not run'} |"
        for claim in said
    ]
    parts = [section(claim, found[claim.method]) for claim in said if claim.method in found]
    about = wrapped(ABOUT.format(minutes=minutes))
    head = [
        "# Evidence",
        "",
        about,
        "",
        "| method | paper | claim | verdict |",
        "|---|---|---|---|",
    ]
    return "\n".join([*head, *rows, "", *parts])


def between(difference: Estimate) -> str:
    """Its interval, or the value where every seed has the same."""
    same = difference.low == difference.high == difference.value
    return number(difference.value) if same else interval(difference)


def wrapped(text: str) -> str:
    """A paragraph in lines of at most 118 characters."""
    return textwrap.fill(text, 118, break_long_words=False, break_on_hyphens=False)


def links(papers: str) -> str:
    """Papers of arXiv, with their addresses."""
    return ", ".join(f"[{each}](https://arxiv.org/abs/{each})" for each in papers.split(", "))


def section(claim: Claim, result: Result) -> str:
    """A paper's checks."""
    lines = []
    for check, found in zip(claim.checks, result.checks, strict=True):
        metric = "" if check.metric is None else f"`{check.metric.rpartition('/')[2]}` of "
        factor = "" if check.factor == 1.0 else f"{check.factor:g} x "
        side = "below" if check.better == "min" else "above"
        where = "" if check.task is None else f", {check.task}"
        lines.append(
            f"| {metric}`{check.ours}` {side} {factor}`{check.theirs}`{where} | "
            f"{plus_minus(found.ours)} | {plus_minus(found.theirs)} | "
            f"{between(found.difference)} | {found.seeds} | {WORDS[found.holds]} |"
        )
    text = (
        f"{links(claim.paper)}. {claim.claim} Measured: {claim.protocol}. "
        f"{result.minutes:.0f} min; `tenfold run {claim.file.relative_to(ROOT)}`, "
        f"[README](../algorithms/{claim.method}/README.md)."
    )
    head = "| check | ours | theirs | difference | seeds | holds |"
    return "\n".join(
        [f"## {claim.method}", "", wrapped(text), "", head, "|---|---|---|---|---|---|", *lines, ""]
    )


if __name__ == "__main__":
    main()
