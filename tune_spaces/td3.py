"""Search spaces of TD3."""

from tenfold.platform.registry import Space

SPACES = {
    "default": Space(
        lambda tune: {
            "actor_lr": tune.loguniform(1e-5, 1e-3),
            "critic_lr": tune.loguniform(1e-5, 1e-3),
            "tau": tune.choice([0.001, 0.005, 0.02]),
            "exploration_noise": tune.choice([0.05, 0.1, 0.2]),
        },
        samples=16,
        scheduler="asha",
    ),
    "smoke": Space(lambda tune: {"tau": tune.choice([0.005, 0.02])}, samples=2),
}
