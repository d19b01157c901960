"""`tenfold export`: a trial's policy or network as a model of MLflow, under the trial's run.

A policy becomes what it does without exploration, from the task's observations to the actions that
the task takes; a network of transformers its logits. Either is a graph of `torch.export`, MLflow's
format ``pt2`` of its PyTorch flavour: it holds no pickle and loads without Tenfold, Ray and
transformers, with MLflow and PyTorch alone.

A method whose algorithm is no RLlib module of one agent says itself what is served: by
``as_network() -> (network, example)``, from one tensor to one, of an algorithm; or, where a graph
cannot be made of it, by ``as_pyfunc(checkpoint) -> dict`` of its class, what `mlflow.pyfunc` takes.

Planned policies of tables can be programs for pomdp_py, too: an algorithm that has
``as_pomdp_py(file) -> str`` gives the text of one.
"""

import copy
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import torch
from gymnasium import spaces
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core.columns import Columns
from torch import nn

from tenfold.platform.checkpoints import result_of
from tenfold.platform.configuration import build_config
from tenfold.platform.errors import InputError
from tenfold.platform.evaluate import Chosen, checkpoint_to_restore, restore
from tenfold.platform.registry import Method
from tenfold.platform.store import open_store
from tenfold.platform.trial_files import find_trial
from tenfold.platform.whole_file import replace_file

NAME = "model"
# Two rows, so that the graph takes any number of them.
_ROWS = 2
_TEXT_LENGTH = 16


@dataclass(frozen=True)
class Exported:
    """A model in the store, and what it takes and gives.

    Attributes:
        uri: ``runs:/RUN_ID/model``.
        checkpoint: Name of the checkpoint that it is of.
        signature: Types and shapes, as MLflow has them.
    """

    uri: str
    checkpoint: str
    signature: ModelSignature


class GreedyPolicy(nn.Module):
    """What an RLlib module does without exploration.

    Args:
        module: RLlib's module of a single agent.
        config: The algorithm's config, which says whether actions are scaled to the task's bounds.
    """

    def __init__(self, module: Any, config: AlgorithmConfig) -> None:
        super().__init__()
        self.module = copy.deepcopy(module)
        for name, buffer in list(self.module.named_buffers(recurse=False)):
            if buffer.ndim == 0:  # a graph cannot depend on a number that it holds as a tensor
                delattr(self.module, name)
                setattr(self.module, name, buffer.item())
        box = module.action_space
        bounded = isinstance(box, spaces.Box) and box.is_bounded()
        self.scales = bounded and bool(config.normalize_actions)
        self.clips = isinstance(box, spaces.Box) and (self.scales or bool(config.clip_actions))
        if self.clips:
            self.register_buffer("low", torch.as_tensor(box.low))
            self.register_buffer("high", torch.as_tensor(box.high))

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Observations (B, ...) -> actions (B, ...), as the task takes them."""
        out = self.module._forward_inference({Columns.OBS: observations})
        actions: torch.Tensor
        if Columns.ACTIONS in out:
            actions = out[Columns.ACTIONS]
        else:
            laws = self.module.get_inference_action_dist_cls()
            actions = laws.from_logits(out[Columns.ACTION_DIST_INPUTS]).to_deterministic().sample()
        if self.scales:
            actions = self.low + (actions + 1.0) * (self.high - self.low) / 2.0
        return torch.clamp(actions, self.low, self.high) if self.clips else actions


class Logits(nn.Module):
    """A network of transformers, as a function from its one input to its logits."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(B, ...) -> logits, (B, T, vocabulary) of texts, (B, classes) of images."""
        logits: torch.Tensor = self.network(inputs).logits
        return logits


