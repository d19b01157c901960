"""FSDP2 on two gloo processes: the loss curve, weights and checkpoints of the undivided run.

The processes are forked; about 8 processor seconds of both.
"""

import multiprocessing as mp
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor
from transformers import AutoModelForImageClassification, GPT2LMHeadModel

from tenfold.algorithms.common.sharded import part, whole
from tenfold.algorithms.mst import METHOD as MST
from tenfold.algorithms.mst.config import MSTConfig
from tenfold.algorithms.mst.loop import MSTLoop
from tenfold.algorithms.qsr import METHOD as QSR
from tenfold.algorithms.qsr.config import QSRConfig
from tenfold.algorithms.qsr.loop import QSRLoop
from tenfold.platform.configuration import build_config
from tenfold.platform.errors import InputError
from tenfold.platform.registry import get_method

CLOSE: dict[str, float] = {"rtol": 1e-4, "atol": 1e-5}
"""How near the weights of a divided run are to those of the undivided one."""

SHORT: dict[str, Any] = {"steps": 6, "report_every": 2, "workers": 2}
VIT: dict[str, Any] = {
    **QSR.smoke,
    **SHORT,
    "rule": "data_parallel",
    "workers_per_process": 1,
    "accumulate": 2,
}
GPT2: dict[str, Any] = {
    **MST.smoke,
    **SHORT,
    "sparsity": ((0.0, 0.0), (0.1, 0.5), (0.3, 0.8), (0.8, 0.0)),
    "attention_steps": (0.0, 0.5),
}
LOOPS: dict[str, Callable[..., Any]] = {
    "qsr": lambda rank, size, **fields: QSRLoop(QSRConfig(**{**VIT, **fields}), rank, size),
    "mst": lambda rank, size, **fields: MSTLoop(MSTConfig(**{**GPT2, **fields}), rank, size),
}


DIVIDED: dict[str, Any] = {"sharding": "fsdp"}


def close(divided: Any, whole_run: Any) -> None:
    """The weights of both, gathered."""
    for name, p in whole_run.workers.parameters.items():
        found = divided.workers.parameters[name]
        assert isinstance(found, DTensor), name
        torch.testing.assert_close(whole(found.detach()), p.detach(), **CLOSE, msg=name)


def compare(method: str, rank: int, folder: Path) -> None:
    """What each of the processes does."""
    make = LOOPS[method]
    plain, divided = make(rank, 2), make(rank, 2, **DIVIDED)
    for reports in range(3):
        expected, found = plain.advance(), divided.advance()
        for key in ("loss", "train_loss", "accuracy", "lr", "sparsity", "churn", "flops"):
            if key in expected:
                assert found[key] == pytest.approx(expected[key], rel=1e-4), key
        assert found["sent_bytes"] > expected["sent_bytes"]
        if reports == 1:
            close(divided, plain)
            divided.save(folder)
            dist.barrier()
    close(divided, plain)
    # Of each tensor a process holds about half, moments included.
    state = divided.optimizer.inner.state
    for p in divided.workers.parameters.values():
        for tensor in (p, state[p]["exp_avg"]):
            assert tensor.to_local().numel() <= (tensor.shape[0] + 1) // 2 * tensor[0].numel()
    again, undivided = make(rank, 2, **DIVIDED), make(rank, 2)
    for loop in (again, undivided):
        loop.load(folder)
    assert again.advance()["loss"] == found["loss"]
    assert undivided.advance()["loss"] == pytest.approx(found["loss"], rel=1e-4)
    close(again, undivided)
    for name, p in again.workers.parameters.items():
        assert torch.equal(whole(p), whole(divided.workers.parameters[name])), name


def process(work: Callable[..., None], method: str, rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    meet = f"file://{folder}/meet"
    dist.init_process_group("gloo", init_method=meet, rank=rank, world_size=2)
    work(method, rank, folder)
    dist.destroy_process_group()


@pytest.mark.parametrize("method", LOOPS)
def test_a_divided_run_is_the_undivided_one(method: str, tmp_path: Path) -> None:
    context = mp.get_context("fork")
    both = [context.Process(target=process, args=(compare, method, r, tmp_path)) for r in (0, 1)]
    for one in both:
        one.start()
    for one in both:
        one.join(300)
    assert [one.exitcode for one in both] == [0, 0]
    # What it saved is of one process and goes on in one.
    assert not (tmp_path / "worker-1.safetensors").exists()
    alone = LOOPS[method](0, 1)
    alone.load(tmp_path)
    assert alone.step == 4
    judged = alone.evaluate()
    stock = AutoModelForImageClassification if method == "qsr" else GPT2LMHeadModel
    module = stock.from_pretrained(tmp_path / "model")
    assert type(module).__name__ in module.config.architectures
    for name, p in module.named_parameters():
        torch.testing.assert_close(alone.workers.parameters[name], p, msg=name)
    assert judged["loss"] > 0


def test_what_is_not_divided_stays_as_it_is() -> None:
    tensor = torch.arange(3)
    assert whole(tensor) is tensor
    assert part(tensor, tensor) is tensor


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"rule": "quadratic"}, "Bad value 'fsdp' for 'sharding': by the rule 'quadratic' each"),
        ({"workers_per_process": 2}, "Bad value 2 for 'workers_per_process': with 'sharding' fsdp"),
        ({"workers": 0}, "Bad value 0 for 'workers': with 'sharding' fsdp give 2 or more"),
        ({"precision": "fp16"}, "Bad value 'fp16' for 'precision': with 'sharding' fsdp give"),
        ({"gpus_per_worker": 0.5}, "Bad value 0.5 for 'gpus_per_worker'"),
        ({"compile": True}, "Bad value True for 'compile'"),
        ({"sharpness_samples": 1}, "Bad value 1 for 'sharpness_samples': with 'sharding' fsdp"),
    ],
    ids=str,
)
def test_what_cannot_be_divided_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as refusal:
        build_config(get_method("qsr"), "digits", "qsr", {**VIT, **DIVIDED, **fields}, 0)
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)
