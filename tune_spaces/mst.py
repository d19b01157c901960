"""Search spaces of `mst`."""

from tenfold.platform.registry import Space

RATES = (2e-3, 4e-3, 8e-3, 1.6e-2)

SPACES = {
    "default": Space(
        define=lambda tune: {
            "lr": tune.loguniform(5e-4, 8e-3),
            "zeta": tune.uniform(0.1, 0.5),
            "delta": tune.choice([10, 20, 50, 100]),
            "grad_rand_ratio": tune.choice([1.0, 3.0, 9.0]),
        },
        samples=12,
        scheduler="asha",
    ),
    "restoration": Space(
        define=lambda tune: {
            "restoration": tune.uniform(0.5, 0.93),
            "restoration_lr": tune.loguniform(1e-4, 4e-3),
        },
        samples=12,
    ),
    # What each arm is tuned on before arms are compared: the same rates for every arm.
    "rate": Space(
        define=lambda tune: {"lr": tune.choice(RATES)}, samples=len(RATES), search="grid"
    ),
    "growth": Space(
        define=lambda tune: {"growth": tune.choice(["mixed", "gradient", "random", "none"])},
        samples=4,
        search="grid",
    ),
    "smoke": Space(
        define=lambda tune: {"growth": tune.choice(["mixed", "random"])}, samples=2, search="grid"
    ),
}
