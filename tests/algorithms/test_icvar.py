"""Iterated CVaR: exact planning, the operator on grids, and what the learners guarantee."""

from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linprog

from tenfold.algorithms.icvar.algorithm import ICVaR
from tenfold.algorithms.icvar.baselines import EpsilonGreedy, TabularUCB
from tenfold.algorithms.icvar.config import ICVaRConfig
from tenfold.algorithms.icvar.ensemble import NeuralEnsemble
from tenfold.algorithms.icvar.general import FiniteClass, ICVaRG, LinearClass, mixtures
from tenfold.algorithms.icvar.linear import ICVaRL, confidence_radius
from tenfold.algorithms.icvar.operators import (
    exact_cvar,
    grid_cvar,
    shortfalls,
    uniform_grid,
)
from tenfold.algorithms.icvar.planner import IteratedCVaR
from tenfold.envs.risk.benchmarks import make_task, switching_alpha
from tenfold.envs.risk.mdp import TabularMDP, brute_force
from tenfold.envs.risk.measures import CVaR
from tenfold.envs.risk.mixture import Mixture
from tenfold.envs.risk.names import TASK_NAMES

SMALL = {"S": 4, "A": 2, "H": 3, "d": 2}


def small_task(instance: int = 0, alpha: float = 0.4, **fields: float) -> Mixture:
    return make_task("mdp/RandomMixture-v0", alpha, **{**SMALL, "instance": instance, **fields})


def play(learner, task: Mixture, episodes: int, seed: int = 0) -> None:
    for k in range(episodes):
        solution = learner.plan(np.random.default_rng([seed, k, 0]))
        learner.update(task.mdp.play(solution.policy, np.random.default_rng([seed, k, 1])))


# The exact planner


@pytest.mark.parametrize("name", TASK_NAMES)
def test_alpha_1_is_the_risk_neutral_optimum(name: str) -> None:
    mdp = make_task(name, 1.0).mdp
    values = np.zeros(mdp.S)
    for h in reversed(range(mdp.H)):
        values = (mdp.rewards[h] + mdp.transitions[h] @ values).max(axis=1)
    solution = IteratedCVaR(mdp, 1.0).optimal()
    np.testing.assert_allclose(solution.values[0], values, rtol=0, atol=1e-12)


@pytest.mark.parametrize("alpha", [0.15, 0.5, 1.0])
def test_the_planner_finds_what_brute_force_over_linear_programs_finds(alpha: float) -> None:
    rng = np.random.default_rng(int(100 * alpha))
    transitions = rng.dirichlet(np.ones(3), size=(2, 3, 2))
    mdp = TabularMDP(transitions, rng.random((2, 3, 2)), np.array([1.0, 0.0, 0.0]))

    def worst_mean(probabilities: np.ndarray, values: np.ndarray) -> float:
        """min of q . V over distributions q <= p / alpha."""
        bounds = [(0.0, p / alpha) for p in probabilities]
        return float(linprog(values, A_eq=np.ones((1, 3)), b_eq=[1.0], bounds=bounds).fun)

    last = mdp.rewards[1]  # (S, A): nothing comes after it

    def value(policy: np.ndarray) -> float:
        after = last[np.arange(3), policy[1]]
        a = policy[0, 0]
        key = (a, after.tobytes())
        if key not in known:
            known[key] = mdp.rewards[0, 0, a] + worst_mean(mdp.transitions[0, 0, a], after)
        return float(known[key])

    known: dict = {}
    best, policy = brute_force(mdp, value)
    planner = IteratedCVaR(mdp, alpha)
    assert planner.optimal().values[0, 0] == pytest.approx(best, abs=1e-9)
    assert planner.evaluate(policy)[0, 0] == pytest.approx(best, abs=1e-9)


def test_a_planned_policy_has_the_planned_values_and_none_is_better() -> None:
    task = small_task(H=2, S=3)
    planner = IteratedCVaR(task.mdp, 0.3)
    solution = planner.optimal()
    np.testing.assert_allclose(planner.evaluate(solution.policy), solution.values, atol=1e-12)
    best, _ = brute_force(task.mdp, lambda policy: float(planner.evaluate(policy)[0].sum()))
    assert solution.values[0].sum() == pytest.approx(best, abs=1e-12)


