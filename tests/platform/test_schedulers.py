"""Schedulers: cells, lengths, and what a population may change, of every method (60 s)."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from ray.tune.search.sample import Categorical

from tenfold.platform import launch
from tenfold.platform.errors import InputError
from tenfold.platform.experiment import Experiment, make_experiment
from tenfold.platform.registry import Method, Space, methods
from tenfold.platform.schedulers import PerCell, make_scheduler
from tenfold.platform.search import all_points
from tenfold.platform.study import Study, resolve_study
from tenfold.platform.trial import SCORE, trial_class

METHODS = methods()
SPACES = [(method, space) for method in METHODS.values() for space in method.load_spaces()]


class Controller:
    """What schedulers ask of Tune's controller."""

    search_alg = None

    def __init__(self) -> None:
        self.trials: list[Trial] = []

    def get_trials(self) -> list[Trial]:
        return self.trials

    get_live_trials = get_trials


def trial_of(task: str, seed: int, **values: Any) -> Trial:
    config = {"task": task, "variant": "ucb1", "seed": seed, **values}
    return Trial("ucb1", config=config, stub=True)


def study_of(experiment: Experiment) -> Study:
    """A study that is not held against its method: smoke settings may be swept as well."""
    space = experiment.search_space()
    return Study(experiment, METHODS[experiment.method], space.define(tune) if space else {})


def scheduler_of(experiment: Experiment, length: tuple[str, float]) -> PerCell:
    study = study_of(experiment)
    made = make_scheduler(study, length, at_once=None)
    assert isinstance(made, PerCell)
    made.set_search_properties(SCORE, study.method.mode)
    return made


def halving() -> Experiment:
    return make_experiment({"method": "ucb1", "space": "default", "scheduler": "asha"})


def test_a_hard_task_is_not_stopped_for_the_sake_of_an_easy_one() -> None:
    """Ten good trials of one task say nothing about the trials of another."""
    asha, controller = scheduler_of(halving(), ("pulls", 1600.0)), Controller()
    for number in range(10):
        easy = trial_of("two-arms", 0, c=float(number))
        asha.on_trial_add(controller, easy)
        asha.on_trial_result(controller, easy, {"pulls": 100.0, SCORE: float(number)})
    hard = trial_of("ten-arms", 0, c=1.0)
    asha.on_trial_add(controller, hard)
    hopeless = {"pulls": 100.0, SCORE: 1e6}
    assert asha.on_trial_result(controller, hard, hopeless) == TrialScheduler.CONTINUE
    worst = trial_of("two-arms", 0, c=99.0)
    asha.on_trial_add(controller, worst)
    assert asha.on_trial_result(controller, worst, hopeless) == TrialScheduler.STOP


def test_halving_counts_the_methods_steps_up_to_the_length_of_a_trial() -> None:
    """A trial is judged at 1/16 of its length and later, and runs on to its end."""
    asha, controller = scheduler_of(halving(), ("pulls", 100_000.0)), Controller()
    best, other = trial_of("two-arms", 0, c=1.0), trial_of("two-arms", 0, c=2.0)
    for trial in (best, other):
        asha.on_trial_add(controller, trial)
    for iteration in range(1, 2_000):  # far more iterations than Tune's own limit of 100
        result = {"pulls": 50.0 * iteration, "training_iteration": iteration, SCORE: 1.0}
        assert asha.on_trial_result(controller, best, result) == TrialScheduler.CONTINUE
    early = {"pulls": 6_200.0, SCORE: 5.0}
    assert asha.on_trial_result(controller, other, early) == TrialScheduler.CONTINUE
    due = {"pulls": 6_250.0, SCORE: 5.0}
    assert asha.on_trial_result(controller, other, due) == TrialScheduler.STOP


def test_a_diverged_trial_is_stopped_first() -> None:
    asha, controller = scheduler_of(halving(), ("pulls", 1600.0)), Controller()
    found = [trial_of("two-arms", 0, c=float(number)) for number in range(5)]
    for number, trial in enumerate(found[:4]):
        asha.on_trial_add(controller, trial)
        asha.on_trial_result(controller, trial, {"pulls": 100.0, SCORE: float(number)})
    asha.on_trial_add(controller, found[4])
    diverged = {"pulls": 100.0, SCORE: 1e100}
    assert asha.on_trial_result(controller, found[4], diverged) == TrialScheduler.STOP


def test_a_limited_population_takes_turns() -> None:
    experiment = make_experiment({"method": "ucb1", "space": "default", "scheduler": "pbt"})
    scheduler = make_scheduler(study_of(experiment), ("pulls", 1.0), at_once=1)
    assert isinstance(scheduler, PerCell)
    scheduler.set_search_properties(SCORE, "min")
    controller = Controller()
    controller.trials = [trial_of("two-arms", 0, c=float(number)) for number in (1, 2, 3)]
    first, second, _ = controller.trials
    first.run_metadata.last_result = {"training_iteration": 3}
    first.status, second.status = Trial.PAUSED, Trial.PENDING
    assert scheduler.choose_trial_to_run(controller) is second
    second.status = Trial.RUNNING
    assert scheduler.choose_trial_to_run(controller) is None


