"""Iterated CVaR reinforcement learning with function approximation (arXiv:2307.02842, ICLR 2024).

An agent that at every step cares for the worst share alpha of what may come next:
Q_h = r_h + CVaR_alpha(V_{h+1}). ICVaR-L learns linear mixtures by value-targeted ridge regression
on CVaR-adapted features with an elliptic bonus, ICVaR-G any class of models by confidence sets.
alpha = 1 is risk-neutral. README.md says what of this is reconstructed and what was measured.
"""

from tenfold.algorithms.common.regret_metrics import CHECKED, METRICS
from tenfold.envs.risk.names import MDP_ENDINGS, TASK_NAMES
from tenfold.platform.registry import Method

METHOD = Method(
    name="icvar",
    title="Iterated CVaR RL with function approximation (ICVaR-L, ICVaR-G)",
    paper="2307.02842",
    trainable="tenfold.algorithms.icvar.algorithm:ICVaR",
    config="tenfold.algorithms.icvar.config:ICVaRConfig",
    tasks=TASK_NAMES,
    task_files=MDP_ENDINGS,
    metric="regret",
    mode="min",
    cumulative=True,
    metrics=(*METRICS, *CHECKED),
    optional_metrics=frozenset(CHECKED),
    step_metric="episodes",
    step_unit="episodes",
    stop={},
    variants={
        "icvar_l": {},
        "icvar_l_theory": {"bonus_scale": 1.0},
        "icvar_l_likelihood": {"confidence": "likelihood", "bonus_scale": 1.0},
        "icvar_l_grid": {"grid": "uniform", "epsilon": 0.1},
        "icvar_g_linear": {"learner": "icvar_g", "model_class": "linear"},
        "icvar_g_finite": {"learner": "icvar_g", "model_class": "finite"},
        "icvar_g_neural": {
            "learner": "icvar_g",
            "model_class": "neural",
            "class_size": 8,
            "bonus_scale": 0.05,
        },
        "human_feedback": {"learner": "human_feedback"},
        "human_feedback_greedy": {"learner": "human_feedback", "feedback_bonus": 0.0},
        "icvar_rm": {"learner": "icvar_rm"},
        "greedy": {"confidence": "likelihood", "bonus_scale": 0.0},
        "risk_neutral": {"planning_alpha": 1.0},
        "epsilon_greedy": {"learner": "epsilon_greedy"},
        "oracle": {"learner": "oracle"},
        "uniform": {"learner": "uniform"},
    },
    spaces="tenfold.tune_spaces.icvar:SPACES",
    adjustable=("bonus_scale",),
    smoke={"episodes": 200, "episodes_per_iteration": 10},
)
