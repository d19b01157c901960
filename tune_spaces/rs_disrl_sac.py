"""Search spaces of static risk with continuous actions."""

from tenfold.platform.registry import Space

SPACES = {
    "default": Space(
        lambda tune: {
            "actor_lr": tune.loguniform(1e-4, 3e-3),
            "critic_lr": tune.loguniform(3e-4, 3e-3),
            "num_quantiles": tune.choice([16, 32, 64]),
            "num_critics": tune.choice([1, 2]),
            "kappa": tune.choice([0.0, 0.01, 0.1]),
            "tau": tune.loguniform(0.003, 0.05),
        },
        samples=12,
    ),
    "alpha": Space(
        lambda tune: {"rho_parameters": tune.choice([{"alpha": a} for a in (0.1, 0.25, 0.5, 1.0)])},
        samples=4,
    ),
    "smoke": Space(lambda tune: {"critic_lr": tune.choice([5e-4, 1e-3])}, samples=2),
}
