"""Search spaces of `qsr`."""

from tenfold.platform.registry import Space

RATES = (2e-4, 8e-3)
SAMPLES = 8

SPACES = {
    "default": Space(
        define=lambda tune: {
            "alpha": tune.loguniform(1e-3, 2e-2),
            "base": tune.choice([1, 2, 4, 8]),
            "lr": tune.loguniform(5e-4, 8e-3),
        },
        samples=16,
        scheduler="asha",
    ),
    "alpha": Space(
        define=lambda tune: {"alpha": tune.choice([0.002, 0.003, 0.004, 0.006, 0.008, 0.012])},
        samples=6,
        search="grid",
    ),
    # What each arm is tuned on before arms are compared, with as many points for every arm.
    "rate": Space(define=lambda tune: {"lr": tune.loguniform(*RATES)}, samples=SAMPLES),
    "qsr": Space(
        define=lambda tune: {"lr": tune.loguniform(*RATES), "alpha": tune.loguniform(1e-3, 1e-2)},
        samples=SAMPLES,
    ),
    "diloco": Space(
        define=lambda tune: {"lr": tune.loguniform(*RATES), "outer_lr": tune.uniform(0.4, 1.0)},
        samples=SAMPLES,
    ),
    "smoke": Space(define=lambda tune: {"base": tune.choice([1, 2])}, samples=2, search="grid"),
}
