"""Search spaces of PPO on entropic risk: learning rate, entropy and hindsight, and risk itself."""

from tenfold.platform.registry import Space

SPACES = {
    "default": Space(
        lambda tune: {
            "lr": tune.loguniform(1e-4, 1e-2),
            "entropy_coeff": tune.loguniform(1e-4, 3e-2),
            "hindsight_coeff": tune.choice([0.0, 0.1, 0.5, 1.0]),
        },
        samples=16,
        scheduler="asha",
    ),
    "gamma": Space(
        lambda tune: {"gamma_risk": tune.choice([-5.0, -3.0, -1.0, 0.0, 1.0])},
        samples=5,
        search="grid",
    ),
    "smoke": Space(lambda tune: {"hindsight_coeff": tune.choice([0.0, 0.5])}, samples=2),
}
