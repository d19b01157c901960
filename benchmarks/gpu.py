"""Speed of the training loops on a GPU, each beside a plain torch loop of the same model.

    python benchmarks/gpu.py                 GPT-2 small, ViT-B, LCM-LoRA in bf16 on the GPU
    python benchmarks/gpu.py --device cpu    the same with tiny models in fp32, in two minutes

Needs Tenfold's dependencies and no running Ray: the loops are plain objects. Tokens and images are
random, so that no data set is needed; both loops take the same ones. A plain loop is what one
writes by hand: copy a batch, autocast, loss, backward, clip, fused AdamW; of LCM by diffusers and
peft, with a moving average, on the embedded teacher and its drawings (for SD-1.5's and SDXL's sizes
see benchmarks/lcm.py). Blocks of steps of both alternate; the ratio is the median over the blocks,
above 1 where ours is faster. TFLOP/s are the dense model's FLOPs (torch's own counter, forward and
backward) over the time of a step, and model FLOPs utilisation is that over the card's peak in bf16
without sparsity. Judging is not timed. Then come masked layers, dense, by blocks and 2:4 (see
sparse_layers.py), at last batched rivers of poker (see batched_rivers.py).
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import batched_rivers
import numpy as np
import sparse_layers
import torch
from diffusers import StableDiffusionPipeline
from peft import LoraConfig
from rich.console import Console
from rich.table import Table
from torch.func import functional_call
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from tenfold.algorithms.lcm import loop as lcm
from tenfold.algorithms.lcm.config import LCMConfig
from tenfold.algorithms.lcm.folder import EMBEDDED_FOLDER
from tenfold.algorithms.mst import METHOD as MST
from tenfold.algorithms.mst import loop as mst
from tenfold.algorithms.mst.config import MSTConfig
from tenfold.algorithms.qsr import loop as qsr
from tenfold.algorithms.qsr import tasks
from tenfold.algorithms.qsr.config import QSRConfig
from tenfold.envs.data.image_split import ImageData
from tenfold.envs.data.text import Corpus
from tenfold.platform.replaced import replaced

PEAKS = {"H200": 989.0, "H100": 989.0, "A100": 312.0, "L40S": 362.0, "L4": 121.0}
"""bf16 TFLOP/s without sparsity, of NVIDIA's data sheets, by a part of the card's name."""


class MSTSteps(mst.MSTLoop):
    """Training alone."""

    def _judge(self, mean: mst.Tensors) -> dict[str, float]:
        return {"loss": 0.0}


class QSRSteps(qsr.QSRLoop):
    """Training alone; nor are workers judged."""

    def evaluate(self) -> dict[str, float]:
        return {}

    def _judge_workers(self) -> None:
        pass


class LCMSteps(lcm.LCMLoop):
    """Training alone."""

    def evaluate(self) -> dict[str, float]:
        return {}


class PlainLoop:
    """The same model and data by torch alone.

    Args:
        loop: Where model, batches, device and precision are from.
        model: As the loop's, untrained.
    """

    def __init__(self, loop: Any, model: torch.nn.Module) -> None:
        self.loop, self.device = loop, loop.compute.device
        self.model = model.to(self.device).train()
        fused = self.device.type == "cuda"
        learn = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(learn, lr=1e-3, fused=fused)
        self.step = 0

    def loss(self) -> torch.Tensor:
        batch = {name: values[0] for name, values in self.loop._batch(self.step).items()}
        if self.device.type == "cuda":
            batch = {name: values.pin_memory() for name, values in batch.items()}
        batch = {name: v.to(self.device, non_blocking=True) for name, v in batch.items()}
        dtype = self.loop.compute.dtype
        with torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32):
            if "tokens" in batch:
                logits = self.model(input_ids=batch["tokens"][:, :-1]).logits.flatten(0, 1)
                labels = batch["tokens"][:, 1:].flatten()
            else:
                logits = self.model(pixel_values=batch["pixel_values"]).logits
                labels = batch["labels"]
        return cross_entropy(logits.float(), labels)

    def train(self, due: int) -> None:
        while self.step < due:
            self.loss().backward()
            torch.nn.utils.clip_grad_norm_(self.optimizer.param_groups[0]["params"], 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.average_on()
            self.step += 1

    def average_on(self) -> None:
        """Nothing is averaged."""

    def flops(self) -> float:
        """Of one step's forward and backward."""
        with FlopCounterMode(display=False) as counter:
            self.loss().backward()
        self.optimizer.zero_grad()
        return float(counter.get_total_flops())


