"""The training loops on a card that there is not; run as a script, in a process of its own.

    python fake_card.py FOLDER PIPELINE

Tensors are torch's fake ones: they have a shape, a type and a device, and no numbers. An operation
on tensors of two devices raises, as on a real GPU. PyTorch's wheels for CPUs know no CUDA device
that autograd would take, so the card is the device that PyTorch keeps for other backends; that must
be set up before anything is differentiated, hence the process of its own. What a loop reads off the
card (a loss, a count) is 1. Batches are made and pinned in the calling thread, since fake tensors
belong to the thread that began them.

Prints a JSON mapping from the name of each case to what it raised, empty where nothing did.
"""

import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tenfold.algorithms.common import shard
from tenfold.algorithms.lcm import loop as lcm_loop
from tenfold.algorithms.lcm import student, teacher
from tenfold.algorithms.lcm.config import LCMConfig
from tenfold.algorithms.lcm.loop import LCMLoop
from tenfold.algorithms.mst import METHOD as MST
from tenfold.algorithms.mst import loop as mst_loop
from tenfold.algorithms.mst.attention import pattern_mask
from tenfold.algorithms.mst.config import MSTConfig
from tenfold.algorithms.qsr import METHOD as QSR
from tenfold.algorithms.qsr import tasks
from tenfold.algorithms.qsr.config import QSRConfig
from tenfold.algorithms.qsr.loop import QSRLoop
from tenfold.algorithms.rl_cfr.solver.batch import BatchSolver
from tenfold.algorithms.rl_cfr.solver.subgame import Subgame
from tenfold.envs.poker.sizes import parse_menu
from tenfold.envs.poker.spot import read_spot
from tenfold.platform import devices

aten = torch.ops.aten


