"""What all learners with exact regret share: finite metrics, and a finished run that goes on."""

from pathlib import Path

import numpy as np
import pytest

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
