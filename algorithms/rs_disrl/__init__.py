"""Risk-sensitive distributional RL with static Lipschitz risk measures (arXiv:2402.18159).

An agent that maximises rho(return) for a risk measure rho of the whole return: policies look at
what was collected so far, confidence sets come from least squares or likelihood, and optimism is
the best member of the sets. README.md says what of this is reconstructed and what was measured.
"""

from tenfold.algorithms.common.regret_metrics import CHECKED, METRICS
from tenfold.envs.risk.names import MDP_ENDINGS, STATIC_TASK_NAMES
from tenfold.platform.registry import Method

METHOD = Method(
    name="rs_disrl",
    title="Risk-sensitive distributional RL with static Lipschitz risk measures",
    paper="2402.18159",
    trainable="tenfold.algorithms.rs_disrl.algorithm:RSDisRLAlgorithm",
    config="tenfold.algorithms.rs_disrl.config:RSDisRLConfig",
    tasks=STATIC_TASK_NAMES,
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
        "m_lsr": {},
        "m_mle": {"estimator": "mle"},
        "v_lsr": {"family": "value"},
        "v_mle": {"family": "value", "estimator": "mle"},
        "m_mle_mean": {"estimator": "mle", "confidence": "mean", "bonus_scale": 1.0},
        "v_mle_mean": {
            "family": "value",
            "estimator": "mle",
            "confidence": "mean",
            "bonus_scale": 1.0,
        },
        "v_linear": {"family": "linear"},
        "m_lsr_theory": {"bonus_scale": 1.0},
        "m_mle_theory": {"estimator": "mle", "bonus_scale": 1.0},
        "v_lsr_theory": {"family": "value", "bonus_scale": 1.0},
        "v_mle_theory": {"family": "value", "estimator": "mle", "bonus_scale": 1.0},
        "greedy": {"bonus_scale": 0.0},
        "risk_neutral": {"learner": "risk_neutral"},
        "keramati": {"learner": "keramati"},
        "iterated": {"learner": "iterated"},
        "oracle": {"learner": "oracle"},
        "uniform": {"learner": "uniform"},
    },
    spaces="tenfold.tune_spaces.rs_disrl:SPACES",
    adjustable=("bonus_scale",),
    smoke={"episodes": 200, "episodes_per_iteration": 10},
)
