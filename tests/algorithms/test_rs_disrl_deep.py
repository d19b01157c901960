"""Static risk with a quantile critic: its utility, its fixed point, and what the learner learns."""

from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from tenfold.algorithms.common.quantile_critic import NEXT_QUANTILES, NEXT_VALUES, QUANTILES
from tenfold.algorithms.common.return_utility import TIE, tangent
from tenfold.algorithms.rs_disrl.planner import StaticPlanner
from tenfold.algorithms.rs_disrl_deep.algorithm import RSDisRLDeep, StaticRiskModule
from tenfold.algorithms.rs_disrl_deep.config import RSDisRLDeepConfig
from tenfold.envs.risk.augmented import GridMDPEnv
from tenfold.envs.risk.collected import CollectedReturn, all_observations, make_collected
from tenfold.envs.risk.measures import CVaR, DualPower, Entropic, Expectation, RiskMeasure
from tenfold.envs.risk.names import COLLECTED_NAMES
from tenfold.envs.risk.static_benchmarks import make_static_task
from tenfold.envs.risk.static_measures import MeanSemideviation, influence, mean_cvar

PATH = make_static_task("static/BudgetedPath-v0", H=4)
MEASURES = [CVaR(0.25), DualPower(2.0), Entropic(-1.5), mean_cvar(0.2, 0.5), MeanSemideviation(0.8)]


def config(**values) -> RSDisRLDeepConfig:
    built = RSDisRLDeepConfig().environment("collected/BudgetedPath-v0").debugging(seed=0)
    built.rl_module(model_config={"fcnet_hiddens": [16], "head_fcnet_hiddens": []})
    defaults = {"num_steps_sampled_before_learning_starts": 32, "num_atoms": 8}
    defaults["min_sample_timesteps_per_iteration"] = 96
    built.update_from_dict({**defaults, **values})
    return built


def module_at(rho: RiskMeasure, knots: np.ndarray, kind=StaticRiskModule) -> StaticRiskModule:
    """A module without networks whose utility is the tangent of rho at the knots."""
    module = kind.__new__(kind)
    torch.nn.Module.__init__(module)
    module.scale = 1.0
    _, slopes, heights = tangent(rho, knots)
    for name, values in (("knots", knots), ("slopes", slopes), ("heights", heights)):
        module.register_buffer(name, torch.as_tensor(values))
    return module


@pytest.mark.parametrize("rho", MEASURES, ids=str)
def test_the_utility_is_the_derivative_of_the_measure(rho: RiskMeasure) -> None:
    """Against difference quotients on the distribution; equal masses are exact up to 1 / N."""
    knots = np.sort(np.random.default_rng(0).uniform(0.0, 2.0, 800))
    utility = module_at(rho, knots).utility(torch.as_tensor(knots)).numpy() - TIE * knots
    expected = influence(rho, knots, np.full(800, 1 / 800))
    np.testing.assert_allclose(utility - utility[0], expected - expected[0], atol=0.03)
    assert utility.mean() + TIE * knots.mean() == pytest.approx(
        float(rho.of(knots, np.full(800, 1 / 800))), abs=1e-9
    )


def test_the_utility_of_cvar_is_the_shortfall_below_the_quantile() -> None:
    knots = np.array([0.0, 0.5, 0.7, 2.0])
    returns = torch.tensor([[-1.0, 0.2], [0.5, 0.6], [1.0, 9.0]], dtype=torch.float64)
    module = module_at(CVaR(0.5), knots)
    without_ties = module.utility(returns).numpy() - TIE * returns.numpy()
    shortfall = np.minimum(returns.numpy() - 0.7, 0.0) / 0.5
    np.testing.assert_allclose(without_ties - shortfall, without_ties[2, 1], atol=1e-12)
    neutral = module_at(Expectation(), knots).utility(returns)
    differences = (neutral - returns * (1.0 + TIE)).numpy()
    np.testing.assert_allclose(differences, differences[0, 0], atol=1e-12)