def test_values_grow_with_alpha_from_the_worst_case() -> None:
    mdp = small_task().mdp
    values = np.zeros(mdp.S)
    for h in reversed(range(mdp.H)):
        values = (mdp.rewards[h] + values.min()).max(axis=1)
    levels = [IteratedCVaR(mdp, alpha).optimal().values[0] for alpha in (1e-6, 0.1, 0.4, 0.8, 1)]
    np.testing.assert_allclose(levels[0], values, atol=1e-9)
    assert (np.diff(levels, axis=0) >= -1e-12).all()


@pytest.mark.parametrize("steps_left", [2, 3, 4, 5])
def test_the_risky_shortcut_switches_at_its_closed_form(steps_left: int) -> None:
    def takes_the_risk(alpha: float) -> bool:
        mdp = make_task("mdp/RiskyShortcut-v0", alpha, p=0.03).mdp
        return bool(IteratedCVaR(mdp, alpha).optimal().policy[mdp.H - steps_left, 0])

    low, high = 0.01, 1.0
    assert not takes_the_risk(low)
    assert takes_the_risk(high)
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if takes_the_risk(middle) else (middle, high)
    assert high == pytest.approx(switching_alpha(0.03, steps_left), abs=1e-9)


# The operator


@pytest.mark.parametrize("alpha", [0.1, 0.5, 1.0])
def test_the_uniform_grid_is_below_by_at_most_its_step_and_the_exact_grid_by_nothing(
    alpha: float,
) -> None:
    rng = np.random.default_rng(0)
    values, kernel = rng.random(6) * 3, rng.dirichlet(np.ones(6), size=(20, 4))
    exact = exact_cvar(kernel, values, alpha)
    np.testing.assert_allclose(exact, CVaR(alpha)(values, kernel), atol=1e-12)
    np.testing.assert_allclose(grid_cvar(values, values, kernel, alpha), exact, atol=1e-12)
    for epsilon in (0.3, 0.01):
        short = exact - grid_cvar(uniform_grid(3, epsilon), values, kernel, alpha)
        assert short.min() >= -1e-12
        assert short.max() <= epsilon + 1e-12
        assert (short.max() > 1e-12) == (alpha < 1.0)  # the mean needs one point above V only


def test_the_exact_grid_holds_the_largest_bonus_and_value_of_all_x() -> None:
    task = small_task(S=6, d=4)
    learner = ICVaRL(task, 0.4, 100, bonus_scale=0.1, delta=0.1)
    play(learner, task, 40)
    learner.plan(np.random.default_rng(0))
    values = learner.values[1]
    fine = np.linspace(0.0, values.max(), 3_001)
    at_values, anywhere = (shortfalls(grid, values) for grid in (values, fine))
    for h in range(task.mdp.H):
        bonus = [learner.regression.squares(h, c).max(axis=0) for c in (at_values, anywhere)]
        assert (bonus[0] >= bonus[1] - 1e-9).all()
        means = [learner.regression.means(h, c) for c in (at_values, anywhere)]
        best = (values[:, None] - means[0] / 0.4).max(axis=0)
        assert (best >= (fine[:, None] - means[1] / 0.4).max(axis=0) - 1e-9).all()


# The learners


