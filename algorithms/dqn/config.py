"""Config of the DQN baseline: RLlib's defaults but for what is named here."""

from ray.rllib.algorithms.dqn import DQNConfig

from tenfold.algorithms.queue_tasks import register_queue_tasks
from tenfold.algorithms.seeded_replay import SeededDQN

register_queue_tasks()


class DQNBaselineConfig(DQNConfig):
    """DQN sized for a laptop.

    Raises:
        ValueError: From `validate`, for a learning rate that is not positive.
    """

    def __init__(self) -> None:
        super().__init__(algo_class=SeededDQN)
        self.num_env_runners = 0
        self._train_batch_size_per_learner = 32
        self._model_config = {"fcnet_hiddens": [64, 64]}

    def validate(self) -> None:
        if isinstance(self.lr, int | float) and self.lr <= 0:
            raise ValueError(f"Bad value {self.lr} for 'lr': give a learning rate above 0.")
        super().validate()