class TableModule(StaticRiskModule):
    """Exact distributions of N quantiles on a task of one state in place of networks.

    All chances are 1/2 and H = 4, so 16 quantiles hold every distribution without rounding.
    """

    def forward_target(self, batch):
        outputs = [self.outputs(float(shift)) for shift in batch["obs"][:, -1]]
        return {
            key: torch.stack([each[key] for each in outputs]) for key in (QUANTILES, "qf_preds")
        }

    def outputs(self, shift: float):
        """Of both first actions, under the policy that is greedy for g(. + shift)."""
        mdp, N = PATH, len(self.knots)
        after = np.zeros((mdp.Y, N))
        for h in reversed(range(mdp.H)):
            z = np.empty((mdp.A, mdp.Y, N))
            for a in range(mdp.A):
                copies = np.rint(2 * mdp.probabilities[h, 0, a]).astype(int)
                rewards = np.repeat(mdp.rewards[h, 0, a], copies)  # two of equal chances
                to = np.minimum(np.arange(mdp.Y)[:, None] + rewards, mdp.Y - 1)
                both = mdp.step * rewards[None, :, None] + after[to]  # (Y, 2, N)
                z[a] = np.sort(both.reshape(mdp.Y, -1)).reshape(mdp.Y, N, 2).mean(axis=-1)
            returns = torch.as_tensor(shift + mdp.returns[:, None] + z)
            worth = self.utility(returns).mean(dim=-1)
            after = z[worth.argmax(dim=0).numpy(), np.arange(mdp.Y)]
        return {QUANTILES: torch.as_tensor(z[:, 0]), "qf_preds": worth[:, 0]}


@pytest.mark.parametrize("alpha", [0.25, 0.5, 1.0])
def test_following_its_distribution_ends_at_the_exact_optimum(alpha: float) -> None:
    """With exact distributions; without shifts it may end where it is best only to itself."""
    optimum = StaticPlanner(PATH).solve(CVaR(alpha)).value
    first, ends = torch.zeros(1, 1, dtype=torch.float64), []
    for shifts in ([0.0], [0.0, -0.3, -0.2, -0.1, 0.1, 0.2, 0.3]):
        module = module_at(CVaR(alpha), np.linspace(0.0, 1.0, 16), TableModule)
        found = [
            module.follow(first, CVaR(alpha), torch.tensor(shifts, dtype=torch.float64))
            for _ in range(6)
        ]
        assert np.all(np.diff(found) >= -1e-12)
        ends.append(found[-1])
    assert ends[1] == pytest.approx(optimum, abs=1e-9)
    assert (ends[0] < optimum - 0.01) == (alpha == 0.25)


@pytest.mark.usefixtures("ray_session")
def test_the_learner_follows_the_distribution_and_backs_it_up_whole(tmp_path: Path) -> None:
    agent = RSDisRLDeep(config(return_scale=2.0, judged_episodes=40))
    for _ in range(2):
        result = agent.train()
    learner = agent.learner_group._learner
    module = learner.module["default_policy"].unwrapped()
    # The runners act by the utility that was learnt with.
    np.testing.assert_array_equal(agent.env_runner.module.knots, module.knots)
    assert np.isfinite(float(result["learners"]["default_policy"]["believed_risk"]))

    # All first states of the path are one state, so F is the distribution of its greedy action.
    believed = module.follow(learner.first, learner.rho, torch.zeros(1))
    first = {"obs": learner.first[:1]}
    outputs = module.forward_target(first)
    worth = module.action_values(outputs[QUANTILES], {"obs": first["obs"] / 2.0})
    assert believed == pytest.approx(
        float(CVaR(0.25).of(module.knots.numpy(), np.full(8, 1 / 8))), abs=1e-6
    )
    greedy = outputs[QUANTILES][0, int(outputs["qf_preds"].argmax())]
    np.testing.assert_allclose(2.0 * greedy.sort().values, module.knots, atol=1e-5)
    # At the distribution that it comes from, the utility's mean is the risk itself.
    chosen = int(outputs["qf_preds"].argmax())
    assert float(worth[0, chosen]) == pytest.approx(believed, abs=1e-5)

    after = torch.tensor([[[0.0, 1.0], [0.4, 0.5]], [[0.0, 9.0], [5.0, 5.0]]])
    batch = {"rewards": torch.tensor([1.0, 0.5]), "terminateds": torch.tensor([False, True])}
    given = {NEXT_QUANTILES: after, NEXT_VALUES: torch.tensor([[0.0, 0.4], [0.0, 5.0]])}
    targets = learner.targets(agent.config, batch, given)
    np.testing.assert_allclose(targets.numpy(), [[0.9, 1.0], [0.25, 0.25]], rtol=1e-6)

    evaluated = agent.evaluate()
    assert evaluated == agent.evaluate()
    assert evaluated["risk_low"] <= evaluated["risk"] <= evaluated["risk_high"]
    assert evaluated["risk"] == pytest.approx(
        float(CVaR(0.25)(agent.played, np.full(40, 1 / 40))), abs=1e-9
    )
    at_levels = [evaluated[f"cvar_{level}"] for level in (0.1, 0.25, 0.5)]
    assert at_levels[1] == pytest.approx(evaluated["risk"], abs=1e-9)
    assert np.diff([*at_levels, evaluated["episode_return_mean"]]).min() >= -1e-9
    acting = agent.env_runner.module.knots.double().numpy()
    assert evaluated["believed_risk"] == pytest.approx(
        float(CVaR(0.25).of(acting, np.full(8, 1 / 8))), abs=1e-5
    )
    assert agent.draw_evaluation(tmp_path)[0].read_bytes().startswith(b"\x89PNG")
    agent.stop()


