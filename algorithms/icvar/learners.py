"""From a config to its learner."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from tenfold.algorithms.icvar.baselines import EpsilonGreedy, Oracle, TabularUCB, Uniform
from tenfold.algorithms.icvar.config import ICVaRConfig
from tenfold.algorithms.icvar.ensemble import NeuralEnsemble
from tenfold.algorithms.icvar.feedback import Human, HumanFeedback
from tenfold.algorithms.icvar.general import (
    FiniteClass,
    ICVaRG,
    LinearClass,
    ModelClass,
    mixtures,
)
from tenfold.algorithms.icvar.likelihood import LikelihoodL
from tenfold.algorithms.icvar.linear import ICVaRL
from tenfold.algorithms.icvar.planner import Solution
from tenfold.envs.risk.mdp import Episode
from tenfold.envs.risk.mixture import Mixture


class Learner(Protocol):
    """Plans an episode and learns from it."""

    def plan(self, rng: np.random.Generator) -> Solution:
        """The policy of the next episode and the values that it is believed to have."""

    def update(self, episode: Episode) -> None:
        """Learn the episode that was played with the last policy."""

    def get_state(self) -> dict[str, np.ndarray]:
        """The memory as arrays."""

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from `get_state`."""


def make_learner(config: ICVaRConfig, task: Mixture) -> Learner:
    """The learner that a config names, before its first episode."""
    mdp, alpha, K = task.mdp, config.risk_level(), config.episodes
    scale, delta = config.bonus_scale, config.delta
    epsilon = config.grid_step(task)
    if config.confidence == "likelihood":
        return LikelihoodL(task, alpha, scale, delta)
    if config.learner == "icvar_l":
        return ICVaRL(task, alpha, K, scale, delta, config.lambda_, epsilon)
    if config.learner == "human_feedback":
        planner = ICVaRL(task, alpha, K, scale, delta, config.lambda_, epsilon)
        human = Human(config.rationality, config.seed or 0, K)
        return HumanFeedback(planner, human, K, config.feedback_bonus, delta)
    if config.learner == "icvar_g":
        return ICVaRG(task, _model_class(config, task), epsilon)
    if config.learner == "icvar_rm":
        return TabularUCB(mdp, alpha, K, scale, delta)
    if config.learner == "epsilon_greedy":
        return EpsilonGreedy(task, alpha, config.exploration, config.lambda_)
    if config.learner == "oracle":
        return Oracle(config.exact_planner(mdp, alpha))
    return Uniform(mdp)


def _model_class(config: ICVaRConfig, task: Mixture) -> ModelClass:
    alpha, delta, scale = config.risk_level(), config.delta, config.bonus_scale
    if config.model_class == "finite":
        models = mixtures(task, config.class_size, config.seed or 0)
        return FiniteClass(models, task.mdp.H, alpha, delta, scale)
    if config.model_class == "neural":
        return NeuralEnsemble(
            task,
            alpha,
            config.episodes,
            delta,
            scale,
            config.class_size,
            config.hidden,
            config.gradient_steps,
            config.lr,
            config.seed or 0,
        )
    return LinearClass(task, alpha, config.episodes, delta, scale, config.lambda_)