def plain_icvar_l(task: Mixture, alpha: float, K: int, scale: float, delta: float, epsilon: float):
    """ICVaR-L as its pseudo-code reads, one number at a time; policies and values."""
    H, S, A, d = task.mdp.H, task.mdp.S, task.mdp.A, task.d
    grid = [i * epsilon for i in range(int(H / epsilon) + 1)]
    beta = scale * confidence_radius(d, H, K, delta, H**2)
    Lambda = [H**2 * np.eye(d) for _ in range(H)]
    b = [np.zeros(d) for _ in range(H)]
    solutions = []

    def psi(s: int, a: int, x: float, V: np.ndarray) -> np.ndarray:
        f = np.zeros(d)
        for after in range(S):
            f += task.kernels[:, s, a, after] / np.sqrt(d) * max(x - V[after], 0.0)
        return f

    def norm(h: int, f: np.ndarray) -> float:
        return float(np.sqrt(f @ np.linalg.inv(Lambda[h]) @ f))

    for k in range(K):
        V = np.zeros((H + 1, S))
        policy = np.zeros((H, S), dtype=int)
        for h in reversed(range(H)):
            xs = [min(x, H - h - 1) for x in grid]
            theta = np.linalg.inv(Lambda[h]) @ b[h]
            for s in range(S):
                Q = np.zeros(A)
                for a in range(A):
                    features = [psi(s, a, x, V[h + 1]) for x in xs]
                    C = max(x - theta @ f / alpha for x, f in zip(xs, features, strict=True))
                    bonus = beta / alpha * max(norm(h, f) for f in features)
                    Q[a] = task.mdp.rewards[h, s, a] + C + 2 * epsilon + bonus
                policy[h, s] = int(Q.argmax())
                V[h, s] = min(max(Q.max(), 0.0), H - h)
        solutions.append((policy, V))
        episode = task.mdp.play(policy, np.random.default_rng([0, k, 1]))
        for h in range(H):
            s, a, after = episode.states[h], episode.actions[h], episode.states[h + 1]
            xs = [min(x, H - h - 1) for x in grid]
            x = max(xs, key=lambda x: norm(h, psi(s, a, x, V[h + 1])))
            f = psi(s, a, x, V[h + 1])
            Lambda[h] = Lambda[h] + np.outer(f, f)
            b[h] = b[h] + max(x - V[h + 1, after], 0.0) * f
    return solutions


def test_icvar_l_is_its_pseudo_code() -> None:
    task = make_task("mdp/RiskyShortcut-v0", 0.4, p=0.3, H=4)
    learner = ICVaRL(task, 0.4, 60, bonus_scale=0.003, delta=0.1, epsilon=0.24)
    solutions = plain_icvar_l(task, 0.4, 60, 0.003, 0.1, 0.24)
    assert len({policy.tobytes() for policy, _ in solutions}) > 2
    for k, (policy, values) in enumerate(solutions):
        solution = learner.plan(np.random.default_rng(0))
        np.testing.assert_allclose(solution.values, values, atol=1e-9)
        np.testing.assert_array_equal(solution.policy, policy)
        learner.update(task.mdp.play(solution.policy, np.random.default_rng([0, k, 1])))


def test_the_burn_in_of_icvar_l_has_its_closed_form() -> None:
    """On the shortcut of two steps the risk is taken until beta / alpha ||psi|| is below its loss.

    With p well above alpha its CVaR is 0 and it loses 0.4; psi = (0, 0.6 / sqrt 2) is the only
    feature, so after n episodes of it the bonus is (beta / alpha) w / sqrt(lambda + n w^2).
    """
    alpha, K, lambda_, squared = 0.25, 1_000, 4.0, 0.6**2 / 2.0
    task = make_task("mdp/RiskyShortcut-v0", alpha, H=2, p=0.9)
    learner = ICVaRL(task, alpha, K, bonus_scale=0.2, delta=0.05)
    expected = (learner.beta / (alpha * 0.4)) ** 2 - lambda_ / squared
    risky = []
    for k in range(K):
        policy = learner.plan(np.random.default_rng(k)).policy
        risky.append(policy[0, 0])
        learner.update(task.mdp.play(policy, np.random.default_rng(k)))
    assert 0 < expected < K
    assert risky == [1] * int(np.ceil(expected)) + [0] * (K - int(np.ceil(expected)))


