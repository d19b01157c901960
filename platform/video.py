"""A video of a checkpoint: one episode of its policy without exploration, drawn by the task.

The task's own renderer gives the pictures (Gymnasium's `rgb_array`), RLlib's runner plays, and
imageio writes them, an mp4 by the ffmpeg that imageio-ffmpeg brings. MuJoCo draws by OpenGL, off
screen: EGL, or OSMesa's software; which of them works is tried out in a process of its own, since
one that does not may take the process with it.
"""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import imageio.v2 as imageio
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core import COMPONENT_RL_MODULE
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.tune.registry import ENV_CREATOR, _global_registry

from tenfold.platform.errors import InputError

SUFFIXES = (".mp4", ".gif")
# Pictures a second at most: a simulation of 125 steps a second is drawn at every fourth.
MOST_PER_SECOND = 32
_OPENGL = "import mujoco; context = mujoco.GLContext(8, 8); context.make_current()"


def check_video(path: Path, config: Any, task: str) -> None:
    """Refuse a video that cannot be made, before anything starts.

    Args:
        path: Where it is to go.
        config: The trial's config.
        task: Its task, as messages name it.

    Raises:
        InputError: The file's name or folder is wrong, the task has no renderer, or there is
            nothing on this machine that it could draw with.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(
            f"Bad value '{path}' for '--video': give a file that ends in .mp4 or .gif."
        )
    if not path.absolute().parent.is_dir():
        raise InputError(
            f"Bad value '{path}' for '--video': there is no folder '{path.absolute().parent}'."
        )
    env = _drawn_env(config)
    if env is None:
        raise InputError(f"Task '{task}' has no renderer: leave out --video.")
    try:
        env.reset(seed=0)
        env.render()
    except Exception as error:  # whatever a renderer raises where a library is missing
        said = " ".join(str(error).split()).rstrip(".")
        raise InputError(f"Task '{task}' cannot be drawn on this machine: {said}.") from None
    finally:
        env.close()


def film(algorithm: Any, path: Path) -> int:
    """Play an episode and write what the task draws of it.

    Args:
        algorithm: An RLlib algorithm whose config passed `check_video`.
        path: The file; what is there is overwritten.

    Returns:
        The number of pictures.
    """
    pictures: list[Any] = []
    config = algorithm.config.copy(copy_frozen=False)
    env = _drawn_env(config)
    rate = env.metadata.get("render_fps") or 30
    env.close()
    every = -(-rate // MOST_PER_SECOND)
    seen = 0

    def draw(env: Any, **kwargs: Any) -> None:
        nonlocal seen
        if seen % every == 0:
            pictures.append(env.envs[0].render())
        seen += 1

    config.environment(env_config={**config.env_config, "render_mode": "rgb_array"})
    config.env_runners(num_env_runners=0, num_envs_per_env_runner=1)
    config.callbacks(on_episode_start=draw, on_episode_step=draw)
    runner = SingleAgentEnvRunner(config=config, worker_index=0)
    weights = algorithm.get_module().get_state(inference_only=True)
    runner.set_state({COMPONENT_RL_MODULE: weights})
    runner.sample(num_episodes=1, explore=False)
    runner.stop()
    _write(path, pictures, rate / every)
    return len(pictures)


def _write(path: Path, pictures: list[Any], per_second: float) -> None:
    if path.suffix == ".gif":
        imageio.mimsave(path, pictures, duration=1000.0 / per_second, loop=0)
    else:  # ffmpeg's usual format asks for sides that are even
        imageio.mimsave(path, pictures, fps=per_second, macro_block_size=2)


def _drawn_env(config: Any) -> Any:
    """The task as an environment that draws, or None if it is none.

    Raises:
        InputError: It draws by OpenGL, and there is none.
    """
    if not isinstance(config, AlgorithmConfig):
        return None
    task = str(config.env)
    if not _global_registry.contains(ENV_CREATOR, task):
        return None
    # pygame, which classic control draws by, looks for a screen and a sound card otherwise.
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    os.environ.setdefault("SDL_AUDIODRIVER", "dummy")
    make = _global_registry.get(ENV_CREATOR, task)
    try:
        env = make({**config.env_config, "render_mode": "rgb_array"})
    except (TypeError, ValueError):  # a task of a method's own, which knows no such field
        return None
    if env.render_mode != "rgb_array" or "rgb_array" not in env.metadata.get("render_modes", ()):
        env.close()
        return None
    if "mujoco" in type(env.unwrapped).__module__ and "MUJOCO_GL" not in os.environ:
        os.environ["MUJOCO_GL"] = _opengl(task)
    return env


def _opengl(task: str) -> str:
    """The way to OpenGL that works here, as MuJoCo calls it.

    Raises:
        InputError: None does.
    """
    ways = ["egl", "osmesa", *(["glfw"] if os.environ.get("DISPLAY") else [])]
    found = next((way for way in ways if _works(way)), None)
    if found is None:
        raise InputError(
            f"Task '{task}' cannot be drawn on this machine: there is no OpenGL (tried "
            f"{', '.join(ways)}). Install EGL or OSMesa, for example with 'apt install libegl1 "
            "libgl1-mesa-dri', or leave out --video."
        )
    return found


@cache
def _works(way: str) -> bool:
    """Whether MuJoCo gets an OpenGL context in this way."""
    tried = subprocess.run(
        [sys.executable, "-c", _OPENGL],
        env={**os.environ, "MUJOCO_GL": way},
        capture_output=True,
        check=False,
    )
    return tried.returncode == 0