def export(run_id: str, uri: str, best: bool = False, trust: bool = False) -> Exported:
    """Log a trial's checkpoint as a model of MLflow, under the trial's run.

    Args:
        run_id: A trial, as `find_trial` takes it.
        uri: The store that has it.
        best: Take the checkpoint that scored best, and not the newest.
        trust: Load pickles of a checkpoint that this user did not make, see `trust`.

    Raises:
        InputError: As `evaluate`, or the checkpoint holds neither a policy that acts on one
            observation at a time nor a network.
    """
    run = find_trial(open_store(uri), run_id)
    chosen = checkpoint_to_restore(run, uri, best, trust)
    method, checkpoint = chosen.method, chosen.checkpoint
    step = int(result_of(checkpoint).get(method.step_metric, 0))
    trainable = method.load_trainable()
    if hasattr(trainable, "as_pyfunc"):
        served = trainable.as_pyfunc(checkpoint)
        _log(run, uri, step, mlflow.pyfunc, **served)
        signature = served["signature"]
    else:
        signature = log_network(
            *_served_network(chosen), run, uri, step, beside=_saved_folder(checkpoint)
        )
    return Exported(f"runs:/{run.info.run_id}/{NAME}", checkpoint.name, signature)


def export_program(
    run_id: str, uri: str, path: Path, best: bool = False, trust: bool = False
) -> str:
    """Write a trial's policy and its model as a program for pomdp_py.

    Args:
        run_id: A trial, as `find_trial` takes it.
        uri: The store that has it.
        path: Of the program.
        best: Take the checkpoint that scored best, and not the newest.
        trust: Load pickles of a checkpoint that this user did not make, see `trust`.

    Returns:
        The checkpoint's name.

    Raises:
        InputError: As `evaluate`; a path that does not end in .py, or a method whose policies
            pomdp_py has no place for.
    """
    if path.suffix != ".py":
        raise InputError(f"Bad value '{path}' for '--output': a program's name ends in .py.")
    run = find_trial(open_store(uri), run_id)
    chosen = checkpoint_to_restore(run, uri, best, trust)
    method, point = chosen.method, chosen.point
    if not hasattr(method.load_trainable(), "as_pomdp_py"):
        raise InputError(
            f"A policy of {method.name} is no program for pomdp_py, which takes the tables of "
            "risk_pomdp and icvar: export it as --format mlflow."
        )
    config = build_config(method, point.task, point.variant, point.overrides, point.seed)
    algorithm = restore(chosen, config)
    try:
        replace_file(path, algorithm.as_pomdp_py(path.name))
    finally:
        algorithm.stop()
    return chosen.checkpoint.name


def log_network(
    network: nn.Module,
    example: np.ndarray,
    run: Run,
    uri: str,
    step: int,
    beside: Path | None = None,
) -> ModelSignature:
    """Log a network as a graph under a run, whose status stays as it is.

    Args:
        network: From one tensor to one, both with the batch first.
        example: An input of two rows.
        run: The run.
        uri: Its store.
        step: Of the run's metrics, at which the network had these weights.
        beside: A folder whose files go with it, as ``extra_files``: a network and its tokenizer as
            transformers loads them.

    Returns:
        The signature, in which the size of the batch is open.
    """
    network = network.cpu().eval()
    with torch.no_grad():
        given = network(torch.from_numpy(example)).numpy()
    free = 2 if isinstance(network, Logits) and example.dtype == np.int64 else 1  # a text's length
    signature = ModelSignature(
        inputs=Schema([_spec(example, free)]), outputs=Schema([_spec(given, free)])
    )
    _log(
        run,
        uri,
        step,
        mlflow.pytorch,
        pytorch_model=network,
        signature=signature,
        input_example=example,
        serialization_format="pt2",
        extra_files=None if beside is None else [str(file) for file in sorted(beside.iterdir())],
        pip_requirements=[f"{name}=={version(name)}" for name in ("mlflow", "numpy", "torch")],
    )
    return signature


