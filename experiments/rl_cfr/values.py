"""The PBS value network: how well it values rivers, and turns solved with it at their leaves.

    python experiments/rl_cfr/values.py train --seed 1000    (seeds below 1,000 are trainings')
    python experiments/rl_cfr/values.py error --seed 1000
    python experiments/rl_cfr/values.py turns --seed 1000
    python experiments/rl_cfr/values.py speed

`train` solves random rivers, trains a network of its own on them and saves it in the folder `runs`.
`error` compares it with rivers that it has not seen; `turns` compares turns whose trees end with
the betting round with the same turns solved through all 48 rivers; `speed` times a solve on each
street of the full game, where both players may hold anything. Errors are weighted by how
often a hand is dealt; intervals are 95 % Student-t over subgames.
"""

import json
import resource
import time
from typing import Annotated, Any

import numpy as np
import torch
import typer
from measure import RESULTS, RUNS, configured, interval, judge

from tenfold.algorithms.rl_cfr.config import RLCFRConfig
from tenfold.algorithms.rl_cfr.epoch import first_choice, solve_situation
from tenfold.algorithms.rl_cfr.learner import HELD_OUT, SITUATIONS, AbstractionLearner
from tenfold.algorithms.rl_cfr.learning.value_learner import make_networks, read_networks
from tenfold.algorithms.rl_cfr.learning.value_network import DELTA, ValueSamples
from tenfold.algorithms.rl_cfr.mdp import Decision, bet_tree, solve
from tenfold.algorithms.rl_cfr.solver.solver import Solver
from tenfold.algorithms.rl_cfr.solver.subgame import Subgame
from tenfold.algorithms.rl_cfr.worlds.catalogue import make_world
from tenfold.algorithms.rl_cfr.worlds.holdem import FLOP, RIVER, TURN
from tenfold.envs.poker.rules import CALL, STREETS
from tenfold.envs.poker.sizes import Menu
from tenfold.envs.poker.spot import Spot, deals

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)
MENU = Menu((0.5,))
"""The bet that is called on each street of `speed`."""
ITERATIONS = 100
"""Of CFR on rivers that networks are trained on and turns that they are tried on."""
Seed = Annotated[int, typer.Option(help="Of the network.")]


def solved_river(config: RLCFRConfig, stream: int, seed: int, number: int) -> ValueSamples:
    """A random river of the seed, solved."""
    rng = np.random.default_rng((seed, stream, RIVER, number))
    return solve_situation(config.world(), RIVER, config.solving(), rng)


@app.command()
def train(
    seed: Seed = 1_000, rivers: Annotated[int, typer.Option(help="To solve.")] = 6_000
) -> None:
    """Train a network on rivers of its own, as the method does before its first hand."""
    torch.set_num_threads(1)
    config = configured("turn_hunl", seed, cfr_iterations=ITERATIONS)
    values, start = AbstractionLearner(config).values, time.process_time()
    for number in range(0, rivers, 100):
        numbers = range(number, number + 100)
        values.learn(RIVER, [solved_river(config, SITUATIONS, seed, each) for each in numbers])
        if number % 1_000 == 900:
            typer.echo(f"{number + 100} rivers, {time.process_time() - start:.0f} s")
            np.savez(RUNS / f"values-{seed}.npz", allow_pickle=False, **values.weights())


@app.command()
def error(seed: Seed = 1_000, rivers: Annotated[int, typer.Option(help="Held out.")] = 500) -> None:
    """Error on held-out rivers beside the value when nobody bets, by buckets of hands."""
    config = configured("turn_hunl", seed, cfr_iterations=ITERATIONS)
    network = read_networks((RIVER,), config.value_hidden, judge(seed))[RIVER]
    samples = [solved_river(config, HELD_OUT, 2_000, number) for number in range(rivers)]
    columns = (np.concatenate(column) for column in zip(*samples, strict=True))
    batch = ValueSamples(*columns)
    with torch.no_grad():
        inputs = (torch.from_numpy(each) for each in batch[:3])
        said = network(*inputs).numpy()
    rows: dict[str, Any] = {"rivers": rivers}
    for name, guess in (("network", said), ("check down", np.zeros_like(said))):
        off = np.abs(guess - batch.targets).astype(np.float64)
        huber = np.where(off < DELTA, 0.5 * off**2, DELTA * (off - 0.5 * DELTA))
        rows[name] = interval("pots", (batch.dealt * off).sum(axis=2).mean(axis=1))
        rows[name] |= interval("huber", (batch.weights * huber).sum(axis=2).mean(axis=1))
        mean = (batch.dealt[:, 0].astype(np.float64) * (guess - batch.targets)[:, 0]).sum(axis=1)
        rows[name] |= interval("first player's value, pots", np.abs(mean))
    record(f"network {seed}, rivers", rows)


