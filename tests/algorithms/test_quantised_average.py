"""Averages of 8 bits against their definitions, and runs with them. About 3 s on one core."""

import multiprocessing
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from tenfold.algorithms.common.quantised_average import (
    BLOCK,
    QuantisedMean,
    Rounding,
    from_codes,
    to_codes,
)
from tenfold.algorithms.qsr import METHOD
from tenfold.algorithms.qsr.config import QSRConfig
from tenfold.algorithms.qsr.loop import QSRLoop
from tenfold.platform.configuration import build_config
from tenfold.platform.errors import InputError

TINY: dict[str, Any] = {
    **METHOD.smoke,
    "steps": 20,
    "report_every": 10,
    "workers_per_process": 3,
    "lr": 0.01,
    "base": 4,
    "rule": "constant",
}
ROUNDINGS = pytest.mark.parametrize("rounding", ["stochastic", "error_feedback"])


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def moved(stacked: int, step: int) -> list[torch.Tensor]:
    """Tensors of a stack, elsewhere at each step."""
    return [drawn(stacked, 30, 20, seed=step), drawn(stacked, 7, seed=step + 100)]


def test_stochastic_rounding_is_unbiased_and_has_the_variance_of_two_neighbours() -> None:
    numbers = drawn(BLOCK)
    scale = float(numbers.abs().max()) / 127
    ratios = (numbers / scale).double()
    draws = 4_000
    lots = torch.rand(draws, BLOCK, generator=torch.Generator().manual_seed(1))
    codes, scales = to_codes(numbers.expand(draws, BLOCK), lots)
    assert torch.allclose(scales, torch.tensor(scale))
    assert bool(((codes.double() - ratios).abs() < 1 + 1e-5).all())
    above = ratios - ratios.floor()
    error = codes.double().mean(dim=0) - ratios
    deviation = (above * (1 - above) / draws).sqrt()
    # Of 256 standard normal deviates the largest is below 4.6 with a chance of 99.9 %.
    assert float((error.abs() / (deviation + 1e-4)).max()) < 4.6
    spread = codes.double().var(dim=0)
    torch.testing.assert_close(spread, above * (1 - above), rtol=0, atol=0.03)


def test_rounding_to_the_nearest_errs_by_half_a_step() -> None:
    numbers = drawn(3, 2 * BLOCK)
    codes, scales = to_codes(numbers, None)
    error = (from_codes(codes, scales) - numbers).abs().unflatten(-1, (-1, BLOCK))
    assert bool((error <= scales.unsqueeze(-1) * 0.5001).all())
    zeros = torch.zeros(BLOCK)
    assert torch.equal(from_codes(*to_codes(zeros, None)), zeros)
    broken = numbers.clone()
    broken[0, 0] = torch.inf
    back = from_codes(*to_codes(broken, None))
    assert not bool(back[0, :BLOCK].isfinite().any())
    torch.testing.assert_close(back[1:], numbers[1:], rtol=0, atol=0.03)


@ROUNDINGS
def test_what_8_bits_can_say_is_averaged_as_it_is(rounding: Rounding) -> None:
    start = [drawn(1, 300).expand(4, 300).clone(), drawn(1, 5).expand(4, 5).clone()]
    average = QuantisedMean(start, 4, rounding, seed=0)
    whole = torch.randint(-127, 128, (305,), generator=torch.Generator().manual_seed(2)).float()
    whole[[0, 260]] = 127.0  # both blocks have the scale 1
    there = [start[0] + whole[:300], start[1] + whole[300:]]
    expected = [tensor.clone() for tensor in there]
    average(there)
    for tensor, right in zip(there, expected, strict=True):
        torch.testing.assert_close(tensor, right, rtol=0, atol=2e-5)
    assert average.sent == 2 * 3 / 4 * (305 + 4 * 2)


def test_error_feedback_owes_no_more_than_its_last_remainders() -> None:
    """All that workers moved came through, but for what is left of it."""
    point = [torch.zeros_like(tensor) for tensor in moved(3, 0)]
    average = QuantisedMean(point, 3, "error_feedback", seed=0)
    asked = torch.zeros(607)
    for step in range(5):
        moves = moved(3, step)
        asked += torch.cat([move.mean(dim=0).flatten() for move in moves])
        for tensor, move in zip(point, moves, strict=True):
            tensor.add_(move)
        average(point)
        average.round_begins(point)
    reached = torch.cat([tensor[0].flatten() for tensor in point])
    owed = average.left.mean(dim=0)[:607] + average.left_of_mean[:607]
    torch.testing.assert_close(reached + owed, asked, rtol=0, atol=1e-4)
    assert 0 < float(owed.abs().max()) < 0.05


