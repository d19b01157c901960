"""Search spaces of iterated CVaR RL: the bonus, and what ICVaR-G and the grid add."""

from tenfold.platform.registry import Space

SPACES = {
    "default": Space(
        lambda tune: {
            "bonus_scale": tune.loguniform(1e-3, 1.0),
            "lambda": tune.loguniform(0.1, 100.0),
        },
        samples=16,
    ),
    "alpha": Space(lambda tune: {"alpha": tune.choice([0.1, 0.25, 0.5, 1.0])}, samples=4),
    "classes": Space(
        lambda tune: {
            "learner": tune.choice(["icvar_g"]),
            "model_class": tune.choice(["linear", "finite", "neural"]),
            "bonus_scale": tune.loguniform(1e-3, 1.0),
        },
        samples=12,
    ),
    "scales": Space(
        lambda tune: {"bonus_scale": tune.choice([0.3, 0.1, 0.03, 0.01, 0.003])},
        samples=5,
        search="grid",
    ),
    "smoke": Space(lambda tune: {"bonus_scale": tune.choice([0.05, 1.0])}, samples=2),
}
