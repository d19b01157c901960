"""Search spaces of SAC."""

from tenfold.platform.registry import Space

SPACES = {
    "default": Space(
        lambda tune: {
            "actor_lr": tune.loguniform(1e-5, 1e-3),
            "critic_lr": tune.loguniform(1e-5, 1e-3),
            "tau": tune.choice([0.001, 0.005, 0.02]),
        },
        samples=16,
        scheduler="asha",
    ),
    "smoke": Space(lambda tune: {"tau": tune.choice([0.005, 0.02])}, samples=2),
}