def test_the_linear_class_has_the_ellipsoids_of_icvar_l_and_is_never_more_optimistic() -> None:
    task = small_task(d=3)
    linear = ICVaRL(task, 0.4, 100, bonus_scale=0.05, delta=0.1)
    general = ICVaRG(task, LinearClass(task, 0.4, 100, delta=0.1, bonus_scale=0.05))
    rng = np.random.default_rng(0)
    for _ in range(30):
        policy = linear.plan(rng).policy
        general.plan(rng)
        general.values = linear.values  # the same solution, so that both learn the same features
        episode = task.mdp.play(policy, rng)
        linear.update(episode)
        general.update(episode)
    for key, value in linear.get_state().items():
        np.testing.assert_allclose(value, general.get_state()[key], rtol=1e-12, atol=1e-12)
    assert linear.beta == general.models.beta
    assert (general.plan(rng).values <= linear.plan(rng).values + 1e-12).all()
    regression, radius = general.models.regression, general.models.beta
    clipped = shortfalls(linear.values[1:], linear.values[1:])
    states, actions = np.array([1, 0, 2]), np.array([0, 1, 1])
    widths = general.models.widths(states, actions, clipped)
    psi = regression.features(states, actions, clipped)
    # The widths are the extremes of <theta', psi> over the ellipsoid, by its boundary.
    directions = rng.normal(size=(20_000, task.d))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    for h in range(task.mdp.H):
        surface = regression.theta[h] + radius * directions @ regression.white[h]
        extremes = np.ptp(psi[h] @ surface.T, axis=1)
        np.testing.assert_allclose(extremes, widths[h], rtol=2e-2, atol=1e-9)


def test_the_finite_class_keeps_the_models_near_the_least_squares_one() -> None:
    task = small_task()
    models = mixtures(task, 12, seed=0)
    learner = ICVaRG(task, FiniteClass(models, 3, 0.4, delta=0.1, bonus_scale=0.06))
    history = []
    add = learner.models.add

    def record(states, actions, clipped, targets) -> None:
        history.extend(zip(range(3), states, actions, clipped.copy(), targets, strict=True))
        add(states, actions, clipped, targets)

    learner.models.add = record
    play(learner, task, 60)
    values = learner.plan(np.random.default_rng(0)).values
    sizes = []
    for h in range(3):
        seen = [entry[1:] for entry in history if entry[0] == h]
        predicted = np.array([[m[s, a] @ f for s, a, f, _ in seen] for m in models])
        targets = np.array([y for *_, y in seen])
        best = ((predicted - targets) ** 2).sum(axis=1).argmin()
        inside = ((predicted - predicted[best]) ** 2).sum(axis=1) <= learner.models.gamma**2
        np.testing.assert_array_equal(learner.models.inside[h], inside)
        upper = np.max([CVaR(0.4)(values[h + 1], m) for m in models[inside]], axis=0)
        q = (task.mdp.rewards[h] + upper).max(axis=1)
        np.testing.assert_allclose(values[h], np.minimum(q, 3 - h), atol=1e-9)
        sizes.append(inside.sum())
    assert 1 <= min(sizes) < len(models)


def coverage(build, runs: int, episodes: int) -> tuple[float, float]:
    """Share of runs in which every set held the truth, and in which every value was optimistic."""
    covered, optimistic = 0, 0
    for run in range(runs):
        task = small_task(instance=run % 5)
        optimum = IteratedCVaR(task.mdp, 0.4).optimal().values[0]
        learner, covers = build(task)
        held, above = True, True
        for k in range(episodes):
            solution = learner.plan(np.random.default_rng([run, k, 0]))
            held &= covers()
            above &= bool((solution.values[0] >= optimum - 1e-9).all())
            learner.update(task.mdp.play(solution.policy, np.random.default_rng([run, k, 1])))
        covered += held
        optimistic += above
        assert above or not held  # the truth in the set makes the value optimistic
    return covered / runs, optimistic / runs


@pytest.mark.parametrize("kind", ["linear", "finite"])
def test_the_bonus_covers_the_true_model_as_often_as_stated_and_a_tiny_one_does_not(
    kind: str,
) -> None:
    delta, episodes = 0.1, 25

    def build(scale: float):
        def learner(task: Mixture):
            if kind == "linear":
                models = LinearClass(task, 0.4, episodes, delta, scale)
            else:
                models = FiniteClass(mixtures(task, 12, 0), task.mdp.H, 0.4, delta, scale)
            general = ICVaRG(task, models)
            return general, lambda: models.covers(task)

        return learner

    covered, optimistic = coverage(build(1.0), 200, episodes)
    assert covered >= 1 - delta
    assert optimistic >= 1 - delta
    assert coverage(build(0.005), 20, episodes)[0] < 1 - delta


