"""Solver steps N against score: one cloned policy, sampled in many ways.

python -m experiments.dom2.solver_steps modes/free-expert 0       a task and a seed; a row a way

A diffusion policy is trained once (behaviour cloning, 1,000 updates of 128 rows) and evaluated with
each solver, number of steps and spacing of times over 1,000 episodes; each row has the score and
the milliseconds of an action of 1,000 rows.
"""

import sys

import torch

from tenfold.algorithms.dom2 import METHOD
from tenfold.algorithms.dom2.algorithm import DOM2
from tenfold.algorithms.dom2.latency import action_seconds
from tenfold.algorithms.dom2.solver import Solver
from tenfold.platform.configuration import build_config

WAYS = [
    *(("dpm1", N, spacing) for N in (1, 2, 3, 5, 10, 20) for spacing in ("uniform", "logsnr")),
    *(("dpm2", N, "logsnr") for N in (3, 5, 10)),
    *(("ddpm", N, "uniform") for N in (20, 50, 100)),
]


def main(task: str, seed: int) -> None:
    torch.set_num_threads(1)
    changes = {"batch": 128, "updates_per_iteration": 1_000, "judge_episodes": 1_000}
    algorithm = DOM2(build_config(METHOD, task, "diffusion_bc", changes, seed=seed))
    algorithm.train()
    policy = algorithm.agents_module.target_policy
    o = algorithm.agents_module.normalised(
        torch.as_tensor(algorithm.transitions.obs[:1_000]).transpose(0, 1)
    )
    print(f"{task}, seed {seed}, behaviour {algorithm.data.card.returns.mean:.3f}")
    for name, N, spacing in WAYS:
        policy.solver = Solver(policy.schedule, policy.prediction, name, N, spacing)
        score = algorithm.play().scores.mean()
        milliseconds = 1e3 * action_seconds(lambda: policy.act(o))
        print(f"{name} N={N} {spacing}: {score:.3f} in {milliseconds:.1f} ms", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
