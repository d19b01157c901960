"""Risk-sensitive RL in POMDPs with hindsight observation (arXiv:2402.18149).

The agent acts on observations; after an episode the hidden states are revealed. It maximises the
entropic risk (1 / gamma) log E[e^{gamma R}] of the return over policies that see the whole history.
A change of measure makes the exponential objective linear in beta vectors, so value iteration works
on vectors, and hindsight gives plain counts for an optimistic bonus. README.md says what of this is
reconstructed, what was measured and what is not built.
"""

from tenfold.algorithms.common.regret_metrics import CHECKED, METRICS
from tenfold.envs.risk.names import POMDP_ENDINGS, POMDP_NAMES
from tenfold.platform.registry import Method

EVALUATED = ("evaluation/expected_return", "evaluation/return_cvar")

METHOD = Method(
    name="risk_pomdp",
    title="Entropic risk in POMDPs with hindsight observation",
    paper="2402.18149",
    trainable="tenfold.algorithms.risk_pomdp.algorithm:RiskPOMDP",
    config="tenfold.algorithms.risk_pomdp.config:RiskPOMDPConfig",
    tasks=POMDP_NAMES,
    task_files=POMDP_ENDINGS,
    metric="regret",
    mode="min",
    cumulative=True,
    metrics=(*METRICS, *CHECKED, *EVALUATED),
    optional_metrics=frozenset([*CHECKED, *EVALUATED]),
    step_metric="episodes",
    step_unit="episodes",
    stop={},
    variants={
        "beta_vi": {},
        "beta_vi_theory": {"bonus_scale": 1.0},
        "beta_vi_likelihood": {"confidence": "likelihood", "bonus_scale": 1.0},
        "point_based": {"planner": "point_based"},
        "greedy": {"bonus_scale": 0.0},
        "risk_neutral": {"planning_gamma": 1e-6},
        "baum_welch": {"learner": "baum_welch"},
        "oracle": {"learner": "oracle"},
        "uniform": {"learner": "uniform"},
    },
    spaces="tenfold.tune_spaces.risk_pomdp:SPACES",
    adjustable=("bonus_scale",),
    smoke={"episodes": 200, "episodes_per_iteration": 10},
)
