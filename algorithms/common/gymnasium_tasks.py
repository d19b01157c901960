"""Any Gymnasium environment as a task of RLlib's algorithms, refused where spaces do not fit."""

import inspect
import logging
from collections.abc import Callable, Mapping
from functools import cache, partial, reduce
from importlib import import_module
from operator import or_
from types import UnionType
from typing import Any, ClassVar, Union, get_args, get_origin

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from pydantic import ConfigDict, Field, create_model
from ray.rllib.models.utils import get_filter_config
from ray.tune.registry import register_env

from tenfold.algorithms.common.typed_config import TypedConfig
from tenfold.envs.gymnasium_tasks import make_gymnasium
from tenfold.platform.parameters import Parameters


class GymnasiumConfig(TypedConfig):
    """A config whose task is one of the method's own, or any Gymnasium id.

    Attributes:
        actions: Spaces of actions that the method takes.
        bounded: Whether continuous actions need bounds.
    """

    actions: ClassVar[tuple[type[spaces.Space[Any]], ...]] = (spaces.Discrete,)
    bounded: ClassVar[bool] = False

    @classmethod
    def own_task(cls, task: str) -> type[Parameters] | None:
        """What `env_config` may hold on a task of the method's own; None on all others."""
        return None

    @staticmethod
    def make_gymnasium(task: str, **fields: Any) -> gym.Env[np.ndarray, Any]:
        """The environment of a Gymnasium id as the method plays it."""
        return make_gymnasium(task, **fields)

    @classmethod
    def task_parameters(cls, task: str) -> type[Parameters] | None:
        """Fields of an own task, or what `gymnasium.make` takes."""
        own = cls.own_task(task)
        return gymnasium_parameters(task) if own is None else own

    def validate(self) -> None:
        """Check types and bounds, and that the task's spaces fit.

        Raises:
            ValueError: One sentence that names what does not fit.
        """
        super().validate()
        if isinstance(self.env, str) and self.own_task(self.env) is None:
            register_env(self.env, partial(_create, self.make_gymnasium, self.env))
            self._check_spaces()

    def task_spaces(self) -> tuple[spaces.Space[Any], spaces.Space[Any]]:
        """Observations and actions of the task, which is made once to look at them."""
        fields = repr(sorted(self.env_config.items()))
        observations, actions = _spaces(self.make_gymnasium, self.env, fields)(self.env_config)
        return observations, actions

    def _check_spaces(self) -> None:
        observations, actions = self.task_spaces()
        taken = " or ".join(each.__name__ for each in self.actions)
        fits = isinstance(actions, self.actions)
        if fits and isinstance(actions, spaces.Discrete):
            fits, taken = actions.start == 0, "discrete ones from 0"
        if fits and isinstance(actions, spaces.Box):
            flat = len(actions.shape) == 1 and np.issubdtype(actions.dtype, np.floating)
            fits = flat and (actions.is_bounded() or not self.bounded)
            taken = "a vector with bounds" if self.bounded else "a vector"
        if not fits:
            raise ValueError(
                f"Task '{self.env}' has the actions {actions!s:.80}, but this method takes "
                f"{taken}: choose another task or another method."
            )
        if len(observations.shape) == 3 and not self.model_config.get("conv_filters"):
            try:
                get_filter_config(observations.shape)
            except ValueError:
                raise ValueError(
                    f"Task '{self.env}' shows images of the shape {observations.shape}, for which "
                    "there are no layers by default: set model_config.conv_filters."
                ) from None


def _create(
    make: Callable[..., gym.Env[Any, Any]], task: str, env_config: Mapping[str, Any]
) -> Any:
    return make(task, **env_config)


@cache
def _spaces(make: Callable[..., gym.Env[Any, Any]], task: str, fields: str) -> Callable[[Any], Any]:
    """Spaces of an environment, which is made once for each `fields` of `env_config`."""
    found: list[Any] = []

    def spaces_for(env_config: Mapping[str, Any]) -> Any:
        if not found:
            env = make(task, **env_config)
            found.extend((env.observation_space, env.action_space))
            env.close()
        return found

    return spaces_for


class _Open(Parameters):
    """Of environments that pass on whatever they are given."""

    model_config = ConfigDict(extra="allow")


@cache
def gymnasium_parameters(task: str) -> type[Parameters]:
    """What `gymnasium.make` takes for an environment, from its constructor's signature.

    Raises:
        ValueError: There is no such environment, or its module cannot be imported.
    """
    try:
        module, _, name = task.rpartition(":")
        if module:
            import_module(module)
        spec = gym.spec(name)
        maker = spec.entry_point
        if isinstance(maker, str):
            _log_warnings_of_mujoco(maker)
            maker = gym.envs.registration.load_env_creator(maker)
        given = inspect.signature(maker, eval_str=True).parameters if maker else {}
    except Exception as error:  # a module of the user's own may raise anything
        raise ValueError(
            f"Task '{task}' cannot be made: {' '.join(str(error).split()).rstrip('.')}."
        ) from None
    fields: dict[str, Any] = {
        "max_episode_steps": (
            int | None,
            Field(spec.max_episode_steps, ge=1, description="Steps after which an episode is cut"),
        )
    }
    for name, parameter in given.items():
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            default = spec.kwargs.get(name, parameter.default)
            missing = default is inspect.Parameter.empty
            fields[name] = (_type_of(parameter.annotation, default), ... if missing else default)
    open_ = any(parameter.kind is parameter.VAR_KEYWORD for parameter in given.values())
    return create_model(f"arguments of {task}", __base__=_Open if open_ else Parameters, **fields)


def _type_of(annotation: Any, default: Any) -> Any:
    """The type of an argument as a YAML file can give it, by its annotation, else its default."""
    plain = _plain(annotation)
    if plain is not None:
        return plain | None if default is None else plain
    if isinstance(default, bool | str):
        return type(default)
    return float if isinstance(default, int | float) else Any


def _plain(annotation: Any) -> Any:
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation in (bool, int, float, str):
        return annotation
    if annotation in (list, tuple, dict) or origin in (list, tuple, dict):
        return dict[str, Any] if dict in (annotation, origin) else list[Any]
    if origin in (Union, UnionType):
        members = [_plain(member) for member in inner if member is not type(None)]
        return None if None in members else reduce(or_, members)
    return None


def _log_warnings_of_mujoco(entry_point: str) -> None:
    """MuJoCo writes its warnings into a file of the current folder unless told otherwise."""
    if entry_point.startswith("gymnasium.envs.mujoco"):
        import mujoco

        mujoco.set_mju_user_warning(logging.getLogger("mujoco").info)
