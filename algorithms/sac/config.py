"""Config of the SAC baseline: RLlib's defaults but for what is named here."""

from ray.rllib.algorithms.sac import SACConfig

from tenfold.algorithms.seeded_replay import SeededSAC


class SACBaselineConfig(SACConfig):
    """SAC sized for a laptop.

    Raises:
        ValueError: From `validate`, for a learning rate that is not positive.
    """

    def __init__(self) -> None:
        super().__init__(algo_class=SeededSAC)
        self.num_env_runners = 0
        # RLlib's SAC ends an iteration by the clock; equal seeds must give equal iterations.
        self.min_time_s_per_iteration = None
        self.min_sample_timesteps_per_iteration = 1_000
        self.actor_lr = 3e-4
        self.critic_lr = 3e-4

    def validate(self) -> None:
        for key in ("actor_lr", "critic_lr", "alpha_lr"):
            value = getattr(self, key)
            if isinstance(value, int | float) and value <= 0:
                raise ValueError(f"Bad value {value} for '{key}': give a learning rate above 0.")
        super().validate()
