"""PPO on exponential utilities, with the loss of the hindsight head."""

from collections.abc import Callable
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
from tenfold.algorithms.risk_pomdp_deep.module import BELIEF_LOGITS
from tenfold.algorithms.risk_pomdp_deep.utility import entropic_risk, utilities
from tenfold.envs.risk.pomdp import HistoryPolicy, TabularPOMDP

HINDSIGHT_STATES = "hindsight_states"


class HindsightConnector(ConnectorV2):
    """Pays episodes by their utility at the end, and tells the learner their hidden states.

    Works on whole episodes that RLlib has lengthened by one step for the critic.

    Args:
        gamma: Risk parameter; 0 is risk-neutral.
    """

    def __init__(self, *args: Any, gamma: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.gamma = gamma

    @override(ConnectorV2)
    def __call__(
        self, *, batch: dict[str, Any], episodes: list[Any], metrics: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        returns = np.array([np.sum(episode.get_rewards()) for episode in episodes])
        for episode, utility in zip(episodes, utilities(returns, self.gamma), strict=True):
            steps = len(episode) - 1  # without the added one
            paid = np.zeros(steps + 1, np.float32)
            paid[steps - 1] = utility
            episode.set_rewards(new_data=paid if episode.is_numpy else list(paid))
            states = np.append(episode.get_infos()[steps][HINDSIGHT_STATES], 0)
            self.add_n_batch_items(batch, HINDSIGHT_STATES, list(states), steps + 1, episode)
        if metrics is not None:
            risk = entropic_risk(returns, self.gamma)
            metrics.log_value((DEFAULT_MODULE_ID, "entropic_risk"), risk, window=1)
        return batch


class RiskPOMDPLearner(PPOTorchLearner):
    """PPO's loss and the cross entropy of the revealed states under the head's belief."""

    @override(PPOTorchLearner)
    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Any], fwd_out: dict[str, Any]
    ) -> torch.Tensor:
        loss: torch.Tensor = super().compute_loss_for_module(
            module_id=module_id, config=config, batch=batch, fwd_out=fwd_out
        )
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
        """The policy of likeliest actions, evaluated exactly on the true model.

        Raises:
            ValueError: More histories than can be enumerated.
        """
        truth = self.config.true_model()
        gamma = self.config.gamma_risk or RISK_NEUTRAL
        policy = likeliest_policy(self.get_module(), truth)
        value, optimum = evaluate(truth, gamma, policy), solve(truth, gamma).value
        return {
            "policy_value": value,
            "optimal_value": optimum,
            "gap": optimum - value,
            "expected_return": evaluate(truth, RISK_NEUTRAL, policy),
        }


def likeliest_policy(module: Any, pomdp: TabularPOMDP) -> HistoryPolicy:
    """The network's likeliest action of every history."""

    def choose(seen: np.ndarray) -> np.ndarray:
        outputs = module.forward_inference({Columns.OBS: torch.as_tensor(seen)})
        likeliest: np.ndarray = outputs[Columns.ACTION_DIST_INPUTS].argmax(dim=-1).cpu().numpy()
        return likeliest

    return history_policy(choose, pomdp)


def history_policy(
    choose: Callable[[np.ndarray], np.ndarray], pomdp: TabularPOMDP
) -> HistoryPolicy:
    """The policy of an agent, asked about all histories.

    Args:
        choose: Observations (B, H (O + A)) float32 of `HistoryObservation` to actions (B,).
        pomdp: The POMDP.

    Raises:
        ValueError: More histories than can be enumerated.
    """
    pomdp.check_histories()
    H, A, O = pomdp.H, pomdp.A, pomdp.O  # noqa: E741
    seen = np.zeros((O, H, O + A), np.float32)
    seen[np.arange(O), 0, np.arange(O)] = 1.0
    policy: HistoryPolicy = []
    for h in range(H):
        policy.append(choose(seen.reshape(len(seen), -1)))
        if h < H - 1:  # history i, then action a, then observation o: (i A + a) O + o
            rest = np.arange(len(seen) * A * O)
            seen = np.repeat(seen, A * O, axis=0)
            seen[rest, h, O + rest // O % A] = 1.0
            seen[rest, h + 1, rest % O] = 1.0
    return policy
