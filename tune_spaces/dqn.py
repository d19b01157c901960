"""Search spaces of DQN."""

from tenfold.platform.registry import Space

SPACES = {
    "default": Space(
        lambda tune: {
            "lr": tune.loguniform(1e-5, 1e-2),
            "n_step": tune.choice([1, 3, 5]),
            "target_network_update_freq": tune.choice([250, 500, 1000]),
        },
        samples=16,
        scheduler="asha",
    ),
    "smoke": Space(lambda tune: {"lr": tune.choice([1e-4, 1e-3])}, samples=2),
}