def average_of_a_process(rank: int, meet: Path, rounding: Rounding) -> None:
    """What one of two processes with a worker each gets, twice."""
    torch.set_num_threads(1)
    where = f"file://{meet}/{rounding}"
    dist.init_process_group("gloo", init_method=where, rank=rank, world_size=2)
    average = QuantisedMean([torch.zeros(30, 20), torch.zeros(7)], 1, rounding, seed=5)
    for step in range(2):
        tensors = [tensor[rank].clone() for tensor in moved(2, step)]
        average(tensors)
    torch.save((tensors, average.sent), meet / f"{rounding}-{rank}.pt")
    dist.destroy_process_group()


@ROUNDINGS
def test_two_processes_have_the_numbers_of_a_stack_of_two(
    rounding: Rounding, tmp_path: Path
) -> None:
    begun = [
        multiprocessing.get_context("fork").Process(
            target=average_of_a_process, args=(rank, tmp_path, rounding)
        )
        for rank in range(2)
    ]
    for process in begun:
        process.start()
    for process in begun:
        process.join(60)
        assert process.exitcode == 0
    stack = [torch.zeros_like(tensor) for tensor in moved(2, 0)]
    average = QuantisedMean(stack, 2, rounding, seed=5)
    for step in range(2):
        stack = moved(2, step)
        average(stack)
    for rank in range(2):
        tensors, sent = torch.load(tmp_path / f"{rounding}-{rank}.pt")
        assert sent == average.sent
        for found, tensor in zip(tensors, stack, strict=True):
            torch.testing.assert_close(found, tensor[rank], rtol=0, atol=1e-6)


def trained(due: int = 20, **fields: Any) -> QSRLoop:
    loop = QSRLoop(QSRConfig(**{**TINY, **fields}))
    loop.train(due)
    return loop


def test_runs_with_8_bits_send_a_quarter_and_end_near_those_with_32() -> None:
    whole = trained()
    parameters = sum(p.numel() for p in whole.workers.module.parameters())
    assert whole.optimizer.average.sent == 2 * 2 / 3 * 4 * parameters * 5
    for rounding in ("stochastic", "error_feedback"):
        loop = trained(average_bits=8, average_rounding=rounding)
        average = loop.optimizer.average
        assert average.sent == 2 * 2 / 3 * (parameters + 4 * -(-parameters // BLOCK)) * 5
        for name, p in loop.workers.parameters.items():
            assert torch.equal(p, p[:1].expand_as(p)), name
            assert not torch.equal(p, whole.workers.parameters[name]), name
            torch.testing.assert_close(p, whole.workers.parameters[name], rtol=0, atol=0.02)


@pytest.mark.parametrize(
    "fields",
    [
        {"outer": "nesterov", "average_rounding": "error_feedback"},
        {"rule": "data_parallel"},
    ],
    ids=["error feedback, outer", "stochastic, gradients"],
)
def test_a_run_goes_on_from_the_middle_of_a_round_bit_for_bit(
    fields: dict[str, Any], tmp_path: Path
) -> None:
    straight = trained(due=10, average_bits=8, **fields)
    straight.save(tmp_path)
    resumed = QSRLoop(straight.config)
    resumed.load(tmp_path)
    for loop in (straight, resumed):
        loop.train(20)
    for name, p in straight.workers.parameters.items():
        assert torch.equal(resumed.workers.parameters[name], p), name
    assert resumed.optimizer.average.sent == straight.optimizer.average.sent
    assert straight.quantised is not None
    assert resumed.quantised is not None
    for name, tensor in straight.quantised.tensors.items():
        assert torch.equal(resumed.quantised.tensors[name], tensor), name


def test_8_bit_gradients_that_overflow_leave_the_step_out() -> None:
    average = QuantisedMean([torch.zeros(2, 300)], 2, "error_feedback", seed=0, gradients=True)
    gradients = [drawn(2, 300)]
    gradients[0][1, 3] = torch.inf
    average(gradients)
    assert not bool(gradients[0].isfinite().all())
    assert bool(average.left.isfinite().all())
    assert bool(average.left_of_mean.isfinite().all())


def test_what_8_bits_are_not_for_is_refused() -> None:
    given = {"average_bits": 8, "average_moments": ["exp_avg"]}
    with pytest.raises(InputError, match="'average_moments': they are averaged in 32 bits only"):
        build_config(METHOD, "digits", "qsr", given, seed=0)
    with pytest.raises(InputError, match=r"Bad value 16 for 'average_bits': choose one of 32, 8\."):
        build_config(METHOD, "digits", "qsr", {"average_bits": 16}, seed=0)
