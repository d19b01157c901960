"""A model class of ICVaR-G by neural networks: bootstrap members, kept while they fit the past.

Each member m is one network for all steps, (h, s, a) -> a distribution over next states:

    P_m,h(. | s, a) = softmax(W_m relu(E_m[s, a] + e_m[h])),
    E_m (S A, width), e_m (H, width), 0 at first, W_m (width, S)

and is trained by the value-targeted loss sum_k w_mk (E_{P_m}[(x_k - V_k)^+] - target_k)^2 on all
steps of all episodes, w_mk ~ Exp(1) being its Bayesian bootstrap (Rubin, 1981). The estimate of a
step is the member of least unweighted loss there; the set holds the members whose squared distance
to it on the past is at most gamma^2, as in the finite class. Rows of E_m that were never visited
stay as drawn, sharp and different in each member, which is what makes the maximum over members
optimistic there. Unlike the finite and linear classes it has no guarantee: the truth need not be a
member.
"""

import math
from collections.abc import Mapping

import numpy as np
import torch

from tenfold.algorithms.icvar.general import spread
from tenfold.algorithms.icvar.operators import grid_cvar
from tenfold.envs.risk.mixture import Mixture

SHARPNESS = 3.0
"""Standard deviation of the drawn networks' logits."""

BATCH = 64
"""Episodes of a gradient step."""


