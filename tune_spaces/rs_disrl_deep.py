"""Search spaces of static risk with a quantile critic."""

from tenfold.platform.registry import Space

SPACES = {
    "default": Space(
        lambda tune: {
            "lr": tune.loguniform(1e-4, 5e-3),
            "num_atoms": tune.choice([20, 40, 80]),
            "kappa": tune.choice([0.0, 0.01, 0.1]),
            "tau": tune.loguniform(0.005, 0.2),
        },
        samples=12,
    ),
    "alpha": Space(
        lambda tune: {"rho_parameters": tune.choice([{"alpha": a} for a in (0.1, 0.25, 0.5, 1.0)])},
        samples=4,
    ),
    "smoke": Space(lambda tune: {"lr": tune.choice([5e-4, 1e-3])}, samples=2),
}
