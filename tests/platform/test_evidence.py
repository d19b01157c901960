"""The page of evidence follows from its figures, and its claims name what is there (2 s)."""

import importlib.util
import sys
from types import ModuleType

import pytest
import yaml
from conftest import ROOT

from tenfold.platform.experiment import make_experiment
from tenfold.platform.registry import get_method
from tenfold.platform.statistics import Estimate
from tenfold.platform.study import resolve_study


@pytest.fixture(scope="module")
def evidence() -> ModuleType:
    file = ROOT / "experiments" / "evidence" / "page.py"
    spec = importlib.util.spec_from_file_location("evidence_page", file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["evidence_page"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_claims_compare_variants_and_metrics_of_their_experiments(evidence: ModuleType) -> None:
    for claim in evidence.claims():
        experiment = resolve_study(
            make_experiment(yaml.safe_load(claim.file.read_text()))
        ).experiment
        assert experiment.method == claim.method
        assert len(experiment.seeds) >= 3
        for check in claim.checks:
            assert check.ours in experiment.variants
            assert (
                len(experiment.tasks) == 1 if check.task is None else check.task in experiment.tasks
            )
            assert check.metric in (None, *get_method(claim.method).metrics)
            if isinstance(check.theirs, str):
                assert check.theirs in experiment.variants
            else:
                assert set(experiment.seeds) <= check.theirs.scores().keys()


def test_the_page_is_that_of_the_figures_and_these_are_of_its_claims(evidence: ModuleType) -> None:
    found = evidence.results()
    assert evidence.PAGE.read_text() == evidence.page(evidence.claims(), found)
    for claim in evidence.claims():
        assert found[claim.method].fingerprint == claim.fingerprint()


@pytest.mark.parametrize(
    ("low", "high", "better", "holds"),
    [
        (-2.0, -1.0, "min", True),
        (-2.0, -1.0, "max", False),
        (1.0, 2.0, "max", True),
        (-1.0, 1.0, "min", None),
        (None, None, "min", None),
    ],
)
def test_a_check_holds_by_its_whole_interval(
    low: float | None, high: float | None, better: str, holds: bool | None, evidence: ModuleType
) -> None:
    assert evidence.holds(Estimate(0.0, low, high), better) is holds
