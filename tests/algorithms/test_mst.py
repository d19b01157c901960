"""MST: schedules by hand, topology steps, masks that hold, FLOPs against torch's own counter."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from ray import tune
from torch.utils.flop_counter import FlopCounterMode
from transformers import GPT2LMHeadModel
from transformers.modeling_outputs import CausalLMOutput

from tenfold.algorithms.common.causal_lm import make_gpt2
from tenfold.algorithms.common.language_model import judge, next_token_loss
from tenfold.algorithms.mst import METHOD
from tenfold.algorithms.mst.attention import PATTERNS, kept_fraction, pattern_mask, set_pattern
from tenfold.algorithms.mst.config import MSTConfig
from tenfold.algorithms.mst.flops import FlopLedger, Sizes, step_flops
from tenfold.algorithms.mst.loop import MSTLoop
from tenfold.algorithms.mst.masks import masked_layers
from tenfold.algorithms.mst.schedule import SparsitySchedule, active_weights, erdos_renyi
from tenfold.algorithms.mst.topology import GRADIENT_SHARE, _largest, evolve, first_mask
from tenfold.envs.data.text import Corpus
from tenfold.tune_spaces.mst import SPACES

TABLE = ((0.0, 0.0), (0.1, 0.5), (0.2, 0.9), (0.7, 0.5), (0.9, 0.0))
TINY: dict[str, Any] = {**METHOD.smoke, "steps": 40, "report_every": 20, "sparsity": TABLE}


def finished(**fields: Any) -> tuple[MSTLoop, dict[str, float]]:
    config = MSTConfig(**{**TINY, **fields})
    config.check()
    loop = MSTLoop(config)
    metrics: dict[str, float] = {}
    while not loop.finished:
        metrics = loop.advance()
    return loop, metrics


def test_a_schedules_levels_phases_and_zeta() -> None:
    schedule = SparsitySchedule(100, TABLE)
    levels = [schedule(step) for step in (0, 9, 10, 19, 20, 69, 70, 89, 90, 99)]
    assert levels == [0.0, 0.0, 0.5, 0.5, 0.9, 0.9, 0.5, 0.5, 0.0, 0.0]
    assert [schedule.phase(step) for step in (0, 15, 20, 69, 70, 95)] == [
        "warm-up",
        "warm-up",
        "ultra",
        "ultra",
        "restoration",
        "restoration",
    ]
    assert schedule.zeta(20, 0.3) == pytest.approx(0.3)  # the ultra phase is 20 to 70
    assert schedule.zeta(45, 0.3) == pytest.approx(0.15)
    assert schedule.zeta(70, 0.3) == pytest.approx(0.3)
    assert SparsitySchedule(10, ((0.0, 0.0),)).phase(3) == "dense"
    for bad in ((), ((0.1, 0.5),), ((0.0, 1.0),), ((0.0, 0.1), (0.5, 0.2), (0.5, 0.3))):
        with pytest.raises(ValueError, match="sparsity"):
            SparsitySchedule(10, bad)


@given(
    st.lists(st.tuples(st.integers(1, 400), st.integers(1, 400)), min_size=1, max_size=8),
    st.floats(0.01, 1.0),
)
def test_erdos_renyi_meets_the_density_and_never_passes_one(
    shapes: list[tuple[int, int]], density: float
) -> None:
    found = erdos_renyi(shapes, density)
    sizes = [n_in * n_out for n_in, n_out in shapes]
    assert all(0 <= d <= 1 for d in found)
    total = sum(d * size for d, size in zip(found, sizes, strict=True))
    assert total == pytest.approx(density * sum(sizes))
    ratios = [
        d * n_in * n_out / (n_in + n_out)
        for d, (n_in, n_out) in zip(found, shapes, strict=True)
        if d < 1
    ]
    assert all(r == pytest.approx(ratios[0]) for r in ratios)


@given(
    seed=st.integers(0, 2**31),
    active=st.integers(0, 60),
    target=st.integers(0, 60),
    zeta=st.floats(0, 0.9),
    share=st.floats(0, 1),
)
def test_a_topology_step_keeps_the_largest_and_counts(
    seed: int, active: int, target: int, zeta: float, share: float
) -> None:
    generator, lots = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    weight = torch.randn(6, 10, generator=generator)
    gradient = torch.randn(6, 10, generator=generator).abs()
    mask = first_mask(weight, active, "random", lots)
    new, kept = evolve(mask, weight.abs(), gradient, target, zeta, share, lots)
    prune = max(int(zeta * active), active - target)
    assert int(new.sum()) == target
    assert int(kept.sum()) == active - prune
    assert bool((kept <= mask).all())
    assert bool((kept <= new).all())
    gone = mask & ~kept
    if bool(kept.any()) and bool(gone.any()):
        assert weight.abs()[kept].min() >= weight.abs()[gone].max()
    grown = new & ~kept
    by_gradient = round(int(grown.sum()) * share)
    strongest = torch.where(kept, -1.0, gradient).flatten().topk(by_gradient).indices
    assert bool(new.flatten()[strongest].all())


@given(
    st.lists(st.sampled_from([0.0, -0.0, 1.0, 2.5, math.inf, -math.inf]), max_size=30), st.data()
)
def test_the_largest_are_those_of_a_stable_sort(values: list[float], data: st.DataObject) -> None:
    scores = torch.tensor(values)
    count = data.draw(st.integers(0, len(values)))
    by_sort = torch.sort(scores, descending=True, stable=True).indices[:count]
    assert sorted(_largest(scores, count).tolist()) == sorted(by_sort.tolist())
    assert _largest(torch.tensor([1.0, math.nan, math.inf]), 1).tolist() == [1]


def test_the_growth_rules_are_set_rigl_and_mixed() -> None:
    assert [GRADIENT_SHARE[rule](3.0) for rule in ("random", "gradient", "mixed")] == [0, 1, 0.75]


def test_random_growth_is_uniform_over_what_is_off() -> None:
    mask = torch.zeros(2, 10, dtype=torch.bool)
    mask[0, :5] = True
    generator = np.random.default_rng(0)
    counts = torch.zeros(2, 10)
    for _ in range(3_000):
        new, kept = evolve(mask, torch.ones(2, 10), torch.ones(2, 10), 8, 0.0, 0.0, generator)
        assert torch.equal(kept, mask)
        counts += new & ~mask
    expected = 3_000 * 3 / 15
    chi_squared = float(((counts[~mask] - expected) ** 2 / expected).sum())
    assert chi_squared < 36.1  # 99.9 % of chi squared with 14 degrees of freedom


def test_masked_weights_and_their_moments_stay_zero() -> None:
    loop = MSTLoop(MSTConfig(**TINY))
    for due in range(1, 41):
        loop.train(due)
        for name, weight in loop.weights.items():
            off = ~loop.masks.masks[name]
            state = loop.optimizer.inner.state[weight]
            for tensor in (weight, state["exp_avg"], state["exp_avg_sq"]):
                assert bool((tensor[off] == 0).all()), (due, name)
        aimed = sum(loop.masks.targets(loop.schedule(loop.step)).values())
        if loop.step % loop.config.delta == 0 and loop.step < 40:
            assert loop.masks.active == aimed
    assert loop.masks.active == loop.masks.size


def test_what_is_saved_is_plain_and_dense_and_generates(tmp_path: Path) -> None:
    loop, metrics = finished()
    assert metrics["sparsity"] == 0.0
    loop.save(tmp_path)
    plain = GPT2LMHeadModel.from_pretrained(tmp_path / "model").eval()
    assert set(plain.state_dict()) == set(make_gpt2(256, 16, {"n_layer": 1}).state_dict())
    found = judge(plain, loop.corpus, 16, loop.config.validation_windows)
    assert found["loss"] == pytest.approx(metrics["loss"], abs=1e-5)
    tokens = plain.generate(torch.tensor([[10, 11]]), max_new_tokens=5, do_sample=False)
    assert tokens.shape == (1, 7)


@pytest.mark.parametrize(
    "fields",
    [{}, {"accumulate": 2}, {"kernels": "auto"}, METHOD.variants["mst_qsr"]],
    ids=["mst", "accumulate", "kernels", "qsr"],
)
def test_a_resumed_run_is_the_straight_one(fields: dict[str, Any], tmp_path: Path) -> None:
    config = MSTConfig(**{**TINY, **fields, "steps": 200, "report_every": 50})
    straight = MSTLoop(config)
    for _ in range(2):
        straight.advance()
    straight.save(tmp_path)
    resumed = MSTLoop(config)
    resumed.load(tmp_path)
    if straight.sparse_path is not None and resumed.sparse_path is not None:
        # What is faster was measured twice and may differ; the paths then round differently.
        resumed.sparse_path.calibration = straight.sparse_path.calibration
        resumed.sparse_path.follow(resumed.masks.masks)
    for _ in range(2):
        expected, found = straight.advance(), resumed.advance()
    for key, value in expected.items():
        if not key.endswith(("_seconds", "_per_second")):
            assert found[key] == value, key
    for name, p in straight.workers.parameters.items():
        assert torch.equal(resumed.workers.parameters[name], p), name
    for name, mask in straight.masks.masks.items():
        assert torch.equal(resumed.masks.masks[name], mask), name


def resumed_under(folder: Path, due: int, before: dict[str, Any], **changed: Any) -> MSTLoop:
    """A run that stopped at step `due` and goes on under another config."""
    first = MSTLoop(MSTConfig(**{**TINY, **before}))
    first.train(due)
    first.save(folder)
    second = MSTLoop(MSTConfig(**{**TINY, **before, **changed}))
    second.load(folder)
    return second


@pytest.mark.parametrize(
    ("before", "delta", "expected"),
    [(2, 7, [14, 21]), (9, 4, [12, 16, 20, 24]), (5, 5, [15, 20, 25])],
)
def test_another_distance_of_topology_steps_holds_from_the_resumed_step_on(
    before: int, delta: int, expected: list[int], tmp_path: Path
) -> None:
    flat = {"sparsity": ((0.0, 0.9),), "growth": "random", "steps": 30, "zeta": 0.4}
    loop = resumed_under(tmp_path, 11, {**flat, "delta": before}, delta=delta)
    changed, masks = [], dict(loop.masks.masks)
    for due in range(12, 27):  # later zeta is so small that nothing is replaced
        loop.train(due)
        if any(not torch.equal(masks[name], mask) for name, mask in loop.masks.masks.items()):
            changed.append(due)
        masks = dict(loop.masks.masks)
    assert changed == expected


def test_another_rate_changes_the_rounds_of_local_workers_from_the_resumed_step_on(
    tmp_path: Path,
) -> None:
    local = {**METHOD.variants["mst_qsr"], **TINY, "batch": 1, "base": 2, "alpha": 8e-3}
    loop = resumed_under(tmp_path, 11, local, lr=1.5e-3)
    config, done = loop.config, loop.optimizer.averages
    rounds = list(config.rule.rounds(config.learning_rate, 11))
    assert rounds != list(MSTConfig(**local).rule.rounds(MSTConfig(**local).learning_rate, 11))
    metrics = loop.train(40)
    assert loop.optimizer.averages == done + len(rounds)
    assert metrics["communication_fraction"] == (done + len(rounds)) / 40
    assert loop.masks.active == loop.masks.size


def test_every_key_of_the_search_spaces_can_change_in_mid_run(tmp_path: Path) -> None:
    values = {"lr": 8e-3, "zeta": 0.5, "delta": 3, "grad_rand_ratio": 9.0, "growth": "random"}
    values |= {"restoration": 0.6, "restoration_lr": 4e-3}
    keys = {key for space in SPACES.values() for key in space.define(tune)}
    assert values.keys() == keys
    assert not keys & MSTConfig.fixed
    loop = resumed_under(tmp_path, 11, {"growth": "none"}, **values)
    metrics = loop.train(40)
    assert metrics["communication_fraction"] == 1
    assert metrics["ever_active"] == 1  # dense in the end
    assert loop.masks.active == loop.masks.size


def test_a_run_that_diverges_says_so() -> None:
    _, metrics = finished(lr=1e6, clip=0.0, steps=12)
    for name in ("loss", "bits_per_byte", "accuracy", "train_loss"):
        assert not math.isfinite(metrics[name]), name
    assert metrics["sparsity"] == 0


@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_a_run_of_few_steps_ends_as_its_table_does(steps: int) -> None:
    loop, metrics = finished(steps=steps)
    assert (metrics["step"], metrics["sparsity"], loop.masks.active) == (steps, 0, loop.masks.size)
    schedule = SparsitySchedule(steps, ((0.0, 0.5), (0.99, 0.9)))
    assert schedule(steps - 1) == 0.9
    assert schedule.changes == (steps - 1,)


def test_a_sparsity_that_leaves_a_layer_without_weights_is_refused() -> None:
    table = ((0.0, 0.0), (0.1, 0.9999), (0.9, 0.0))
    for distribution in ("erdos_renyi", "uniform"):
        tiny = {**TINY, "sparsity": table, "distribution": distribution}
        with pytest.raises(ValueError, match=r"Bad value 0.9999 in 'sparsity': .*\.$") as refusal:
            MSTConfig(**tiny).check()
        assert "\n" not in str(refusal.value)
    wide = MSTConfig(**{**TINY, "sparsity": table, "n_embd": 256})
    wide.check()
    shapes = [(256, 768), (256, 256), (256, 1024), (1024, 256)]
    assert sum(active_weights(shapes, "erdos_renyi", 0.9999)) == pytest.approx(79, abs=2)
    assert active_weights(shapes, "uniform", 0.75) == [n * m // 4 for n, m in shapes]


def test_sparse_kernels_train_the_same_model() -> None:
    dense = MSTLoop(MSTConfig(**TINY))
    sparse = MSTLoop(MSTConfig(**{**TINY, "kernels": "auto"}))
    assert sparse.sparse_path is not None
    thresholds = sparse.sparse_path.calibration["thresholds"]
    thresholds.update(dict.fromkeys(thresholds, 1.0))  # sparse whatever the density
    for due in (5, 12, 20, 30, 40):
        dense.train(due)
        sparse.train(due)
        for name, p in dense.workers.parameters.items():
            torch.testing.assert_close(
                sparse.workers.parameters[name], p, rtol=1e-3, atol=1e-3, msg=name
            )


def test_local_workers_share_masks_that_change_at_averages_only() -> None:
    config = MSTConfig(**{**METHOD.variants["mst_qsr"], **TINY, "batch": 2, "base": 3, "delta": 4})
    loop = MSTLoop(config)
    ends = {r.start + r.H for r in config.rule.rounds(config.learning_rate)}
    before = {name: mask.clone() for name, mask in loop.masks.masks.items()}
    changed = set()
    for due in range(1, 41):
        loop.train(due)
        if any(not torch.equal(before[n], m) for n, m in loop.masks.masks.items()):
            changed.add(due)
        before = {name: mask.clone() for name, mask in loop.masks.masks.items()}
        for name, weight in loop.weights.items():
            assert bool((weight[:, ~loop.masks.masks[name]] == 0).all())
    assert changed
    assert changed <= ends
    # Also the last of them are in time: where the table says dense, the model is.
    assert set(loop.schedule.changes) <= changed
    assert loop.masks.active == loop.masks.size


def test_micro_batches_are_one_batch_of_all_of_them() -> None:
    loop = MSTLoop(MSTConfig(**{**TINY, "accumulate": 3}))
    whole = torch.cat([loop.batches(number)["tokens"] for number in range(3)], dim=1)
    assert whole.shape == (1, 6, 17)
    loop.workers.losses({"tokens": whole}).sum().backward()
    expected = {name: p.grad for name, p in loop.workers.parameters.items()}
    loop.optimizer.zero_grad()
    loop._gradients(dense=False)
    for name, p in loop.workers.parameters.items():
        torch.testing.assert_close(p.grad, expected[name], msg=name)
    assert loop.items_per_step == 6 * 16


def test_weights_gradients_and_moments_stay_in_fp32_under_bf16() -> None:
    still = {**TINY, "sparsity": ((0.0, 0.5),), "growth": "none"}
    exact, half = (MSTLoop(MSTConfig(**still, precision=p)) for p in ("fp32", "bf16"))
    for loop in (exact, half):
        loop.train(6)
    state = [t for entries in half.optimizer.state.values() for t in entries.values()]
    assert {t.dtype for t in [*half.workers.parameters.values(), *state]} == {torch.float32}
    with half.compute.autocast():
        logits = half.workers.module(input_ids=half.batches(0)["tokens"][0, :, :-1]).logits
    assert logits.dtype == torch.bfloat16
    pairs = [(p, half.workers.parameters[name]) for name, p in exact.workers.parameters.items()]
    assert not any(torch.equal(p, other) for p, other in pairs)
    apart = sum(float((p - other).detach().square().sum()) for p, other in pairs)
    size = sum(float(p.detach().square().sum()) for p, _ in pairs)
    assert apart < 0.01 * size


class Uniform(torch.nn.Module):
    """Knows nothing: all of 8 tokens are as likely."""

    def forward(self, input_ids: torch.Tensor) -> CausalLMOutput:
        return CausalLMOutput(logits=torch.zeros(*input_ids.shape, 8))


def test_bits_a_byte_are_those_of_the_text_that_was_judged() -> None:
    tokens = np.arange(40, dtype=np.uint16) % 8
    widths = np.arange(40, dtype=np.uint32)
    corpus = Corpus(tokens, tokens, 8, 40, widths)
    judged = judge(Uniform(), corpus, context=5, most=3)
    # Of seven windows the first, third and fifth: tokens 1 to 5, 11 to 15 and 21 to 25 are
    # predicted, at 3 bits each; they stand for as many bytes as their numbers say.
    assert judged["loss"] == pytest.approx(math.log(8))
    assert judged["perplexity"] == pytest.approx(8)
    assert judged["bits_per_byte"] == pytest.approx(15 * 3 / (15 + 65 + 115))
    nothing = judge(Uniform(), replace(corpus, widths=0 * widths), context=5, most=3)
    assert nothing["bits_per_byte"] == math.inf


@pytest.mark.parametrize("length", [7, 16, 32])
def test_a_dense_models_flops_are_torchs(length: int) -> None:
    model = make_gpt2(96, 32, {"n_layer": 2, "n_embd": 64, "n_head": 2})
    model.set_attn_implementation("eager")
    tokens = torch.randint(0, 96, (3, length + 1), generator=torch.Generator().manual_seed(0))
    with FlopCounterMode(display=False) as counter:
        next_token_loss(model(input_ids=tokens[:, :-1]).logits, tokens).backward()
    sizes = Sizes.of(model)
    density = dict.fromkeys(masked_layers(model), 1.0)
    found = step_flops(sizes, 3, length, density, 1.0, topology_step=False)
    assert found.total == counter.get_total_flops()
    assert step_flops(sizes, 3, length, density, 1.0, topology_step=True) == found


def test_flops_follow_density_and_a_topology_step_adds_one_dense_gradient() -> None:
    sizes = Sizes.of(make_gpt2(96, 32, {"n_layer": 2, "n_embd": 64, "n_head": 2}))
    names = list(sizes.linear)
    dense = step_flops(sizes, 3, 16, dict.fromkeys(names, 1.0), 1.0, False)
    tenth = step_flops(sizes, 3, 16, dict.fromkeys(names, 0.1), 0.5, False)
    topology = step_flops(sizes, 3, 16, dict.fromkeys(names, 0.1), 0.5, True)
    assert tenth.linear == pytest.approx(0.1 * dense.linear)
    assert tenth.attention == pytest.approx(0.5 * dense.attention)
    assert tenth.head == dense.head
    assert topology.dense_gradient == pytest.approx(0.9 * dense.linear / 3)
    ledger = FlopLedger()
    ledger.add(dense, dense)
    assert ledger.reduction == ledger.reduction_blocks == 1.0
    ledger.add(tenth, dense)
    assert ledger.reduction == pytest.approx(2 * dense.total / (dense.total + tenth.total))


def test_a_runs_flops_are_those_of_its_schedule() -> None:
    loop, metrics = finished(attention="dense", growth="none")
    whole = 0.0
    for step in range(40):
        # Masks change after steps that are multiples of delta = 2, except the last.
        level = loop.schedule(step - step % 2)
        topology = (step + 1) % 2 == 0 and step + 1 < 40 and loop.schedule(step + 1) != level
        targets = loop.masks.targets(level)
        shares = {n: t / loop.masks.masks[n].numel() for n, t in targets.items()}
        whole += step_flops(loop.sizes, 2, 16, shares, 1.0, topology).total
    assert metrics["flops"] == pytest.approx(whole)


@pytest.mark.parametrize("name", PATTERNS)
def test_patterns_are_their_definitions(name: str) -> None:
    mask = pattern_mask(name, 20, width=3, stride=5)
    for q in range(20):
        for k in range(20):
            sees = {
                "dense": True,
                "local": q - k <= 2,
                "strided": (q - k) % 5 == 0,
                "sparse": q - k <= 2 or (q - k) % 5 == 0,
                "fixed": q // 5 == k // 5 or k in (4, 9, 14, 19),
            }[name]
            assert bool(mask[q, k]) == (k <= q and sees)
    assert kept_fraction(mask) == pytest.approx(float(mask.sum()) / 210)


def test_attention_by_a_pattern_switches_on_and_off() -> None:
    torch.manual_seed(0)
    model = make_gpt2(50, 24, {"n_layer": 2, "n_embd": 16, "n_head": 2}).eval()
    tokens = torch.randint(0, 50, (2, 24), generator=torch.Generator().manual_seed(1))
    stock = model(input_ids=tokens).logits
    set_pattern(model, pattern_mask("dense", 24, width=1, stride=1))
    torch.testing.assert_close(model(input_ids=tokens).logits, stock, rtol=1e-4, atol=1e-5)
    set_pattern(model, pattern_mask("local", 24, width=3, stride=1))
    local = model(input_ids=tokens).logits
    assert not torch.allclose(local, stock, atol=1e-4)
    # Two layers of a band of three see at most four tokens back, and never ahead.
    changed = tokens.clone()
    changed[:, 10] = (changed[:, 10] + 1) % 50
    moved = (model(input_ids=changed).logits - local).abs().amax(dim=(0, 2)) > 1e-6
    assert moved.nonzero().flatten().tolist() == [10, 11, 12, 13, 14]
    set_pattern(model, None)
    torch.testing.assert_close(model(input_ids=tokens).logits, stock)