@pytest.mark.parametrize("name", COLLECTED_NAMES)
def test_tasks_tell_what_was_collected(name: str) -> None:
    env = make_collected(name)
    check_env(env, skip_render_check=True)
    rng = np.random.default_rng(0)
    seen, _ = env.reset(seed=1)
    collected, done = 0.0, False
    assert seen[-1] == 0.0
    while not done:
        seen, reward, done, truncated, _ = env.step(rng.integers(env.action_space.n))
        collected += reward
        assert not truncated
        assert seen[-1] == pytest.approx(collected, abs=1e-4)


def test_all_observations_are_those_of_the_environment() -> None:
    env = make_collected("collected/Inventory-v0", H=3)
    mdp = env.unwrapped.mdp
    table = all_observations(mdp)
    assert table.shape == (mdp.H, mdp.S, mdp.Y, mdp.S + mdp.H + 1)
    seen, _ = env.reset(seed=0)
    for h in range(mdp.H):
        y = round(env.collected / mdp.step)
        np.testing.assert_allclose(seen, table[h, env.unwrapped.state, y], atol=1e-6)
        seen, *_ = env.step(h)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"rho": "cva"}, "Bad value 'cva' for 'rho'"),
        ({"rho_parameters": {}}, "takes exactly alpha"),
        ({"rho_parameters": {"alpha": 0.0}}, "risk level"),
        ({"first_states": 0}, "Bad value 0 for 'first_states'"),
        ({"shift_span": -1.0}, "Bad value -1.0 for 'shift_span'"),
        ({"return_scale": 0.0}, "Bad value 0.0 for 'return_scale'"),
        ({"gamma": 0.9}, "Bad value 0.9 for 'gamma'"),
        ({"num_atoms": 1}, "Bad value 1 for 'num_atoms'"),
        ({"env_config": {"size": 3}}, "Unknown key of env_config 'size'"),
        ({"env": "Card-v1"}, "Task 'Card-v1' cannot be made"),
        ({"env": "Pendulum-v1"}, "has the actions Box.*takes Discrete"),
        ({"env": "CliffWalking-v1"}, "no limit of steps.*max_episode_steps"),
        ({"env": "FrozenLake-v1", "env_config": {"is_slippery": "no"}}, "'env_config.is_slippery'"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(values: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said) as refusal:
        config(**values).validate()
    assert str(refusal.value).count(". ") == 0


def test_observations_without_a_flat_box_are_refused() -> None:
    with pytest.raises(ValueError, match="flat box"):
        CollectedReturn(GridMDPEnv(make_static_task("static/TwoLotteries-v0")))
