"""RL-CFR: learned action abstraction for imperfect-information games (arXiv:2403.04344, ICML 2024).

In no-limit poker a player may bet any amount; a solver can afford a few sizes only. RL-CFR chooses
at every public state which ones, so that counterfactual regret minimisation finds a better strategy
at the same cost. The choice is the action of a Markov decision process over public belief states:
its reward is what the player to act gains over a default abstraction when the subgame is solved
with either, and the solved strategies play the hand on. An actor-critic learns it from scratch.
README.md says what of this is reconstructed and what was measured.
"""

from tenfold.platform.registry import Method

METHOD = Method(
    name="rl_cfr",
    title="Learned action abstraction for CFR in no-limit poker (RL-CFR)",
    paper="2403.04344",
    trainable="tenfold.algorithms.rl_cfr.algorithm:RLCFR",
    config="tenfold.algorithms.rl_cfr.config:RLCFRConfig",
    tasks=("river_hunl", "leduc_nl", "turn_hunl", "flop_short", "hunl"),
    metric="gain_mbb",
    mode="max",
    score="tail_mean",
    metrics=(
        "gain_mbb",
        "gain_mbb_low",
        "gain_mbb_high",
        "gain_millipot",
        "nodes",
        "default_nodes",
        "solve_seconds",
        "default_solve_seconds",
        "critic_loss",
        "value_loss",
        "decisions",
        "transitions",
    ),
    step_metric="episodes",
    step_unit="episodes",
    stop={"episodes": 2_000},
    variants={
        "rl_cfr": {},
        "critics": {"choice": "critics", "tries": 9},
        "default": {"policy": "fixed"},
        "small_sizes": {"policy": "fixed", "sizes": [0.25, 0.5, 1.0]},
        "large_sizes": {"policy": "fixed", "sizes": [1.0, 2.0, 4.0]},
        "spread_sizes": {"policy": "fixed", "sizes": [0.25, 1.0, 4.0]},
        "pot_only": {"policy": "fixed", "sizes": [1.0]},
        # Tuned for experiments/rl_cfr/headline.yaml by its headroom.py.
        "tuned_one": {"policy": "fixed", "sizes": [1.0], "bet_sizes": [0.7]},
        "random": {"policy": "random"},
        "all_sizes": {
            "policy": "fixed",
            "sizes": [0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 4.0],
        },
    },
    spaces="tenfold.tune_spaces.rl_cfr:SPACES",
    adjustable=("lr", "noise", "updates_per_transition", "value_lr", "value_updates_per_sample"),
    smoke={
        "episodes_per_iteration": 2,
        "tries": 1,
        "cfr_iterations": 10,
        "warmup": 2,
        "batch_size": 8,
        "hidden": [16],
        "value_hidden": [16],
        "value_warmup": 4,
        "evaluation_duration": 2,
        "env_config": {"hands": 20},
    },
)
