"""DOM2 (arXiv:2307.01472): diffusion policies for offline multi-agent reinforcement learning.

Each agent learns by itself from recorded joint trajectories: a diffusion policy, sampled by a
first-order solver in a few steps, is held to the data and raised by a conservative double critic;
trajectories of high return count more. README.md says what of this is reconstructed, which
baselines are variants of the same code, and what was measured.
"""

from tenfold.algorithms.offline.shifts import SHIFT_NAMES
from tenfold.envs.offline.names import OFFLINE_TASKS
from tenfold.platform.registry import Method

_SHIFTED = tuple(f"return_{name}" for name in SHIFT_NAMES)
_FIRST = "mpe/spread-medium"
_BC = {"eta": 0.0, "cql_alpha": 0.0, "baseline": True}
_TD3 = {
    "policy": "deterministic",
    "target_noise": 0.2,
    "policy_delay": 2,
    "baseline": True,
}

METHOD = Method(
    name="dom2",
    title="Diffusion policies for offline multi-agent RL",
    paper="2307.01472",
    trainable="tenfold.algorithms.dom2.algorithm:DOM2",
    config="tenfold.algorithms.dom2.config:DOM2Config",
    tasks=tuple(sorted(OFFLINE_TASKS, key=lambda task: task != _FIRST)),
    task_folders=True,
    metric="return",
    mode="max",
    metrics=(
        "return",
        "normalised_return",
        "return_std",
        "action_diversity",
        "clipped_actions",
        "solver_calls",
        "effective_sample_share",
        "data_coverage",
        "learners/agents/bc_loss",
        "learners/agents/q_mean",
        "learners/agents/td_loss",
        "learners/agents/cql_gap",
        "q_overestimation",
        "update_seconds",
        "evaluation_seconds",
        *_SHIFTED,
    ),
    optional_metrics=frozenset({"normalised_return", *_SHIFTED}),
    normalised=frozenset({"normalised_return"}),
    step_metric="updates",
    step_unit="updates",
    stop={"updates": 5_000},
    variants={
        "dom2": {},
        "no_diffusion": {"policy": "deterministic"},
        "no_augmentation": {"augment": "none"},
        "no_conservatism": {"cql_alpha": 0.0},
        "last_step": {"backprop_steps": "last"},
        "gaussian_bc": {"policy": "gaussian", **_BC},
        "diffusion_bc": _BC,
        "td3_bc": {**_TD3, "cql_alpha": 0.0, "eta": 0.3},
        "ma_cql": {"policy": "deterministic", "bc_weight": 0.0, "baseline": True},
        "omar": {
            "policy": "deterministic",
            "bc_weight": 0.0,
            "omar_coe": 1.0,
            "baseline": True,
        },
        "sfbc": {
            "eta": 0.0,
            "cql_alpha": 0.0,
            "eval_candidates": 16,
            "backup_candidates": 4,
            "baseline": True,
        },
        "diffusion_ql": {"cql_alpha": 0.0, "baseline": True},
        "iql": {
            "policy": "gaussian",
            "eta": 0.0,
            "cql_alpha": 0.0,
            "expectile": 0.7,
            "reward_scale": 0.1,
            "baseline": True,
        },
    },
    spaces="tenfold.tune_spaces.dom2:SPACES",
    adjustable=("lr_actor", "lr_critic", "eta", "cql_alpha", "tau"),
    smoke={
        "batch": 16,
        "q_batch": 8,
        "q_warmup": 0,
        "updates_per_iteration": 2,
        "hidden": 8,
        "critic_hidden": 8,
        "solver_steps": 2,
        "judge_episodes": 4,
    },
)
