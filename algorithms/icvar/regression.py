"""Value-targeted ridge regression on CVaR-adapted features, for all steps h at once.

For a linear mixture P_h(s' | s, a) = <theta_h, phi(s', s, a)> an episode gives, at its states and
actions, the feature f = psi_x(s_h, a_h) of the chosen x and the target y = (x - V(s_{h+1}))^+ whose
mean is <theta_h, f>. Lambda_h = lambda I + sum f f^T, b_h = sum f y, theta_h = Lambda_h^{-1} b_h.

Scaling: phi = P^i / sqrt(d) and theta = sqrt(d) times the weights on the simplex, so that
||theta|| <= sqrt(d) and ||psi_V|| <= 1 for every V: S -> [0, 1].
"""

import math
from collections.abc import Mapping

import numpy as np

from tenfold.envs.risk.mixture import Mixture


class Regression:
    """Lambda (H, d, d) and b (H, d) of all steps, and the predictions from them.

    Args:
        task: The base kernels, whose mixture is unknown.
        lambda_: Ridge lambda; H^2 when None.
    """

    def __init__(self, task: Mixture, lambda_: float | None) -> None:
        H, S, A, d = task.mdp.H, task.mdp.S, task.mdp.A, task.d
        self.ridge = float(H**2 if lambda_ is None else lambda_)
        # phi as (S', d, S * A): features of all x are one matrix product, sums over d are fast.
        features = task.kernels.reshape(d, S * A, S) / math.sqrt(d)
        self.phi = np.ascontiguousarray(features.transpose(2, 0, 1))
        self.actions = A
        self.Lambda = np.tile(self.ridge * np.eye(d), (H, 1, 1))
        self.b = np.zeros((H, d))
        self.solve()

    def solve(self) -> None:
        """Set what predictions need from Lambda and b; called before planning.

        theta (H, d); `white` = L^{-1} with Lambda = L L^T, so ||f||_{Lambda^{-1}} = ||L^{-1} f||.
        """
        self.theta = np.linalg.solve(self.Lambda, self.b[..., None])[..., 0]
        self.white = np.linalg.inv(np.linalg.cholesky(self.Lambda))
        self.kernels = np.tensordot(self.theta, self.phi, axes=(1, 1))  # (H, S', S * A)
        self.white_phi = self.white[:, None] @ self.phi  # (H, S', d, S * A)

    def means(self, h: int, clipped: np.ndarray) -> np.ndarray:
        """<theta_h, psi_x(s, a)>, (X, S * A), for `clipped` = (x - V(s'))^+, (X, S')."""
        expected: np.ndarray = clipped @ self.kernels[h]
        return expected

    def squares(self, h: int, clipped: np.ndarray) -> np.ndarray:
        """||psi_x(s, a)||^2 in the norm of Lambda_h^{-1}, (X, S * A), for `clipped` (X, S')."""
        white = self.white_phi[h]
        psi = (clipped @ white.reshape(len(white), -1)).reshape(-1, *white.shape[1:])
        total: np.ndarray = np.square(psi, out=psi).sum(axis=1)
        return total

    def features(self, states: np.ndarray, actions: np.ndarray, clipped: np.ndarray) -> np.ndarray:
        """psi_x at the states and actions of an episode.

        Args:
            states: (H,) int.
            actions: (H,) int.
            clipped: (H, X, S').

        Returns:
            (H, X, d) float64.
        """
        at = self.phi[:, :, states * self.actions + actions]  # (S', d, H)
        psi: np.ndarray = clipped @ at.transpose(2, 0, 1)
        return psi

    def norms(self, psi: np.ndarray) -> np.ndarray:
        """||psi||_{Lambda_h^{-1}}, (H, X), of features (H, X, d)."""
        return np.linalg.norm(psi @ self.white.transpose(0, 2, 1), axis=-1)

    def add(self, f: np.ndarray, targets: np.ndarray) -> None:
        """Learn one feature (H, d) and target (H,) of each step."""
        self.Lambda += f[:, :, None] * f[:, None, :]
        self.b += targets[:, None] * f

    def errors(self, task: Mixture) -> np.ndarray:
        """||theta_h - truth_h||_{Lambda_h} of each step, (H,): what beta bounds."""
        off = self.theta - math.sqrt(task.d) * task.theta
        return np.sqrt(np.einsum("hd,hde,he->h", off, self.Lambda, off))

    def get_state(self) -> dict[str, np.ndarray]:
        """Lambda (H, d, d) and b (H, d)."""
        return {"Lambda": self.Lambda, "b": self.b}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from `get_state`."""
        self.Lambda = state["Lambda"].copy()
        self.b = state["b"].copy()
