"""Config of the DQN baseline: RLlib's defaults except for what is named here."""

from ray.rllib.algorithms.dqn import DQNConfig

from tenfold.algorithms.common.greedy_evaluation import EVALUATION_CONFIG, GreedyEvaluation
from tenfold.algorithms.common.gymnasium_tasks import GymnasiumConfig
from tenfold.algorithms.common.network_parameters import DQNParameters
from tenfold.algorithms.common.queue_tasks import queue_parameters, register_queue_tasks
from tenfold.algorithms.common.seeded_replay import SeededDQN
from tenfold.envs.queues.names import SCENARIO_NAMES
from tenfold.platform.parameters import Parameters as Model

register_queue_tasks()


class DQNBaselineConfig(GymnasiumConfig, DQNConfig):
    """DQN sized for a laptop."""

    class Parameters(GreedyEvaluation, DQNParameters):
        """Deep Q-learning, evaluated as it learns."""

    def __init__(self) -> None:
        super().__init__(algo_class=SeededDQN)
        self.evaluation_config = dict(EVALUATION_CONFIG)

    @classmethod
    def own_task(cls, task: str) -> type[Model] | None:
        return queue_parameters(task) if task in SCENARIO_NAMES else None
