"""Search spaces of RL-CFR: the learner, the abstraction, and the value networks."""

from tenfold.platform.registry import Space

SPACES = {
    "default": Space(
        lambda tune: {
            "lr": tune.loguniform(1e-4, 5e-3),
            "noise": tune.uniform(0.1, 0.6),
            "updates_per_transition": tune.choice([0.2, 0.5, 1.0, 2.0]),
        },
        samples=12,
    ),
    "abstraction": Space(
        lambda tune: {
            "m": tune.choice([1, 2, 3, 4]),
            "threshold": tune.uniform(-1.0, 0.0),
            "largest": tune.choice([2.0, 4.0, 8.0]),
        },
        samples=12,
    ),
    "values": Space(  # for tasks with trees that end before the river
        lambda tune: {
            "value_lr": tune.loguniform(3e-4, 1e-2),
            "value_hidden": tune.choice([[64, 64], [128, 64], [128, 128]]),
            "value_updates_per_sample": tune.choice([1.0, 4.0, 8.0]),
        },
        samples=12,
    ),
    "smoke": Space(lambda tune: {"lr": tune.choice([1e-3, 3e-3])}, samples=2),
}