def _log(run: Run, uri: str, step: int, flavor: Any, **model: Any) -> None:
    """Log a model of one of MLflow's flavours under a run."""
    # By itself MLflow would put the model into whatever experiment is active.
    made = MlflowClient(uri).create_logged_model(
        run.info.experiment_id, NAME, source_run_id=run.info.run_id, params=run.data.params
    )
    with mlflow_on(uri):
        Model.log(
            artifact_path=None,
            name=NAME,
            flavor=flavor,
            model_id=made.model_id,
            run_id=run.info.run_id,
            step=step,
            **model,
        )


@contextmanager
def mlflow_on(uri: str) -> Iterator[None]:
    """Meanwhile MLflow's own functions use a store, which they note in the environment, too."""
    variable = "MLFLOW_TRACKING_URI"
    before = os.environ.get(variable)
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(None)
        if before is not None:
            os.environ[variable] = before


def _spec(array: np.ndarray, free: int) -> TensorSpec:
    open_ = min(free, array.ndim)
    return TensorSpec(array.dtype, (*(-1,) * open_, *array.shape[open_:]))


def _served_network(chosen: Chosen) -> tuple[nn.Module, np.ndarray]:
    """What a checkpoint holds, from one tensor to one, and two rows of an input."""
    method, checkpoint, point = chosen.method, chosen.checkpoint, chosen.point
    saved = _saved_folder(checkpoint)
    if saved is not None:
        return _network(saved)
    trainable = method.load_trainable()
    config = build_config(method, point.task, point.variant, point.overrides, point.seed)
    speaks = hasattr(trainable, "as_network")
    plans = hasattr(trainable, "needs_actors")
    if not speaks and (plans or not isinstance(config, AlgorithmConfig) or config.is_multi_agent):
        raise _no_model(method, checkpoint)
    algorithm = restore(chosen, config)
    try:
        if not speaks:
            return _policy(method, algorithm, checkpoint)
        network, example = algorithm.as_network()
        return network, example
    except ValueError as error:
        raise InputError(" ".join(str(error).split())) from None
    finally:
        algorithm.stop()


def _saved_folder(checkpoint: Path) -> Path | None:
    """Where a checkpoint has a network that `save_pretrained` wrote."""
    saved = sorted(checkpoint.rglob("model/config.json"))
    return saved[0].parent if saved else None


def _policy(method: Method, algorithm: Any, checkpoint: Path) -> tuple[nn.Module, np.ndarray]:
    """The greedy policy, and two observations that lie within the task's bounds."""
    module = algorithm.get_module()
    if module is None or not isinstance(module.observation_space, spaces.Box):
        raise _no_model(method, checkpoint)
    if module.is_stateful():
        raise InputError(
            f"The policy of '{checkpoint}' remembers (use_lstm), and a model of MLflow acts on one "
            "observation at a time: train it without, or use 'tenfold evaluate'."
        )
    seen = module.observation_space
    rng = np.random.default_rng(0)
    drawn = rng.standard_normal((_ROWS, *seen.shape)).clip(seen.low, seen.high)
    kind = np.float32 if np.issubdtype(seen.dtype, np.floating) else seen.dtype
    return GreedyPolicy(module, algorithm.config), drawn.astype(kind)


def _network(folder: Path) -> tuple[nn.Module, np.ndarray]:
    """A network that `save_pretrained` wrote, and an input of two rows."""
    import transformers

    (architecture,) = json.loads((folder / "config.json").read_text())["architectures"]
    network = getattr(transformers, architecture).from_pretrained(folder, use_safetensors=True)
    config, rng = network.config, np.random.default_rng(0)
    if network.main_input_name == "pixel_values":
        shape = (_ROWS, config.num_channels, config.image_size, config.image_size)
        return Logits(network), rng.standard_normal(shape).astype(np.float32)
    network.config.use_cache = False
    length = min(_TEXT_LENGTH, config.max_position_embeddings)
    return Logits(network), rng.integers(0, config.vocab_size, (_ROWS, length))


def _no_model(method: Method, checkpoint: Path) -> InputError:
    return InputError(
        f"A trial of {method.name} leaves no network that could be served: its results are the "
        f"files of '{checkpoint}'."
    )