class Backend(backend_registration._DummyBackendModule):
    """The module of the card, ``torch.card``."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


backend_registration._setup_privateuseone_for_python_backend("card", backend_module=Backend())
# Under autocast everything stays as it is.
library = torch.library.Library("_", "IMPL", "AutocastPrivateUse1")
library.fallback(torch.library.fallthrough_kernel)
CARD = torch.device("card", 0)


class Fake(FakeTensorMode):
    """Fake tensors whose numbers are all read as 1."""

    avoid_device_init = True  # type: ignore[assignment]  # there is no card to make constants on

    def dispatch(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is aten._local_scalar_dense.default:
            return 1.0 if args[0].is_floating_point() else args[0].dtype == torch.bool or 1
        if func is aten.nonzero.default:  # diffusers looks up the place of a timestep
            found = (args[0], [1, args[0].dim()])
            return super().dispatch(aten.new_zeros.default, (), found, {"dtype": torch.int64})
        return super().dispatch(func, types, args, kwargs or {})


class AtOnce:
    """An executor that does not wait."""

    def __init__(self, threads: int) -> None:
        pass

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(function(*arguments))
        return done


def real(make: Callable[..., Any]) -> Callable[..., Any]:
    """What makes a model or reads it from files makes a real one, on the CPU."""

    def call(*arguments: Any, **named: Any) -> Any:
        with unset_fake_temporarily():
            return make(*arguments, **named)

    return call


def saved(tensors: dict[str, torch.Tensor], file: Path) -> None:
    """Takes the place of safetensors, which needs the numbers."""
    assert all(tensor.device.type == "cpu" for tensor in tensors.values())
    FILES[str(file)] = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}


def pipeline(path: Path, **options: Any) -> Any:
    """A teacher whose UNet has its LoRA already, since modules are not made of fake tensors."""
    made = read_pipeline(path, **options)
    add_lora(made.unet, LCMConfig(rank=2))
    return made


def thaw(unet: torch.nn.Module, config: LCMConfig) -> None:
    """Let that LoRA learn."""
    for name, parameter in unet.named_parameters():
        parameter.requires_grad_("lora_" in name)


def moved(module: torch.nn.Module, *arguments: Any, **named: Any) -> torch.nn.Module:
    """Moves a module once: fake tensors are on the card, and modules cannot exchange them."""
    is_fake = any(isinstance(p, FakeTensor) for p in module.parameters())
    return module if is_fake else to(module, *arguments, **named)


to = torch.nn.Module.to
read_pipeline, add_lora = teacher.DiffusionPipeline.from_pretrained, student.add_lora
FILES: dict[str, dict[str, torch.Tensor]] = {}


@contextmanager
def card() -> Iterator[None]:
    """Within it, whatever asks for a device gets the card."""
    with (
        patch.object(devices, "assigned_device", lambda: CARD),
        patch.object(devices, "ThreadPoolExecutor", AtOnce),
        patch.object(torch.nn.Module, "to", moved),
        patch.object(torch.Tensor, "pin_memory", lambda tensor: tensor),
        patch.object(tasks, "make_text_model", real(tasks.make_text_model)),
        patch.object(tasks, "make_image_model", real(tasks.make_image_model)),
        patch.object(mst_loop, "make_gpt2", real(mst_loop.make_gpt2)),
        patch.object(shard, "save_file", saved),
        patch.object(shard, "load_file", lambda file: FILES[str(file)]),
        patch.object(lcm_loop, "save_file", saved),
        patch.object(lcm_loop, "load_file", lambda file: FILES[str(file)]),
        patch.object(teacher.DiffusionPipeline, "from_pretrained", real(pipeline)),
        patch.object(student, "add_lora", thaw),
        # Other libraries write their own files, and images are drawn of numbers.
        patch("transformers.PreTrainedModel.save_pretrained"),
        patch.object(lcm_loop, "export"),
        patch.object(LCMLoop, "draw"),
        Fake(allow_non_fake_inputs=True),
    ):
        yield


GPT: dict[str, Any] = {
    "task": "stdlib",
    "sizes": {"n_layer": 1, "n_embd": 8},
    "validation_windows": 4,
    "workers_per_process": 1,
}
RESNET: dict[str, Any] = {
    "model": "resnet",
    "sizes": {"embedding_size": 4, "hidden_sizes": [4], "depths": [1]},
    "batchnorm_batches": 2,
}


def qsr(**fields: Any) -> QSRLoop:
    return QSRLoop(QSRConfig(**{**QSR.smoke, "steps": 4, "report_every": 2, **fields}))


def mst(**fields: Any) -> mst_loop.MSTLoop:
    few = {"steps": 4, "report_every": 2, "attention_steps": (0.0, 0.3)}
    return mst_loop.MSTLoop(MSTConfig(**{**MST.smoke, **few, **fields}))


def lcm(**fields: Any) -> LCMLoop:
    few = {"steps": 2, "report_every": 1, "rank": 2, "batch": 2, "images": 4, "resolution": 16}
    few |= {"solver_steps": 2, "sample_steps": (1,), "ode_images": 2, "cache_latents": False}
    return LCMLoop(LCMConfig(**{**few, "teacher": sys.argv[2], **fields}))


LOOPS: dict[str, Callable[[], Any]] = {
    "qsr": lambda: qsr(precision="fp16", rule="data_parallel"),
    "qsr of ResNets by SGD": lambda: qsr(**RESNET, optimizer="sgd"),
    "qsr of one GPT-2": lambda: qsr(**GPT, precision="bf16", accumulate=2, sharpness_samples=1),
    "mst": lambda: mst(kernels="auto", gradient_checkpointing=True),
    "mst of local workers": lambda: mst(
        sync="quadratic", base=2, workers_per_process=2, granularity="block", block=4
    ),
    "mst in fp16": lambda: mst(precision="fp16", accumulate=2, drop="mest", granularity="two_four"),
    "lcm": lcm,
}
"""Loops that must train on the card."""


def walk(make: Callable[[], Any], folder: Path) -> None:
    """Train, judge, save, load and train on; all that learns must be on the card."""
    first = make()
    first.advance()
    folder.mkdir()
    first.save(folder)
    second = make()
    second.load(folder)
    second.advance()
    optimizer = second.optimizer
    held = [tensor for entries in optimizer.state.values() for tensor in entries.values()]
    held += [p for group in optimizer.param_groups for p in group["params"]]
    assert held
    assert all(tensor.device == CARD for tensor in held)


def batch_forgotten(folder: Path) -> None:
    with patch.object(devices.Compute, "bring", lambda compute, batch: batch):
        qsr().advance()


def mask_forgotten(folder: Path) -> None:
    loop = mst()
    loop.masks.masks = {name: mask.cpu() for name, mask in loop.masks.masks.items()}
    loop.advance()
    loop.advance()


def pattern_forgotten(folder: Path) -> None:
    def on_cpu(*arguments: Any, device: torch.device, **named: Any) -> torch.Tensor:
        return pattern_mask(*arguments, **named)

    with patch.object(mst_loop, "pattern_mask", on_cpu):
        mst().advance()


def statistics_forgotten(folder: Path) -> None:
    loop = qsr(**RESNET)
    loop.workers.buffers = {name: values.cpu() for name, values in loop.workers.buffers.items()}
    loop.advance()


def noise_forgotten(folder: Path) -> None:
    loop = lcm()
    loop.device = torch.device("cpu")
    loop.train(1)


class OnCard(TorchDispatchMode):
    """Refuses operations on a tensor of the CPU, even a single number, and reading a number."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for each in tree_leaves((args, kwargs)):
            if isinstance(each, torch.Tensor) and each.device != CARD:
                raise RuntimeError(f"{func} takes a tensor of the CPU")
        if func is aten._local_scalar_dense.default:
            raise RuntimeError("a number is read")
        return func(*args, **(kwargs or {}))


