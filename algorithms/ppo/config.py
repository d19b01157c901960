"""Config of the PPO baseline: RLlib's defaults except for what is named here."""

from gymnasium import spaces
from ray.rllib.algorithms.ppo import PPO, PPOConfig

from tenfold.algorithms.common.greedy_evaluation import EVALUATION_CONFIG, GreedyEvaluation
from tenfold.algorithms.common.gymnasium_tasks import GymnasiumConfig
from tenfold.algorithms.common.network_parameters import PPOParameters
from tenfold.algorithms.common.queue_tasks import queue_parameters, register_queue_tasks
from tenfold.envs.queues.names import SCENARIO_NAMES
from tenfold.platform.parameters import Parameters as Model

register_queue_tasks()


class PPOBaselineConfig(GymnasiumConfig, PPOConfig):
    """PPO sized for a laptop: sampling in the trial's own process, a small network."""

    class Parameters(GreedyEvaluation, PPOParameters):
        """Proximal policy optimisation, evaluated as it learns."""

    actions = (spaces.Discrete, spaces.MultiDiscrete, spaces.Box)

    def __init__(self) -> None:
        super().__init__(algo_class=PPO)
        self.evaluation_config = dict(EVALUATION_CONFIG)

    @classmethod
    def own_task(cls, task: str) -> type[Model] | None:
        return queue_parameters(task) if task in SCENARIO_NAMES else None