class NeuralEnsemble:
    """M networks, trained on all episodes.

    Args:
        task: Its sizes; its true kernels are read by `covers` only.
        alpha: Risk level.
        episodes: K, the room for episodes.
        delta: Probability in gamma = H sqrt(2 log(M H / delta)).
        bonus_scale: Factor of gamma.
        members: M.
        width: Hidden units.
        gradient_steps: Steps of Adam after each episode.
        lr: Their learning rate.
        seed: Of the drawn networks, the bootstrap and the batches.
    """

    def __init__(
        self,
        task: Mixture,
        alpha: float,
        episodes: int,
        delta: float,
        bonus_scale: float,
        members: int,
        width: int,
        gradient_steps: int,
        lr: float,
        seed: int,
    ) -> None:
        mdp = task.mdp
        self.shape = (members, mdp.H, mdp.S, mdp.A)
        self.alpha = alpha
        self.gamma = bonus_scale * mdp.H * math.sqrt(2.0 * math.log(members * mdp.H / delta))
        self.gradient_steps = gradient_steps
        self.seed = seed
        rng = np.random.default_rng(seed)
        scale = SHARPNESS * math.sqrt(2.0 / width)  # E relu(z)^2 = 1/2
        self.weights = {
            "pairs": torch.tensor(rng.standard_normal((members, mdp.S * mdp.A, width))),
            "steps": torch.zeros((members, mdp.H, width), dtype=torch.float64),
            "out": torch.tensor(scale * rng.standard_normal((members, 1, width, mdp.S))),
        }
        for weight in self.weights.values():
            weight.requires_grad_()
        self.optimizer = torch.optim.Adam(self.weights.values(), lr=lr)
        self.played = 0
        self.pairs = np.zeros((episodes, mdp.H), dtype=np.int64)
        self.clipped = np.zeros((episodes, mdp.H, mdp.S))
        self.targets = np.zeros((episodes, mdp.H))
        self.bootstrap = rng.exponential(size=(episodes, members))
        self.refresh()

    def probabilities(self, pairs: torch.Tensor) -> torch.Tensor:
        """P_m,h(. | s, a) for s A + a in `pairs` (B, H), (M, B, H, S) float64."""
        hidden = torch.relu(self.weights["pairs"][:, pairs] + self.weights["steps"][:, None])
        return torch.softmax(hidden @ self.weights["out"], dim=-1)

    def refresh(self) -> None:
        M, H, S, A = self.shape
        every = torch.arange(S * A)[:, None].expand(S * A, H)
        with torch.no_grad():
            probabilities = self.probabilities(every).transpose(1, 2).numpy()  # (M, H, S A, S)
        self.models = probabilities.reshape(M, H, S, A, S)
        past = self._predictions(probabilities)  # (n, H, M)
        losses = ((past - self.targets[: self.played, :, None]) ** 2).sum(axis=0)
        self.best = losses.argmin(axis=1)  # (H,)
        self.estimates = np.take_along_axis(past, self.best[None, :, None], axis=2)
        off = ((past - self.estimates) ** 2).sum(axis=0)
        self.inside = off <= self.gamma**2  # (H, M)

    def optimistic(self, h: int, grid: np.ndarray, values: np.ndarray) -> np.ndarray:
        inside = self.models[self.inside[h], h]
        best: np.ndarray = grid_cvar(grid, values, inside, self.alpha).max(axis=0)
        return best

    def widths(self, states: np.ndarray, actions: np.ndarray, clipped: np.ndarray) -> np.ndarray:
        steps = np.arange(len(states))
        probabilities = self.models[:, steps, states, actions].transpose(1, 0, 2)  # (H, M, S)
        predicted = probabilities @ clipped.transpose(0, 2, 1)  # (H, M, X)
        return spread(predicted, self.inside)

    def add(
        self, states: np.ndarray, actions: np.ndarray, clipped: np.ndarray, targets: np.ndarray
    ) -> None:
        n = self.played
        self.pairs[n] = states * self.shape[3] + actions
        self.clipped[n], self.targets[n] = clipped, targets
        self.played = n + 1
        rng = np.random.default_rng([self.seed, self.played])
        for _ in range(self.gradient_steps):
            batch = rng.integers(self.played, size=min(BATCH, self.played))
            p = self.probabilities(torch.from_numpy(self.pairs[batch]))  # (M, B, H, S)
            predicted = (p * torch.from_numpy(self.clipped[batch])).sum(dim=-1)
            errors = (predicted - torch.from_numpy(self.targets[batch])) ** 2
            loss = (torch.from_numpy(self.bootstrap[batch]).T[..., None] * errors).mean(dim=1).sum()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()

    def _predictions(self, probabilities: np.ndarray) -> np.ndarray:
        """What probabilities (M, H, S A, S) predict of the past, (n, H, M)."""
        n, steps = self.played, np.arange(self.shape[1])
        at = probabilities[:, steps, self.pairs[:n]]  # (M, n, H, S)
        return np.einsum("mnhs,nhs->nhm", at, self.clipped[:n])

    def covers(self, task: Mixture) -> bool:
        """Whether the true kernels are as near to the estimate on the past as members must be."""
        _, H, S, A = self.shape
        truth = self._predictions(task.mdp.transitions.reshape(1, H, S * A, S))
        off = ((truth - self.estimates) ** 2).sum(axis=(0, 2))
        return bool((off <= self.gamma**2).all())

    def get_state(self) -> dict[str, np.ndarray]:
        state = {
            "played": np.array(self.played),
            "pairs": self.pairs,
            "clipped": self.clipped,
            "targets": self.targets,
        }
        for name, weight in self.weights.items():
            moments = self.optimizer.state[weight]
            state[f"weights_{name}"] = weight.detach().numpy().copy()
            for key in ("exp_avg", "exp_avg_sq"):
                moment = moments.get(key, torch.zeros_like(weight))
                state[f"{key}_{name}"] = moment.detach().numpy().copy()
        return state

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        self.played = int(state["played"])
        self.pairs = state["pairs"].copy()
        self.clipped = state["clipped"].copy()
        self.targets = state["targets"].copy()
        for name, weight in self.weights.items():
            with torch.no_grad():
                weight.copy_(torch.from_numpy(state[f"weights_{name}"]))
            self.optimizer.state[weight] = {
                "step": torch.tensor(float(self.played * self.gradient_steps)),
                "exp_avg": torch.from_numpy(state[f"exp_avg_{name}"].copy()),
                "exp_avg_sq": torch.from_numpy(state[f"exp_avg_sq_{name}"].copy()),
            }
