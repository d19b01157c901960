"""Iterated CVaR with a quantile critic: its targets, its risk level, and the exact optimum."""

import numpy as np
import pytest
import torch

from tenfold.algorithms.common.quantile_critic import (
    NEXT_QUANTILES,
    NEXT_VALUES,
    quantile_huber_loss,
    risk_of_quantiles,
)
from tenfold.algorithms.icvar.planner import IteratedCVaR
from tenfold.algorithms.icvar_deep.algorithm import ICVaRDeep
from tenfold.algorithms.icvar_deep.config import ICVaRDeepConfig
from tenfold.envs.risk.benchmarks import make_task
from tenfold.envs.risk.measures import CVaR


def config(**values) -> ICVaRDeepConfig:
    built = ICVaRDeepConfig().environment("risk/RiskyShortcut-v0").debugging(seed=0)
    built.rl_module(model_config={"fcnet_hiddens": [16], "head_fcnet_hiddens": []})
    defaults = {"num_steps_sampled_before_learning_starts": 32, "num_atoms": 10}
    defaults["min_sample_timesteps_per_iteration"] = 96
    built.update_from_dict({**defaults, **values})
    return built


@pytest.mark.parametrize("alpha", [0.25, 1.0])
def test_a_table_of_quantiles_learns_the_exact_optimum(alpha: float) -> None:
    """The fixed point of the targets, by the method's loss on a table instead of a network.

    p N and alpha N are whole numbers, so the quantiles hold the distribution without rounding.
    """
    mdp = make_task("mdp/RiskyShortcut-v0", alpha, H=3, p=0.125).mdp
    N = 16
    theta = torch.zeros(mdp.H, mdp.S, mdp.A, N, dtype=torch.float64)
    value = torch.zeros(mdp.S, dtype=torch.float64)
    for h in reversed(range(mdp.H)):
        counts = torch.as_tensor(np.round(mdp.transitions[h] * N).astype(int)).reshape(-1, mdp.S)
        after = torch.stack([torch.repeat_interleave(value, row) for row in counts])  # (S A, N)
        targets = torch.as_tensor(mdp.rewards[h]).reshape(-1, 1) + after
        cells = torch.zeros(len(targets), N, dtype=torch.float64, requires_grad=True)
        for step in range(1_000):
            quantile_huber_loss(cells, targets, 0.0).sum().backward()
            with torch.no_grad():
                cells -= 0.99**step * cells.grad
                cells.grad.zero_()
        theta[h] = cells.detach().reshape(mdp.S, mdp.A, N)
        value = risk_of_quantiles(theta[h], CVaR(alpha)).max(dim=-1).values
    best = IteratedCVaR(mdp, alpha).optimal()
    np.testing.assert_allclose(value.numpy(), best.values[0], atol=2e-3)
    chosen = risk_of_quantiles(theta[:, 0], CVaR(alpha)).argmax(dim=-1)
    np.testing.assert_array_equal(chosen.numpy(), best.policy[:, 0])


@pytest.mark.usefixtures("ray_session")
def test_targets_take_the_risk_of_one_step_and_the_level_is_annealed() -> None:
    agent = ICVaRDeep(config(alpha=0.5, anneal_steps=192))
    levels = []
    for _ in range(3):
        result = agent.train()
        levels.append(float(result["learners"]["default_policy"]["alpha"]))
    assert levels[0] > levels[1] > levels[2] == 0.5
    # The runners have the level that was learnt with.
    assert float(agent.env_runner.module.alpha) == 0.5

    learner = agent.learner_group._learner
    after = torch.tensor([[[0.0, 1.0], [0.4, 0.45]], [[0.0, 9.0], [5.0, 5.0]]])
    batch = {"rewards": torch.tensor([0.1, 0.2]), "terminateds": torch.tensor([False, True])}
    given = {NEXT_QUANTILES: after, NEXT_VALUES: torch.tensor([[0.0, 0.4], [0.0, 5.0]])}
    targets = learner.targets(agent.config, batch, given)
    np.testing.assert_allclose(targets.numpy(), [[0.1 + 0.4], [0.2]], rtol=1e-6)

    seen = torch.as_tensor(np.eye(7, dtype=np.float32)[:2])
    outputs = agent.get_module().compute_q_values({"obs": seen})
    expected = CVaR(0.5)(outputs["quantiles"].detach().numpy(), np.full(10, 0.1))
    np.testing.assert_allclose(outputs["qf_preds"].detach().numpy(), expected, atol=1e-5)

    judged = agent.evaluate()
    assert judged["iterated_cvar_0.5"] == judged["policy_value"]
    at_levels = [judged[f"iterated_cvar_{level}"] for level in (0.1, 0.25, 0.5)]
    assert np.diff([*at_levels, judged["expected_return"]]).min() >= -1e-9
    agent.stop()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"alpha": 0.0}, "Bad value 0.0 for 'alpha'"),
        ({"alpha": 1.5}, "Bad value 1.5 for 'alpha'"),
        ({"anneal_steps": -1}, "Bad value -1 for 'anneal_steps'"),
        ({"num_atoms": 1}, "Bad value 1 for 'num_atoms'"),
        ({"kappa": -1.0}, "Bad value -1.0 for 'kappa'"),
        ({"n_step": 3, "rollout_fragment_length": 3}, "Bad value 3 for 'n_step'"),
        ({"dueling": True}, "for 'dueling'"),
        ({"lr": 0.0}, "Bad value 0.0 for 'lr'"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(values: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said) as refusal:
        config(**values).validate()
    assert str(refusal.value).count(". ") == 0