@real
def poker(board: str) -> Any:
    spot = read_spot(board, 100, "150", ["AA,KQs,88", "KK,QJs,76s"], 10)
    return Subgame(spot, parse_menu("allin").raises, 1, isomorphism=False).game


def iteration(board: str, variant: str, folder: Path) -> None:
    """What is captured as a graph asks nothing of the CPU."""
    solver = BatchSolver([poker(board)] * 2, variant, CARD, torch.float32)
    with OnCard():
        solver._iteration()
    solver.iterate(2)


def solver_forgotten(name: str, folder: Path) -> None:
    solver = BatchSolver([poker("AsKs7s2d3c")], "dcfr", CARD, torch.float32)
    setattr(solver, name, getattr(solver, name).cpu())
    with OnCard():
        solver._iteration()


SOLVERS: dict[str, Callable[[Path], None]] = {
    "river": partial(iteration, "AsKs7s2d3c", "dcfr"),
    "turn": partial(iteration, "AsKs7s2d", "pcfr+"),
    "_turn forgotten": partial(solver_forgotten, "_turn"),
    "_weights forgotten": partial(solver_forgotten, "_weights"),
}
"""Of `BatchSolver`."""


FORGOTTEN: dict[str, Callable[[Path], None]] = {
    "batch": batch_forgotten,
    "mask": mask_forgotten,
    "pattern": pattern_forgotten,
    "statistics": statistics_forgotten,
    "noise": noise_forgotten,
}
"""What is left on the CPU on purpose; each must raise."""


def outcome(work: Callable[[Path], None], folder: Path) -> str:
    try:
        with card():
            work(folder)
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:500]
    return ""


def main(folder: Path) -> None:
    outcomes = {name: outcome(partial(walk, make), folder / name) for name, make in LOOPS.items()}
    outcomes |= {f"{name} forgotten": outcome(work, folder) for name, work in FORGOTTEN.items()}
    outcomes |= {f"solver {name}": outcome(work, folder) for name, work in SOLVERS.items()}
    print(json.dumps(outcomes))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
