"""`tenfold distill`: a one-step policy from a run of dom2, as TorchScript that needs no Tenfold.

What it needs is imported when it runs, so that the command line stays quick.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tenfold.platform.errors import InputError

if TYPE_CHECKING:
    from tenfold.algorithms.dom2.algorithm import DOM2
    from tenfold.algorithms.dom2.distill import OneStepPolicy

RECORD = "policy.json"


def distill(
    run: Annotated[str, typer.Argument(help="A trial of dom2 with a diffusion policy.")],
    out: Annotated[Path, typer.Option(help="Folder for one file an agent.")] = Path("policy"),
    updates: Annotated[int, typer.Option(min=1, help="Updates of the student.")] = 3_000,
    steps: Annotated[int, typer.Option(min=2, max=1000, help="Solver steps of the flow.")] = 20,
    lr: Annotated[float, typer.Option(min=1e-9, help="Learning rate.")] = 1e-3,
    batch: Annotated[int, typer.Option(min=1, help="Rows of an agent in an update.")] = 256,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same policy.")] = 0,
    trust: Annotated[
        bool, typer.Option("--trust", help="Load pickles of a checkpoint that you did not make.")
    ] = False,
) -> None:
    """Distil a diffusion policy into one that acts in one step, and write it as TorchScript.

    A process without Tenfold loads AGENT.pt and calls it with observations (B, o) and standard
    normal noise (B, m), both float32; it gets actions (B, m).

    Example: tenfold distill 4f2a0c --out robots
    """
    algorithm = _restored(run, trust)
    student, record = distilled(algorithm, updates, steps, lr, batch, seed)
    export(algorithm, student, record, out)
    print(
        f"{record['return_diffusion']:.1f} by diffusion, {record['return_one_step']:.1f} in one "
        f"step, {record['times_faster_than_ddpm_50']:.0f} times faster than 50 steps of DDPM: "
        f"{out / RECORD}"
    )


def distilled(
    algorithm: "DOM2", updates: int, steps: int, lr: float, batch: int, seed: int
) -> tuple["OneStepPolicy", dict[str, Any]]:
    """The student, and how it compares with its teacher: scores, and times of an action."""
    import numpy as np
    import torch
    from ray.rllib.core.columns import Columns

    from tenfold.algorithms.dom2.distill import distil
    from tenfold.algorithms.dom2.latency import action_seconds, chain_of
    from tenfold.algorithms.dom2.policies import DiffusionPolicy
    from tenfold.algorithms.offline.evaluation import evaluate_policy

    module = algorithm.agents_module
    teacher = module.target_policy
    if not isinstance(teacher, DiffusionPolicy):
        raise InputError(
            f"The run's policy is {algorithm.config.policy} and acts in one step already: give a "
            "run whose policy is a diffusion."
        )

    def observations(update: int) -> torch.Tensor:
        rows = algorithm.sampler.sample(batch, np.random.default_rng([seed, update]))[Columns.OBS]
        seen: torch.Tensor = module.normalised(torch.as_tensor(rows).transpose(0, 1))
        return seen

    student = distil(teacher, observations, updates, steps, lr, seed)

    def act(obs: np.ndarray) -> np.ndarray:
        o = module.normalised(torch.as_tensor(obs).transpose(0, 1))
        with torch.no_grad():
            acted = student(o, torch.randn(*o.shape[:2], module.action_space.shape[1]))
        return np.asarray(acted.transpose(0, 1).numpy())

    count = algorithm.config.judge_episodes
    environments = algorithm.config.make_environments(algorithm.data, count, seed)
    torch.manual_seed(seed)
    o = observations(0)
    one = action_seconds(lambda: student(o, torch.randn(*o.shape[:2], teacher.m)))
    chain = action_seconds(lambda: chain_of(teacher, 50).act(o))
    record = {
        "return_diffusion": float(
            evaluate_policy(environments, algorithm.act, seed, 1.0).scores.mean()
        ),
        "return_one_step": float(evaluate_policy(environments, act, seed, 1.0).scores.mean()),
        "times_faster_than_ddpm_50": chain / one,
    }
    return student, record


def export(algorithm: "DOM2", student: "OneStepPolicy", record: dict[str, Any], out: Path) -> None:
    """Write AGENT.pt for each agent, and what they are."""
    from tenfold.algorithms.dom2.distill import AgentPolicy

    out.mkdir(parents=True, exist_ok=True)
    data, module = algorithm.data, algorithm.agents_module
    m = module.action_space.shape[1]
    agents = {}
    for j, name in enumerate(data.agents):
        size = data.obs[name].shape[1]
        own = AgentPolicy(student, j, len(data.agents), module.mean[j, 0], module.std[j, 0], size)
        own.torchscript(m).save(str(out / f"{name}.pt"))
        agents[name] = {"file": f"{name}.pt", "observations": size, "actions": m}
    text = json.dumps({"environment": data.card.environment, "agents": agents, **record}, indent=2)
    (out / RECORD).write_text(text + "\n")


def _restored(run: str, trust: bool) -> "DOM2":
    """The algorithm of a trial, with its newest checkpoint."""
    from tenfold.platform.configuration import build_config
    from tenfold.platform.evaluate import checkpoint_to_restore
    from tenfold.platform.store import tracking_uri
    from tenfold.platform.trial_files import find_trial_of

    uri = tracking_uri()
    chosen = checkpoint_to_restore(find_trial_of("dom2", run, uri), uri, best=False, trust=trust)
    method, point = chosen.method, chosen.point
    config = build_config(method, point.task, point.variant, point.overrides, point.seed)
    algorithm: DOM2 = method.load_trainable()(config)
    algorithm.load_checkpoint(str(chosen.checkpoint))
    return algorithm