@app.command()
def turns(
    seed: Seed = 1_000,
    count: Annotated[int, typer.Option(help="Turns.")] = 30,
    hands: Annotated[int, typer.Option(help="About so many in a range.")] = 30,
) -> None:
    """Turns that end with the betting round beside the same turns through all rivers."""
    more = {"env_config": {"hands": hands}, "cfr_iterations": ITERATIONS}
    config = configured("turn_hunl", seed, **more)
    solving, nobody_bets = config.solving(), AbstractionLearner(config).values.weights()
    worlds = {"network": config.world(judge(seed)), "check down": config.world(nobody_bets)}
    rows = []
    for number in range(count):
        rng = np.random.default_rng((2_000, HELD_OUT, TURN, number))
        decision = first_choice(worlds["network"], solving, rng)
        state, raises = decision.state, bet_tree(decision, None, solving)
        start = time.process_time()
        full = Subgame(Spot(decision.board, state.rules, decision.ranges), raises, root=state)
        solver = Solver(full.game, solving.variant)
        solver.iterate(solving.iterations)
        exact = solver.values()
        row = {"rivers, nodes": len(full.game.tree.kind), "rivers, s": time.process_time() - start}
        row["rivers, % exploitable"] = 100 * exact.exploitability / state.pot
        mass = deals(decision.ranges).sum(axis=1) * state.pot
        for name, world in worlds.items():
            start = time.process_time()
            solved = solve(world, decision, None, solving)
            row |= {f"{name}, nodes": solved.nodes, f"{name}, s": time.process_time() - start}
            off = solved.value - exact.players[state.player]
            row[f"{name}, % of the pot"] = 100 * abs(off) / state.pot
            row[f"{name}, mbb"] = 1_000 * abs(off) / state.rules.big_blind
            each = np.abs(full.spread(exact.hands) - solved.hands) * decision.ranges
            row[f"{name}, % of the pot a hand"] = 100 * float((each.sum(axis=1) / mass).mean())
        rows.append(row)
    means: dict[str, Any] = {"turns": count}
    for name in rows[0]:
        means |= interval(name, np.array([row[name] for row in rows], np.float64))
    record(f"network {seed}, turns", means)


@app.command()
def speed(iterations: Annotated[int, typer.Option(help="Of CFR, of each solve.")] = 20) -> None:
    """Time and memory of one solve from the start of each street, the default raises in it."""
    torch.set_num_threads(1)
    config = configured("turn_hunl", cfr_iterations=iterations)
    networks = make_networks((FLOP, TURN, RIVER), config.value_hidden)
    world, rng = make_world("hunl", networks), np.random.default_rng(0)
    decision = world.root(rng)
    while True:
        row: dict[str, Any] = {"iterations": iterations}
        for name in ("first time", "again"):  # the tables of a board are remembered
            start = time.process_time()
            solved = solve(world, decision, None, config.solving())
            row[f"{name}, s"] = time.process_time() - start
        row |= {"nodes": solved.nodes}
        row["peak, MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        record(f"full game, {STREETS[decision.state.street]}", row)
        if decision.state.street == RIVER:
            return
        raise_to = MENU.raises(decision.state)[0]
        after = decision.state.apply(raise_to).apply(CALL)
        decision = world.deal(Decision(decision.board, after, decision.ranges), rng)


def record(name: str, row: dict[str, Any]) -> None:
    """Add a row to the results, and show it."""
    file = RESULTS / "values.json"
    rows = json.loads(file.read_text()) if file.exists() else {}
    rows[name] = row
    file.write_text(json.dumps(rows, indent=1) + "\n")
    typer.echo(f"{name}: {json.dumps(row)}")


if __name__ == "__main__":
    app()
