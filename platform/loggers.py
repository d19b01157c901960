"""TensorBoard and W&B beside MLflow, by Tune's own callbacks, as an experiment's `log` asks.

TensorBoard's event files go into the trials' folders, over the method's step as in MLflow. W&B gets
a project of the experiment's name, in which a run of ours is a group and a trial is a run.
"""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.logger import LoggerCallback, TBXLoggerCallback
from ray.tune.result import TIMESTEPS_TOTAL

from tenfold.platform.configuration import flatten
from tenfold.platform.errors import InputError
from tenfold.platform.experiment import Experiment
from tenfold.platform.registry import Method

# What a name in `log` needs, and how it is installed.
_PACKAGES = {
    "tensorboard": ("tensorboardX", "pip install tensorboardX"),
    "wandb": ("wandb", "pip install 'tenfold[wandb]'"),
}


class TensorBoard(TBXLoggerCallback):
    """Tune's callback over the method's step; it would take RLlib's or the iteration."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        step = flatten(result, separator="/").get(self.method.step_metric, iteration)
        super().log_trial_result(iteration, trial, {**result, TIMESTEPS_TOTAL: int(step)})


def check_loggers(experiment: Experiment) -> None:
    """Refuse loggers that cannot work, before anything starts.

    Raises:
        InputError: A package is not installed, or W&B knows no key.
    """
    for name in experiment.log:
        package, command = _PACKAGES[name]
        if find_spec(package) is None:
            raise InputError(
                f"'log: {name}' needs the package '{package}', which is not installed: {command}"
            )
    if "wandb" in experiment.log:
        try:
            _wandb(experiment).setup()
        except ValueError:  # it has neither a key nor an offline mode
            raise InputError(
                "'log: wandb' has no key: run 'wandb login', set WANDB_API_KEY, or set "
                "WANDB_MODE=offline to send the runs later."
            ) from None


def loggers(experiment: Experiment, method: Method) -> Sequence[LoggerCallback]:
    """Tune's callbacks for what an experiment's `log` names."""
    makers: Mapping[str, Any] = {
        "tensorboard": lambda: TensorBoard(method),
        "wandb": lambda: _wandb(experiment),
    }
    return [makers[name]() for name in experiment.log]


def _wandb(experiment: Experiment) -> Any:
    from ray.air.integrations.wandb import WandbLoggerCallback

    # A resumed trial goes on with its run.
    return WandbLoggerCallback(project=experiment.name, resume="allow")
