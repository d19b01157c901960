"""Search spaces of risk-sensitive distributional RL: the bonus, the sets, the risk level."""

from tenfold.platform.registry import Space

SPACES = {
    "default": Space(lambda tune: {"bonus_scale": tune.loguniform(1e-3, 1.0)}, samples=16),
    "sets": Space(
        lambda tune: {
            "family": tune.choice(["model", "value"]),
            "estimator": tune.choice(["lsr", "mle"]),
            "bonus_scale": tune.loguniform(1e-3, 1.0),
        },
        samples=16,
    ),
    "linear": Space(
        lambda tune: {
            "family": tune.choice(["linear"]),
            "value_knots": tune.choice([3, 5, 9]),
            "bonus_scale": tune.loguniform(1e-3, 1.0),
        },
        samples=16,
    ),
    "alpha": Space(
        lambda tune: {"rho_parameters": tune.choice([{"alpha": a} for a in (0.1, 0.25, 0.5, 1.0)])},
        samples=4,
    ),
    "scales": Space(
        lambda tune: {"bonus_scale": tune.choice([1.0, 0.3, 0.1, 0.03])},
        samples=4,
        search="grid",
    ),
    "smoke": Space(lambda tune: {"bonus_scale": tune.choice([0.05, 1.0])}, samples=2),
}
