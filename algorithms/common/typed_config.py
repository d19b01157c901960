"""RLlib configs whose keys are typed: filled from a `Parameters` model, and checked against it.

A method's config names its model as ``Parameters``; RLlib's own keys that the method gives another
default, or wants to bound, are in the model too (`TypedConfig.Parameters` has those of every
method, `tenfold.algorithms.common.network_parameters` has those of methods that train networks).
What a task may change (`env_config`) is a model that `task_parameters` returns.
"""

from typing import Any, ClassVar

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.utils.annotations import override

from tenfold.platform import parameters
from tenfold.platform.parameters import parameter
from tenfold.platform.rllib_keys import attribute


class TypedConfig(AlgorithmConfig):
    """A config filled from its `Parameters`; put it before RLlib's class.

    RLlib builds an algorithm from a copy of its config, and the copy leaves out what equals -1, its
    mark of keys that are gone. A key of a method may well be -1, so `get_state` keeps ours.

    Attributes:
        reads: RLlib's keys that the algorithm reads; None if it is one that trains networks and
            reads all that RLlib's new API stack does.
    """

    reads: ClassVar[frozenset[str] | None] = None

    class Parameters(parameters.Parameters):
        """RLlib's runners, which every method has; a method adds its own keys."""

        num_env_runners: int = parameter(
            0, "Runner processes; 0 collects in the trial's own", ge=0, le=10_000
        )
        num_cpus_per_env_runner: int = parameter(1, "CPUs of a runner", ge=0, le=10_000)
        num_gpus_per_env_runner: float = parameter(0, "GPUs of a runner", ge=0, le=10_000)

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class=algo_class)
        for key, field in self.Parameters.model_fields.items():
            setattr(self, self._attribute(key), field.get_default(call_default_factory=True))

    def _attribute(self, name: str) -> str:
        """Where a field's value is: RLlib spells some keys its own way."""
        spelled = attribute(self, self.Parameters.model_fields[name].alias or name)
        return spelled if spelled in vars(self) else name

    @classmethod
    def task_parameters(cls, task: str) -> type[parameters.Parameters] | None:
        """What `env_config` may hold on a task; None if only the environment can tell."""
        return None

    @override(AlgorithmConfig)
    def validate(self) -> None:
        """Check types and bounds; subclasses add what several keys together must fulfil.

        Raises:
            ValueError: One sentence that names the key, the value and what would be right.
        """
        self.check_parameters()
        super().validate()

    def check_parameters(self) -> None:
        """Hold the method's keys and `env_config` against their models; imports nothing of theirs.

        Raises:
            ValueError: As `validate`.
        """
        fields = self.Parameters.model_fields
        values = {
            field.alias or key: getattr(self, self._attribute(key)) for key, field in fields.items()
        }
        parameters.check(self.Parameters, values)
        model = self.task_parameters(self.env) if isinstance(self.env, str) else None
        if model is not None:
            parameters.check(model, self.env_config, "env_config.")

    @override(AlgorithmConfig)
    def get_state(self) -> dict[str, Any]:
        """RLlib's state, with our keys whatever their values."""
        library = next(each for each in type(self).__mro__ if each.__module__.startswith("ray."))
        ours = vars(self).keys() - vars(library()).keys()
        return {**super().get_state(), **{key: getattr(self, key) for key in ours}}