@pytest.mark.parametrize(
    ("method", "space"), SPACES, ids=[f"{method.name}-{space}" for method, space in SPACES]
)
@pytest.mark.parametrize("scheduler", ["asha", "median", "pbt"])
def test_every_scheduler_takes_every_space_or_says_why_not(
    method: Method, space: str, scheduler: str
) -> None:
    fields = {"method": method.name, "space": space, "scheduler": scheduler, "seeds": 2}
    experiment = make_experiment({**fields, "search": "random", "config": method.smoke})
    study = study_of(experiment)
    swept = study.domains
    if scheduler == "pbt" and not set(swept) & set(method.adjustable):
        with pytest.raises(InputError, match="changes keys in mid-run"):
            resolve_study(experiment.model_copy(update={"config": {}}))
        return
    axis, end = launch._length(study) or ("", 0.0)
    assert axis in (method.step_metric, "training_iteration")
    assert end > 0
    scheduler_of(experiment, (axis, end))
    if all(isinstance(domain, Categorical) for domain in swept.values()):
        grid = make_experiment({**fields, "search": "grid", "config": method.smoke})
        sizes = math.prod(len(domain.categories) for domain in swept.values())
        assert len(all_points(study_of(grid))) == 2 * sizes


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"method": "ucb1", "space": "default", "samples": 1, "seeds": 3}, "'samples' is 1"),
        ({"method": "omnet", "space": "default", "samples": 4}, "no two share .* sparsity"),
        ({"method": "omnet", "space": {"sparsity": [0.5, 0.7], "tau": [0.1, 0.2]}}, None),
        ({"method": "ucb1", "space": "default", "samples": 2, "seeds": 3}, None),
    ],
    ids=["one sample", "a key of its own each", "a short list", "two samples"],
)
def test_a_population_of_one_is_refused_before_ray_starts(
    fields: dict[str, Any], said: str | None, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = make_experiment({"search": "random", "samples": 4, "scheduler": "pbt", **fields})
    started: list[Experiment] = []

    def start(experiment: Experiment, address: str | None) -> None:
        started.append(experiment)
        raise InputError("Ray is not started.")

    monkeypatch.setattr(launch, "start_ray", start)
    with pytest.raises(InputError, match=said or "Ray is not started"):
        launch.launch(resolve_study(experiment), f"sqlite:///{runs}/mlflow.db")
    assert started == ([] if said else [experiment])


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
def test_a_population_never_leaves_its_space(method: Method) -> None:
    """What exploration makes of a member's values stays in the lists and between the bounds."""
    for name in method.load_spaces():
        fields = {"method": method.name, "space": name, "scheduler": "pbt", "search": "random"}
        experiment = make_experiment({**fields, "config": method.smoke, "samples": 4})
        study = study_of(experiment)
        swept = study.domains
        if not set(swept) & set(method.adjustable):
            continue
        scheduler = scheduler_of(experiment, ("training_iteration", 1.0))
        controller = Controller()
        for point in all_points(study):
            trial = Trial(method.name, config=point, stub=True)
            scheduler.on_trial_add(controller, trial)
            own = scheduler._own[trial.trial_id]
            for _ in range(60):
                config, _ = own._get_new_config(trial, trial)
                trial.config = config
                for key, domain in swept.items():
                    assert domain.is_valid(config[key]), (name, key, config[key])
                    if key not in method.adjustable:
                        assert config[key] == point[key]


def handovers() -> Iterator[tuple[Method, Space]]:
    """As few spaces of every method as sweep all its adjustable keys between them."""
    for method in METHODS.values():
        spaces = [(set(space.define(tune)), space) for space in method.load_spaces().values()]
        left = set(method.adjustable) & set().union(*(keys for keys, _ in spaces))
        while left:
            keys, space = max(spaces, key=lambda each: len(each[0] & left))
            yield method, space
            left -= keys


HANDOVERS = list(handovers())


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize(("method", "space"), HANDOVERS, ids=[each[0].name for each in HANDOVERS])
def test_a_checkpoint_goes_on_under_other_values_of_the_adjustable_keys(
    method: Method, space: Space, tmp_path: Path
) -> None:
    """As population-based training does it: another trial's checkpoint, a changed config."""
    ends = {
        key: (domain.categories[0], domain.categories[-1])
        if isinstance(domain, Categorical)
        else (domain.lower, domain.upper)
        for key, domain in space.define(tune).items()
    }
    swept = {key: values[0] for key, values in ends.items() if key not in method.smoke}
    second = {key: ends[key][1] for key in ends if key in method.adjustable}
    experiment = make_experiment({"method": method.name, "config": method.smoke})
    build = trial_class(study_of(experiment))
    point = {"task": experiment.tasks[0], "variant": experiment.variants[0], "seed": 0, **swept}
    donor = build(point)
    before = donor.train()
    donor.save_checkpoint(str(tmp_path))
    donor.stop()
    member = build({**point, **second})
    member.load_checkpoint(str(tmp_path))
    after = member.train()
    assert after[method.step_metric] > before[method.step_metric]
    for key, value in second.items():
        for rate in learning_rates(member, key):
            assert rate == pytest.approx(value)
    member.stop()


def learning_rates(algorithm: Any, key: str) -> list[float]:
    """The rates that RLlib's optimizers really use, where the key is one."""
    group = getattr(algorithm, "learner_group", None)
    ending = {"lr": "", "actor_lr": "_policy", "critic_lr": "_qf"}.get(key)
    if group is None or ending is None:
        return []
    optimizers = group._learner._named_optimizers
    return [
        each["lr"]
        for name, optimizer in optimizers.items()
        if name.endswith(ending)
        for each in optimizer.param_groups
    ]
