"""PPO on exponential utilities, with the loss of the hindsight head."""

from typing import Any

import numpy as np
import torch
from ray.rllib.algorithms.ppo import PPO
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.connectors.connector_v2 import ConnectorV2
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.utils.annotations import override

from tenfold.algorithms.risk_pomdp.algorithm import RISK_NEUTRAL
from tenfold.algorithms.risk_pomdp.beta import evaluate, solve
from tenfold.algorithms.risk_pomdp_deep.evaluation import likeliest_policy, likeliest_returns
from tenfold.algorithms.risk_pomdp_deep.module import BELIEF_LOGITS, REVEALED
from tenfold.algorithms.risk_pomdp_deep.utility import entropic_risk, utilities
from tenfold.envs.risk.estimates import estimate_risk
from tenfold.envs.risk.measures import Entropic

HINDSIGHT_STATES = "hindsight_states"
HINDSIGHT_REWARDS = "hindsight_rewards"
KL_COEFFS = "kl_coeffs"
# Seed of the episodes that evaluate a policy, far from those of training.
EVALUATION_SEED = 1_000_000


class HindsightConnector(ConnectorV2):
    """Pays episodes by their utility at the end, and tells the learner what they revealed.

    Works on whole episodes that RLlib has lengthened by one step for the critic.

    Args:
        gamma: Risk parameter; 0 is risk-neutral.
        states: How many hidden states there are, 0 if none are revealed.
        tells_critic: Whether the critic sees what was revealed, see `BeliefModule`.
    """

    def __init__(
        self, *args: Any, gamma: float, states: int, tells_critic: bool, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.gamma, self.states, self.tells_critic = gamma, states, tells_critic

    @override(ConnectorV2)
    def __call__(
        self, *, batch: dict[str, Any], episodes: list[Any], metrics: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        returns = np.array([np.sum(episode.get_rewards()) for episode in episodes])
        if self.tells_critic:
            self._tell_critic(batch, episodes)
        for episode, utility in zip(episodes, utilities(returns, self.gamma), strict=True):
            steps = len(episode) - 1  # without the added one
            paid = np.zeros(steps + 1, np.float32)
            paid[steps - 1] = utility
            episode.set_rewards(new_data=paid if episode.is_numpy else list(paid))
            if self.states:
                states = np.append(episode.get_infos()[steps][HINDSIGHT_STATES], 0)
                self.add_n_batch_items(batch, HINDSIGHT_STATES, list(states), steps + 1, episode)
        if metrics is not None:
            risk = entropic_risk(returns, self.gamma)
            metrics.log_value((DEFAULT_MODULE_ID, "entropic_risk"), risk, window=1)
        return batch

    def _tell_critic(self, batch: dict[str, Any], episodes: list[Any]) -> None:
        """What had been collected before each step, in the batch's own deviations, and the state
        that its action was taken in, one-hot."""
        collected = []
        for episode in episodes:
            rewards, end = episode.get_rewards(), episode.get_infos()[len(episode) - 1]
            rewards = np.append(end[HINDSIGHT_REWARDS], 0.0) if self.states else rewards
            collected.append(np.append(0.0, np.cumsum(rewards)[:-1]))
        together = np.concatenate(collected)
        mean, deviation = together.mean(), max(together.std(), 1e-6)
        for episode, before in zip(episodes, collected, strict=True):
            told = np.zeros((len(before), 1 + self.states), np.float32)
            told[:, 0] = (before - mean) / deviation
            if self.states:
                states = np.array(episode.get_infos()[len(before) - 1][HINDSIGHT_STATES])
                told[np.arange(len(states)), 1 + states] = 1.0
            self.add_n_batch_items(batch, REVEALED, list(told), len(told), episode)


class RiskPOMDPLearner(PPOTorchLearner):
    """PPO's loss and the cross entropy of the revealed states under the head's belief.

    Its state holds the weight of PPO's divergence, too, which RLlib adapts but does not save.
    """

    @override(PPOTorchLearner)
    def get_state(
        self, components: Any = None, *, not_components: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        state: dict[str, Any] = super().get_state(
            components, not_components=not_components, **kwargs
        )
        if self._check_component(KL_COEFFS, components, not_components):
            coefficients = self.curr_kl_coeffs_per_module
            state[KL_COEFFS] = {name: coefficients[name].item() for name in self.module._rl_modules}
        return state

    @override(PPOTorchLearner)
    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        for name, coefficient in state.get(KL_COEFFS, {}).items():
            self.curr_kl_coeffs_per_module[name].data.fill_(coefficient)

    @override(PPOTorchLearner)
    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Any], fwd_out: dict[str, Any]
    ) -> torch.Tensor:
        loss: torch.Tensor = super().compute_loss_for_module(
            module_id=module_id, config=config, batch=batch, fwd_out=fwd_out
        )
        if BELIEF_LOGITS not in fwd_out:
            return loss
        mask = batch[Columns.LOSS_MASK]
        hindsight = torch.nn.functional.cross_entropy(
            fwd_out[BELIEF_LOGITS][mask], batch[HINDSIGHT_STATES][mask].long()
        )
        self.metrics.log_value((module_id, "hindsight_loss"), hindsight.item(), window=1)
        return loss + config.hindsight_coeff * hindsight


class RiskPOMDPDeep(PPO):
    """PPO with exponential utilities and a hindsight head."""

    @override(PPO)
    def evaluate(self, parallel_train_future: Any = None) -> dict[str, float]:
        """The policy of likeliest actions: exactly on a table's true model, played on others.

        Raises:
            ValueError: More histories of a table than can be enumerated.
        """
        config, module = self.config, self.get_module()
        gamma = config.gamma_of_evaluations() or RISK_NEUTRAL
        if config.is_table():
            truth = config.true_model()
            policy = likeliest_policy(module, truth)
            value, optimum = evaluate(truth, gamma, policy), solve(truth, gamma).value
            return {
                "policy_value": value,
                "optimal_value": optimum,
                "gap": optimum - value,
                "expected_return": evaluate(truth, RISK_NEUTRAL, policy),
            }
        envs = [config.make_task() for _ in range(config.judged_episodes)]
        played = likeliest_returns(module, envs, EVALUATION_SEED)
        found = estimate_risk(Entropic(gamma), played, np.random.default_rng(EVALUATION_SEED))
        return {
            "policy_value": found.value,
            "policy_value_low": found.low,
            "policy_value_high": found.high,
            "expected_return": float(played.mean()),
        }