class PlainLCM(PlainLoop):
    """LCM-LoRA by diffusers and peft alone, with the default's Huber loss and averaged target.

    Args:
        loop: Where images, captions, config and device are from.
        pipeline: The teacher's, in float32.
    """

    def __init__(self, loop: Any, pipeline: StableDiffusionPipeline) -> None:
        c = loop.config
        pipeline.to(loop.compute.device)
        pipeline.text_encoder.requires_grad_(False)
        pipeline.unet.requires_grad_(False)
        adapter = LoraConfig(r=c.rank, lora_alpha=c.rank, target_modules=list(c.target_modules))
        pipeline.unet.add_adapter(adapter)
        super().__init__(loop, pipeline.unet)
        self.pipeline, self.abar = pipeline, pipeline.scheduler.alphas_cumprod.to(self.device)
        self.learnt = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        self.average = {name: p.detach().clone() for name, p in self.learnt.items()}

    def x0(self, m: torch.Tensor, z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        abar = self.abar[t].view(-1, 1, 1, 1)
        return (z - (1 - abar).sqrt() * m) / abar.sqrt()

    def loss(self) -> torch.Tensor:
        c, unet, device = self.loop.config, self.model, self.device
        draw = torch.Generator().manual_seed(self.step)
        places = torch.randint(len(self.loop.data), (c.batch,), generator=draw).numpy()
        mean, log_variance = (
            torch.from_numpy(self.loop._latents[0][places]).to(device).chunk(2, dim=1)
        )
        noise = torch.randn(mean.shape, generator=draw).to(device)
        z0 = (mean + (0.5 * log_variance).exp() * noise) * self.pipeline.vae.config.scaling_factor
        eps = torch.randn(mean.shape, generator=draw).to(device)
        k = 1_000 // c.solver_steps
        i = torch.randint(c.solver_steps, (c.batch,), generator=draw)
        t, t_next = (k * (i + 1) - 1).to(device), (k * i - 1).clamp(min=0).to(device)
        abar, abar_next = (self.abar[at].view(-1, 1, 1, 1) for at in (t, t_next))
        z = abar.sqrt() * z0 + (1 - abar).sqrt() * eps
        captions = [self.loop.data.caption(int(place)) for place in places]
        dtype = self.loop.compute.dtype
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            with torch.no_grad():
                cond, uncond = self.pipeline.encode_prompt(captions, device, 1, True)[:2]
                unet.disable_adapters()
                both = unet(z.repeat(2, 1, 1, 1), t.repeat(2), torch.cat([cond, uncond])).sample
                unet.enable_adapters()
                m_cond, m_uncond = both.chunk(2)
                m = m_cond + c.w * (m_cond - m_uncond)
                z_next = abar_next.sqrt() * self.x0(m, z, t) + (1 - abar_next).sqrt() * m
                said = functional_call(unet, self.average, (z_next, t_next, cond)).sample
                target = torch.where(
                    t_next.view(-1, 1, 1, 1) == 0, z_next, self.x0(said, z_next, t_next)
                )
            jumped = self.x0(unet(z, t, cond).sample, z, t)
        return ((jumped.float() - target).square() + c.huber_c**2).sqrt().mean()

    @torch.no_grad()
    def average_on(self) -> None:
        for name, average in self.average.items():
            average.lerp_(self.learnt[name], 1 - self.loop.config.ema_decay)


def seconds(train: Callable[[int], Any], due: int, device: torch.device) -> float:
    """Time of training up to a step, until the device is done with it."""
    start = time.perf_counter()
    train(due)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def measure(loop: Any, plain: PlainLoop, steps: int, blocks: int) -> tuple[float, float, float]:
    """Items a second of ours and of the plain loop, and the median ratio of their speeds."""
    times: dict[bool, list[float]] = {True: [], False: []}
    for block in range(blocks + 1):
        for ours, train in ((True, loop.train), (False, plain.train)):
            taken = seconds(train, (block + 1) * steps, plain.device)
            if block > 0:  # the first warms up
                times[ours].append(taken)
    rates = [loop.items_per_step * steps / statistics.median(times[o]) for o in (True, False)]
    pairs = zip(times[False], times[True], strict=True)
    return rates[0], rates[1], statistics.median(p / o for p, o in pairs)


def loops(on_card: bool, total: int) -> dict[str, Callable[[], tuple[Any, PlainLoop]]]:
    """Makers of our loops and of a plain one each."""
    common: dict[str, Any] = {
        "steps": total,
        "report_every": total,
        "workers_per_process": 1,
        "precision": "bf16" if on_card else "fp32",
        "device": "cuda" if on_card else "cpu",
    }
    if on_card:
        sizes = {"n_layer": 12, "n_head": 12, "n_embd": 768}
        text = {"context": 1024, "batch": 16}
        vit = {"patch_size": 16, "hidden_size": 768, "num_hidden_layers": 12}
        vit |= {"num_attention_heads": 12, "intermediate_size": 3072}
        images, batch = 224, 64
    else:
        sizes = {"n_layer": 2, "n_head": 2, "n_embd": 128}
        text = {"context": 64, "batch": 8}
        vit = {"patch_size": 8, "hidden_size": 64, "num_hidden_layers": 2}
        vit |= {"num_attention_heads": 2, "intermediate_size": 128}
        images, batch = 32, 16
    rng = np.random.default_rng(0)
    vocabulary = 50_304 if on_card else 512
    tokens = rng.integers(0, vocabulary, 2**20, dtype=np.uint16)
    corpus = Corpus(tokens, tokens, vocabulary, len(tokens), np.ones(len(tokens), np.uint32))
    pixels = rng.standard_normal((4 * batch, 3, images, images), dtype=np.float32)
    labels = rng.integers(0, 10, len(pixels))
    zeros, ones = (np.full((1, 3, 1, 1), value, dtype=np.float32) for value in (0, 1))
    classes = tuple(map(str, range(1_000)))
    pictures = ImageData(pixels, labels, pixels, labels, zeros, ones, classes)

    def of_mst(**fields: Any) -> tuple[Any, PlainLoop]:
        with replaced(mst, "load_corpus", lambda *arguments: corpus):
            loop = MSTSteps(MSTConfig(**{**common, **sizes, **text, **fields}))
        return loop, PlainLoop(loop, mst.make_gpt2(vocabulary, text["context"], sizes))

    def of_qsr(**fields: Any) -> tuple[Any, PlainLoop]:
        with (
            replaced(tasks, "load_corpus", lambda *arguments: corpus),
            replaced(tasks, "load_images", lambda *arguments, **named: pictures),
        ):
            loop = QSRSteps(QSRConfig(**{**common, **fields}))
        return loop, PlainLoop(loop, loop.task.model())

    def of_lcm() -> tuple[Any, PlainLoop]:
        fields = {key: value for key, value in common.items() if key != "workers_per_process"}
        size = {"batch": 512, "images": 12_000} if on_card else {"batch": 16, "images": 512}
        loop = LCMSteps(LCMConfig(**fields, **size, clip=1.0))
        pipeline = StableDiffusionPipeline.from_pretrained(
            EMBEDDED_FOLDER, dtype=torch.float32, use_safetensors=True
        )
        return loop, PlainLCM(loop, pipeline)

    sparse = {"sparsity": ((0.0, 0.8),), "delta": 10}
    return {
        "GPT-2, MST's loop, dense": lambda: of_mst(**MST.variants["dense"]),
        "GPT-2, MST at 80 %, dense attention": lambda: of_mst(**sparse, attention="dense"),
        "GPT-2, MST at 80 %": lambda: of_mst(**sparse, attention_steps=(0.0, 1.0)),
        "GPT-2, QSR's step": lambda: of_qsr(task="stdlib", sizes=sizes, **text),
        "ViT, QSR's step": lambda: of_qsr(sizes=vit, batch=batch),
        "LCM-LoRA, distillation step": of_lcm,
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Training loops beside plain torch loops.")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--steps", type=int, default=10, help="Steps of a block.")
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--peak", type=float, help="Peak bf16 TFLOP/s of a card not in PEAKS.")
    options = parser.parse_args()
    on_card = options.device == "cuda"
    card = torch.cuda.get_device_name() if on_card else f"CPU, {torch.get_num_threads()} thread(s)"
    peak = options.peak or next((p for name, p in PEAKS.items() if on_card and name in card), None)
    console = Console(width=110)
    table = Table("loop", "ours /s", "plain /s", "ratio", "TFLOP/s", "MFU", title=card)
    total = (options.blocks + 1) * options.steps
    for name, make in loops(on_card, total).items():
        loop, plain = make()
        flops = plain.flops()
        ours, theirs, ratio = measure(loop, plain, options.steps, options.blocks)
        speed = flops * ours / loop.items_per_step / 1e12
        row = (
            f"{name}, {loop.items}",
            f"{ours:,.0f}",
            f"{theirs:,.0f}",
            f"{ratio:.3f}",
            f"{speed:.3g}",
            f"{speed / peak:.1%}" if peak else "-",
        )
        table.add_row(*row)
        print(*row, sep="  ", file=sys.stderr, flush=True)  # kept if what follows is cut off
        del loop, plain
        if on_card:
            torch.cuda.empty_cache()
    console.print(table)
    for layers in sparse_layers.report(on_card, repeats=5):
        console.print(layers)
    console.print(batched_rivers.report(on_card, options.blocks))


if __name__ == "__main__":
    main()
