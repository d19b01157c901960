"""What all learners with exact regret share: their metrics, and runs that go on."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tenfold.algorithms.common.regret_curve import RegretCurve
from tenfold.platform.configuration import build_config, flatten
from tenfold.platform.registry import get_method

METHODS = ("icvar", "rs_disrl", "risk_pomdp")
CASES = [(name, variant) for name in METHODS for variant in get_method(name).variants]
pytestmark = pytest.mark.usefixtures("ray_session")


@pytest.mark.parametrize(("name", "variant"), CASES, ids=[" ".join(case) for case in CASES])
def test_every_learner_measures_finite_numbers_even_after_one_episode(
    name: str, variant: str
) -> None:
    method = get_method(name)
    values = {"episodes": 2, "episodes_per_iteration": 1}
    if variant == "icvar_l_grid":
        values["epsilon"] = 0.5
    if name == "rs_disrl":
        values["judged_episodes"] = 2
    algorithm = method.load_trainable()(build_config(method, method.tasks[0], variant, values, 0))
    for measured in (algorithm.train(), algorithm.evaluate()):
        flat = flatten(measured, separator="/")
        declared = {key: flat[key] for key in (*method.metrics, "gap") if key in flat}
        assert declared
        assert np.isfinite(list(declared.values())).all(), declared
    algorithm.stop()


@pytest.mark.parametrize("name", METHODS)
def test_a_finished_run_that_goes_on_keeps_what_it_measured(name: str, tmp_path: Path) -> None:
    method = get_method(name)
    config = build_config(
        method,
        method.tasks[0],
        next(iter(method.variants)),
        {"episodes": 3, "episodes_per_iteration": 2},
        0,
    )
    finished, again = (method.load_trainable()(config.copy()) for _ in range(2))
    results = [finished.train() for _ in range(2)]
    assert [result["done"] for result in results] == [False, True]
    again.restore_from_path(finished.save_to_path(tmp_path / "saved"))
    result = again.train()
    assert (result["done"], result["episodes"], result["regret"]) == (
        True,
        3.0,
        results[1]["regret"],
    )
    for algorithm in (finished, again):
        algorithm.stop()


def trial(name: str, variant: str = "", seed: int = 0, **values: Any) -> Any:
    """The method's algorithm on its first task, or on `task`."""
    method = get_method(name)
    task, variant = values.pop("task", method.tasks[0]), variant or next(iter(method.variants))
    return method.load_trainable()(build_config(method, task, variant, values, seed))


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_the_slope_of_a_power_is_its_exponent_at_any_time(power: float) -> None:
    curve, K = RegretCurve(5_000), 5_000
    found = {}
    for k in range(1, K + 1):
        curve.add(k, 3.0 * k**power)
        found[k] = curve.slope(k)
    assert found[1] is None
    assert [found[k] for k in (2, 77, 4_321, K)] == pytest.approx([power] * 4)
    assert len(curve.marks) < 700


def test_a_slope_is_0_without_regret_and_undefined_where_it_begins_late() -> None:
    curve = RegretCurve(1_000)
    assert curve.slope(1_000) == 0.0
    for k in range(600, 1_001):
        curve.add(k, float(k))
    assert curve.slope(1_000) is None
    assert curve.slope(599) == 0.0


