"""Search spaces of DOM2 and its baselines: the same number of trials tunes each variant."""

from tenfold.platform.registry import Space

SPACES = {
    "default": Space(
        lambda tune: {
            "eta": tune.loguniform(0.1, 50.0),
            "cql_alpha": tune.choice([0.5, 1.0, 5.0]),
            "lr_actor": tune.loguniform(3e-4, 3e-3),
            "lr_critic": tune.loguniform(3e-4, 3e-3),
        },
        samples=12,
    ),
    "eta": Space(
        lambda tune: {"eta": tune.choice([0.1, 0.3, 1.0, 3.0, 10.0])}, samples=5, search="grid"
    ),
    "solver_steps": Space(
        lambda tune: {"solver_steps": tune.choice([1, 2, 3, 5, 10, 20])}, samples=6, search="grid"
    ),
    "data": Space(
        lambda tune: {"data_fraction": tune.choice([0.01, 0.05, 0.25, 1.0])},
        samples=4,
        search="grid",
    ),
    "prediction": Space(
        lambda tune: {
            "prediction_type": tune.choice(["epsilon", "sample", "v"]),
            "noise_net": tune.choice(["mlp", "unet_mlp"]),
        },
        samples=6,
        search="grid",
    ),
    "smoke": Space(lambda tune: {"eta": tune.choice([0.3, 1.0])}, samples=2),
}
