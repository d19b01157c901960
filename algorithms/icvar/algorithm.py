"""Iterated CVaR RL as an RLlib algorithm; regret is measured from each episode's first state."""

from dataclasses import replace

import numpy as np

from tenfold.algorithms.common.policy_tables import PolicyTable
from tenfold.algorithms.common.regret import RegretAlgorithm
from tenfold.algorithms.icvar.config import ICVaRConfig
from tenfold.algorithms.icvar.learners import Learner, make_learner
from tenfold.algorithms.icvar.likelihood import LikelihoodL
from tenfold.algorithms.icvar.linear import ICVaRL
from tenfold.algorithms.icvar.operators import exact_cvar
from tenfold.algorithms.icvar.planner import Solution
from tenfold.envs.risk.mdp import Episode
from tenfold.envs.risk.measures import ROUNDING
from tenfold.envs.risk.pomdp_py_program import observed, of_states, pomdp_py_program
from tenfold.envs.risk.scale import Unit


class ICVaR(RegretAlgorithm):
    """Plan, play, learn; policies are arrays (H, S), values are those of the S first states."""

    config: ICVaRConfig

    learner: Learner

    @classmethod
    def get_default_config(cls) -> ICVaRConfig:
        return ICVaRConfig()

    def set_up(self) -> None:
        task = self.config.task()
        self.learner = make_learner(self.config, task)
        self.mdp = task.mdp
        self.truth = self.config.exact_planner(task.mdp, self.config.alpha)
        self.optimum = self.truth.optimal().values[0]
        self.weights = task.mdp.initial
        if self.config.check_confidence:
            after, alpha = self.truth.optimal().values[1:], self.config.alpha
            risks = [
                exact_cvar(moves, values, alpha)
                for moves, values in zip(task.mdp.transitions, after, strict=True)
            ]
            self.worth = task.mdp.rewards + np.array(risks)  # Q*, (H, S, A)

    def unit(self) -> Unit:
        unit = super().unit()
        if self.config.horizon == "finite":
            return unit
        return replace(unit, offset=unit.offset / (1.0 - self.config.discount**self.mdp.H))

    def plan(self, rng: np.random.Generator) -> np.ndarray:
        self.solution: Solution = self.learner.plan(rng)
        return self.solution.policy

    def confidence(self) -> tuple[float, bool]:
        """Covered are the (h, s, a) whose optimistic Q is at least the true one."""
        assert isinstance(self.learner, ICVaRL | LikelihoodL)
        H = self.mdp.H
        hopes = [np.minimum(self.learner.worth(h), H - h) for h in range(H)]
        covered = (np.array(hopes) >= self.worth - ROUNDING).mean()
        short = self.weights @ (self.optimum - self.solution.values[0])
        return float(covered), bool(short <= ROUNDING)

    def values_of(self, policy: np.ndarray) -> np.ndarray:
        return self.truth.evaluate(policy)[0]

    def first(self, episode: Episode) -> int:
        return int(episode.states[0])

    def expected_return(self, policy: np.ndarray) -> float:
        neutral = self.config.exact_planner(self.mdp, 1.0)
        return float(self.weights @ neutral.evaluate(policy)[0])

    def as_pomdp_py(self, file: str) -> str:
        """The learner's present policy, and the MDP, as a program for pomdp_py."""
        about = f"{self.config.env} after {self.episodes:,} episodes"
        policy = of_states(self.present_policy())
        return pomdp_py_program(observed(self.mdp), policy, about, file)

    def as_network(self) -> tuple[PolicyTable, np.ndarray]:
        """The learner's present policy, and two places in it: steps and states, (2, 2) int64."""
        return PolicyTable(self.present_policy()), np.zeros((2, 2), np.int64)