def test_icvar_l_and_the_tabular_bonus_are_optimistic_too() -> None:
    episodes = 25
    for make in (ICVaRL, lambda task, *rest: TabularUCB(task.mdp, *rest)):
        _, optimistic = coverage(
            lambda task, make=make: (make(task, 0.4, episodes, 1.0, 0.1), lambda: False),
            200,
            episodes,
        )
        assert optimistic >= 0.9


@pytest.mark.parametrize(
    ("name", "scale", "fields"),
    [
        ("mdp/RandomMixture-v0", 1.0, {"instance": 3}),
        ("mdp/FrozenLake-v0", 0.02, {"H": 8}),
    ],
)
def test_icvar_l_ends_within_1_percent_of_the_optimum(
    name: str, scale: float, fields: dict
) -> None:
    task = make_task(name, 0.5, **fields)
    learner = ICVaRL(task, 0.5, 5_000, bonus_scale=scale, delta=0.05)
    play(learner, task, 5_000)
    planner = IteratedCVaR(task.mdp, 0.5)
    final = task.mdp.initial @ planner.evaluate(learner.plan(np.random.default_rng(0)).policy)[0]
    assert final >= 0.99 * task.mdp.initial @ planner.optimal().values[0]


def test_epsilon_greedy_explores_as_often_as_asked() -> None:
    task = small_task(A=4)
    learner = EpsilonGreedy(task, 0.4, exploration=0.2)
    rng = np.random.default_rng(0)
    greedy = ICVaRL(task, 0.4, 1, bonus_scale=0.0, delta=1.0).plan(rng).policy
    differs = np.mean([(learner.plan(rng).policy != greedy).mean() for _ in range(2_000)])
    assert differs == pytest.approx(0.2 * 3 / 4, abs=0.01)


# The algorithm


def config(task: str = "mdp/RiskyShortcut-v0", **values) -> ICVaRConfig:
    built = ICVaRConfig().environment(task).debugging(seed=5)
    built.update_from_dict({"episodes": 60, "episodes_per_iteration": 20, **values})
    return built


@pytest.mark.usefixtures("ray_session")
def test_a_resumed_run_ends_where_the_uninterrupted_one_does(tmp_path: Path) -> None:
    def evaluated(algorithm: ICVaR) -> tuple[float, float, dict[str, float]]:
        result = algorithm.train()
        return result["regret"], result["episode_return"], algorithm.evaluate()

    whole, cut = ICVaR(config()), ICVaR(config())
    whole.train()
    cut.train()
    cut.save_checkpoint(str(tmp_path / "checkpoint"))
    cut.stop()
    resumed = ICVaR(config(num_env_runners=1))
    resumed.load_checkpoint(str(tmp_path / "checkpoint"))
    assert evaluated(whole) == evaluated(resumed)
    assert whole.train()["done"]
    whole.stop()
    resumed.stop()


@pytest.mark.usefixtures("ray_session")
def test_regret_is_the_sum_of_exact_gaps_and_the_oracle_has_none() -> None:
    oracle = ICVaR(config(learner="oracle"))
    result = oracle.train()
    assert result["regret"] == 0.0
    assert result["policy_value"] == result["optimal_value"] == pytest.approx(2.28)
    assert oracle.evaluate()["gap"] == 0.0
    oracle.stop()
    one = ICVaR(config(learner="uniform", episodes_per_iteration=1))
    results = [one.train() for _ in range(5)]
    gaps = [result["optimal_value"] - result["policy_value"] for result in results]
    assert [result["regret"] for result in results] == pytest.approx(np.cumsum(gaps))
    one.stop()


