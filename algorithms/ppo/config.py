"""Config of the PPO baseline: RLlib's defaults but for what is named here."""

from ray.rllib.algorithms.ppo import PPO, PPOConfig

from tenfold.algorithms.queue_tasks import register_queue_tasks

register_queue_tasks()


class PPOBaselineConfig(PPOConfig):
    """PPO sized for a laptop: sampling in the trial's own process, a small network.

    Raises:
        ValueError: From `validate`, for a learning rate that is not positive.
    """

    def __init__(self) -> None:
        super().__init__(algo_class=PPO)
        self.num_env_runners = 0
        self.num_envs_per_env_runner = 8
        self.lr = 3e-4
        self.entropy_coeff = 0.01
        self.num_epochs = 8
        self._model_config = {"fcnet_hiddens": [64, 64]}

    def validate(self) -> None:
        if isinstance(self.lr, int | float) and self.lr <= 0:
            raise ValueError(f"Bad value {self.lr} for 'lr': give a learning rate above 0.")
        super().validate()
