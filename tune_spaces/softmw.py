"""Search spaces of queue scheduling: the constants of SoftMW, SSMW and SoftMW-fast."""

from tenfold.platform.registry import Space

SPACES = {
    "default": Space(
        lambda tune: {
            "constants.c_eta": tune.loguniform(0.05, 5.0),
            "constants.delta": tune.uniform(0.02, 0.5),
        },
        samples=16,
    ),
    "window": Space(
        lambda tune: {
            "scheduler": tune.choice(["ssmw"]),
            "constants.W": tune.choice([500, 1_000, 2_000, 5_000, 10_000]),
            "constants.c_eta": tune.loguniform(0.05, 5.0),
        },
        samples=16,
    ),
    "fast": Space(
        lambda tune: {
            "scheduler": tune.choice(["softmw_fast"]),
            "constants.B": tune.choice([50.0, 150.0, 500.0, 1_500.0]),
            "constants.gamma": tune.choice([0.99, 0.998, 0.9995]),
        },
        samples=12,
    ),
    "smoke": Space(lambda tune: {"constants.c_eta": tune.choice([0.3, 1.0])}, samples=2),
}