@pytest.mark.usefixtures("ray_session")
def test_a_memory_of_another_size_is_refused_in_one_sentence() -> None:
    saved, other = ICVaR(config()), ICVaR(config("mdp/FrozenLake-v0"))
    saved.train()
    other.set_plan(saved.get_plan())
    with pytest.raises(ValueError, match="choose a task of the same size"):
        other.evaluate()
    saved.stop()
    other.stop()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"alpha": 0.0}, "Bad value 0.0 for 'alpha'"),
        ({"alpha": 1.2}, "Bad value 1.2 for 'alpha'"),
        ({"planning_alpha": -1.0}, "for 'planning_alpha'"),
        ({"learner": "icvar"}, "Bad value 'icvar' for 'learner': choose one of icvar_l"),
        ({"grid": "fine"}, "Bad value 'fine' for 'grid'"),
        ({"grid": "uniform", "epsilon": 2.0}, "epsilon = 2 is too coarse"),
        ({"grid": "uniform", "episodes": 2}, "is too coarse"),
        ({"grid": "uniform", "epsilon": 1e-9}, "is too fine"),
        ({"epsilon": 0.1}, "'epsilon' is 0.1, but grid = exact has no step"),
        ({"delta": 0.0}, "Bad value 0.0 for 'delta'"),
        ({"lambda": 0.0}, "Bad value 0.0 for 'lambda'"),
        ({"bonus_scale": -1.0}, "Bad value -1.0 for 'bonus_scale'"),
        ({"episodes": 0}, "Bad value 0 for 'episodes'"),
        ({"exploration": 1.5}, "Bad value 1.5 for 'exploration'"),
        ({"learner": "icvar_g", "model_class": "finite", "class_size": 2}, "for 'class_size'"),
        ({"lr": float("nan")}, "Bad value nan for 'lr': give a finite number"),
        ({"env_config": {"p": 1.5}}, "Bad value 1.5 for 'env_config.p': give 0 or more, up to 1"),
        ({"env_config": {"H": 2.5}}, "Bad value 2.5 for 'env_config.H': give a whole number"),
        ({"env_config": {"H": 0}}, "for 'env_config.H': give 1 or more"),
        ({"env": "mdp/LowerBound-v0", "env_config": {"H": 1}}, "'env_config.H': give 2 or more"),
        ({"env": "mdp/LowerBound-v0", "env_config": {"rarity": 2}}, "for 'env_config.rarity'"),
        ({"env": "mdp/RandomMixture-v0", "env_config": {"S": 10_000}}, "S = 10,000, A = 3, H"),
        ({"env": "mdp/Nowhere-v0"}, "No task 'mdp/Nowhere-v0': choose one of"),
        (
            {"learner": "icvar_g", "model_class": "neural", "class_size": 10_000, "hidden": 10_000},
            "class_size = 10,000, hidden = 10,000 would need arrays",
        ),
        ({"env_config": {"speed": 1}}, "Unknown key of env_config .speed."),
    ],
)
def test_bad_input_is_refused_in_one_sentence_before_actors_start(values: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said) as refusal:
        config(**values).validate()
    assert str(refusal.value).count(". ") == 0


def test_the_neural_ensemble_learns_the_probabilities_and_resumes_exactly() -> None:
    """By regression on random functions of the next state, at random states and actions."""
    task, K = small_task(), 300
    H, S, A = task.mdp.H, task.mdp.S, task.mdp.A
    steps = np.arange(H)

    def ensemble() -> NeuralEnsemble:
        return NeuralEnsemble(task, 0.3, K, 0.05, 1.0, 4, 16, 5, 1e-2, seed=0)

    def learn(models: NeuralEnsemble, episodes: range) -> None:
        for k in episodes:
            rng = np.random.default_rng(k)
            states, actions = rng.integers(S, size=H), rng.integers(A, size=H)
            after = [rng.choice(S, p=row) for row in task.mdp.transitions[steps, states, actions]]
            functions = rng.uniform(0.0, H, size=(H, S))
            models.add(states, actions, functions, functions[steps, after])
        models.refresh()

    def distance(models: NeuralEnsemble) -> float:
        """Mean total variation between the estimate's probabilities and the true ones."""
        off = np.abs(models.models[models.best, steps] - task.mdp.transitions)
        return float(0.5 * off.sum(axis=-1).mean())

    whole = ensemble()
    before = distance(whole)
    learn(whole, range(K))
    assert distance(whole) < 0.5 * before
    assert whole.covers(task)
    half, resumed = ensemble(), ensemble()
    learn(half, range(100))
    resumed.set_state(half.get_state())
    learn(resumed, range(100, K))
    np.testing.assert_array_equal(resumed.models, whole.models)