@pytest.mark.parametrize(
    ("name", "variant", "values"),
    [
        ("icvar", "icvar_l", {"task": "mdp/FrozenLake-v0", "env_config.H": 5}),
        ("rs_disrl", "m_lsr", {"replan_share": 0.1, "bonus_scale": 0.3}),
        ("risk_pomdp", "beta_vi", {"env_config.H": 3, "bonus_scale": 0.03}),
        ("risk_pomdp", "uniform", {"env_config.H": 2}),
    ],
)
def test_burn_in_and_last_regret_are_those_of_the_single_episodes(
    name: str, variant: str, values: dict[str, Any]
) -> None:
    K = 60
    whole = trial(name, variant, episodes=K, episodes_per_iteration=K, **values)
    single = trial(name, variant, episodes=K, episodes_per_iteration=1, **values)
    result, results = whole.train(), [single.train() for _ in range(K)]
    regret = np.array([each["regret"] for each in results])
    lost = [1.0 - each["policy_value"] / each["optimal_value"] for each in results]
    with_regret = np.flatnonzero(np.diff(regret, prepend=0.0) > 1e-9)
    far = np.flatnonzero(np.array(lost) > 0.01)
    assert len(with_regret)
    assert result["last_regret"] == with_regret[-1] + 1
    assert result["burn_in"] == (far[-1] + 1 if len(far) else 0)
    assert result["near_optimum"] == (lost[-1] <= 0.01)
    k = np.unique(np.geomspace(K // 2, K, 60).astype(int))
    if regret[k[0] - 1] > 1e-9:
        expected = np.polyfit(np.log(k), np.log(regret[k - 1]), 1)[0]
        assert result["regret_slope"] == pytest.approx(expected, abs=1e-9)
    whole.stop()
    single.stop()


@pytest.mark.parametrize(
    ("name", "variant", "values"),
    [
        ("icvar", "icvar_l_likelihood", {"check_confidence": True}),
        ("rs_disrl", "v_lsr", {"replan_share": 0.5, "check_confidence": True}),
        ("risk_pomdp", "beta_vi", {"replan_share": 0.5, "check_confidence": True}),
        ("risk_pomdp", "uniform", {"replan_share": 0.5}),
    ],
)
def test_what_is_measured_goes_on_in_a_resumed_run_and_so_does_a_policy_that_is_kept(
    name: str, variant: str, values: dict[str, Any], tmp_path: Path
) -> None:
    values |= {"episodes": 60, "episodes_per_iteration": 20, "bonus_scale": 0.1}
    straight, first, second = (trial(name, variant, **values) for _ in range(3))
    for _ in range(3):
        expected = straight.train()
    first.train()
    first.train()
    second.restore_from_path(first.save_to_path(tmp_path / "saved"))
    found = second.train()
    keys = set(get_method(name).metrics) & expected.keys() - {"planning_seconds"}
    assert {"burn_in", "regret_slope"} <= keys
    assert {key: found[key] for key in keys} == {key: expected[key] for key in keys}
    for each in (straight, first, second):
        each.stop()


@pytest.mark.parametrize("name", METHODS)
def test_a_checkpoint_of_before_the_curve_was_kept_goes_on(name: str) -> None:
    old, new = (trial(name, episodes=60, episodes_per_iteration=30) for _ in range(2))
    old.train()
    plan = deepcopy(old.get_plan())
    kept = ("episodes", "regret", "learner/")
    new.set_plan({key: value for key, value in plan.items() if key.startswith(kept)})
    found, expected = new.train(), old.train()
    assert found["episodes"] == 60.0
    if name != "rs_disrl":  # its policy is planned anew, and may be another
        assert found["regret"] == expected["regret"]
    for each in (old, new):
        each.stop()


GREEDY = {
    "icvar": {"task": "mdp/RiskyShortcut-v0"},
    "rs_disrl": {"task": "static/BudgetedPath-v0", "env_config.H": 4},
    "risk_pomdp": {"task": "pomdp/CombinationLock-v0", "env_config.H": 3},
}


@pytest.mark.parametrize(
    ("name", "valid"),
    [
        ("icvar", "icvar_l_theory"),
        ("icvar", "icvar_l_likelihood"),
        ("rs_disrl", "m_lsr_theory"),
        ("rs_disrl", "v_mle_theory"),
        ("risk_pomdp", "beta_vi_theory"),
        ("risk_pomdp", "beta_vi_likelihood"),
    ],
)
def test_a_valid_bonus_covers_the_truth_and_a_greedy_learner_does_not(
    name: str, valid: str
) -> None:
    values = {"episodes": 100, "check_confidence": True, **GREEDY[name]}
    covered = {}
    for variant in (valid, "greedy"):
        algorithm = trial(name, variant, **values)
        result = algorithm.train()
        covered[variant] = result["covered"], result["optimistic"]
        algorithm.stop()
    assert covered[valid] == (1.0, 1.0)
    assert covered["greedy"][0] < 0.9
    assert covered["greedy"][1] < 0.5
    unchecked = trial(name, valid, episodes=1)
    assert "covered" not in unchecked.train()
    unchecked.stop()
