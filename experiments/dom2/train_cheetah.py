"""Behaviour policies of the half cheetah, by augmented random search (Mania et al., 2018, V2-t).

    python experiments/dom2/train_cheetah.py

Each of the two agents has its own linear map of its own 11 observations and a tanh; the search
moves both at once by their common return. Observations are standardised by running moments, which
are folded into the weights at the end. The first policy around which the search's episodes reach
the return of the published medium data becomes `medium`, that of the expert data `expert`; both go
to envs/offline/cheetah_policies.npz. It takes a minute on one core.
"""

import argparse
import time
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from tenfold.envs.mamujoco import make_cheetah

OUT = Path(__file__).parents[2] / "envs" / "offline" / "cheetah_policies.npz"
DIRECTIONS, BEST, STEP, NOISE = 16, 8, 0.02, 0.03
STEPS = 1_000
RETURNS = {"medium": 1_568.9, "expert": 3_338.7}


def partition() -> tuple[np.ndarray, np.ndarray]:
    """Which of the 17 observations (2, 11) and of the 6 actions (2, 3) are whose."""
    env: Any = make_cheetah()
    seen, _ = env.reset(seed=0)
    whole = env.unwrapped.single_agent_env.unwrapped._get_obs()
    observations = [[int(np.abs(whole - x).argmin()) for x in seen[a]] for a in env.possible_agents]
    actions = [[joint.act_ids for joint in part] for part in env.unwrapped.agent_action_partitions]
    return np.array(observations), np.array(actions)


class Search:
    """Linear policies M (6, 17), zero where an agent does not see, and a bias (6,)."""

    def __init__(self, seed: int) -> None:
        self.env: Any = make_cheetah().unwrapped.single_agent_env.unwrapped
        self.rows: list[np.ndarray] = []
        self.rng = np.random.default_rng(seed)
        observations, actions = partition()
        self.mask = np.zeros((6, 17))
        for seen, moved in zip(observations, actions, strict=True):
            self.mask[np.ix_(moved, seen)] = 1.0
        self.observations, self.actions = observations, actions
        self.M = np.zeros((6, 17))
        self.count, self.mean, self.square = 1e-4, np.zeros(17), np.ones(17) * 1e-4

    def scale(self) -> np.ndarray:
        return np.sqrt(np.maximum(self.square / self.count - self.mean**2, 1e-4))

    def play(self, M: np.ndarray) -> float:
        """Return of an episode; its observations join the moments at the end of an iteration."""
        mean, scale, total, rows = self.mean, self.scale(), 0.0, []
        seen, _ = self.env.reset(seed=int(self.rng.integers(2**31)))
        for _ in range(STEPS):
            rows.append(seen)
            seen, reward, *_ = self.env.step(np.tanh(M @ ((seen - mean) / scale)))
            total += reward
        self.rows += rows
        return total

    def iterate(self) -> float:
        """One step of the search; the mean return of its episodes."""
        self.rows = []
        deltas = self.rng.normal(size=(DIRECTIONS, *self.M.shape)) * self.mask
        up = np.array([self.play(self.M + NOISE * delta) for delta in deltas])
        down = np.array([self.play(self.M - NOISE * delta) for delta in deltas])
        best = np.argsort(-np.maximum(up, down))[:BEST]
        spread = np.r_[up[best], down[best]].std() + 1e-8
        self.M += STEP / (BEST * spread) * np.einsum("k,kij->ij", (up - down)[best], deltas[best])
        rows = np.array(self.rows)
        total = self.count + len(rows)
        self.mean = (self.count * self.mean + rows.sum(axis=0)) / total
        self.square = self.square + (rows**2).sum(axis=0)
        self.count = total
        return float(np.r_[up, down].mean())

    def policy(self) -> tuple[np.ndarray, np.ndarray]:
        """Weights (2, 11, 3) and bias (2, 3) of what the agents observe as it is."""
        weights = self.M / self.scale()
        bias = -weights @ self.mean
        own = zip(self.observations, self.actions, strict=True)
        by_agent = [(weights[np.ix_(moved, seen)].T, bias[moved]) for seen, moved in own]
        return np.stack([w for w, _ in by_agent]), np.stack([b for _, b in by_agent])


def main() -> None:
    """Search until the expert's return is reached, and write both policies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    search, start = Search(parser.parse_args().seed), time.monotonic()
    found: dict[str, np.ndarray] = {}
    for iteration in count(1):
        score = search.iterate()
        print(f"{time.monotonic() - start:5.0f} s  {iteration:4}  {score:7.1f}", flush=True)
        for level, wanted in RETURNS.items():
            if score >= wanted and f"{level}_weights" not in found:
                found[f"{level}_weights"], found[f"{level}_bias"] = search.policy()
        if "expert_weights" in found:
            break
    np.savez(OUT, **found)


if __name__ == "__main__":
    main()
