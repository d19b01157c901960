"""`tenfold solve` and `tenfold play`.

What they need is imported when they run, so that the command line stays quick.
"""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.color import Color
from rich.console import Console
from rich.measure import Measurement
from rich.progress import Progress
from rich.style import Style
from rich.table import Table
from rich.text import Text

from tenfold.platform.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tenfold.algorithms.rl_cfr.play.growth import Abstraction
    from tenfold.algorithms.rl_cfr.solver.locks import Lock
    from tenfold.algorithms.rl_cfr.solver.saved import Question
    from tenfold.algorithms.rl_cfr.solver.solve import Solution
    from tenfold.algorithms.rl_cfr.solver.tree_size import TreeSize
    from tenfold.envs.poker.sizes import Menus
    from tenfold.envs.poker.spot import Spot


# What the tree of `solve` has where it is not said.
_DEFAULTS: dict[str, Any] = {
    "sizes": ("0.5,1,allin",),
    "max_raises": 3,
    "big_blind": None,
    "variant": "dcfr",
    "rake": None,
    "rake_cap": None,
    "locks": (),
    "compressed": False,
}


def solve(
    board: Annotated[
        str | None,
        typer.Option(help="5 cards, such as AsKd7h2c3d, 4, or 3 with narrow ranges and few sizes."),
    ] = None,
    pot: Annotated[str | None, typer.Option(help="Chips in the middle: 1000 or 5.5.")] = None,
    stacks: Annotated[str | None, typer.Option(help="Chips behind: 9500, or 97.5,80.")] = None,
    ranges: Annotated[
        list[str] | None, typer.Option(help="Twice; who acts first comes first.")
    ] = None,
    iterations: Annotated[int, typer.Option(help="Iterations of CFR, at most.")] = 500,
    sizes: Annotated[
        list[str] | None,
        typer.Option(
            help="Raises: fractions of the pot (0.5, 50%), multiples of a bet (2.5x), geometric "
            "ones (e, 2e), allin, and limits: spr=1.5, commit=0.67, merge=0.1. Again with a street "
            "or player before a colon: river:1,allin, second:0.33, turn/first:0.5.",
            show_default=",".join(_DEFAULTS["sizes"]),
        ),
    ] = None,
    max_raises: Annotated[
        int | None,
        typer.Option(
            min=1, help="Raises a street, at most.", show_default=str(_DEFAULTS["max_raises"])
        ),
    ] = None,
    big_blind: Annotated[
        str | None,
        typer.Option(
            help="Smallest bet in chips.",
            show_default="a tenth of the pot, or less if the sizes are",
        ),
    ] = None,
    variant: Annotated[
        str | None,
        typer.Option(
            help="cfr, cfr+, linear, dcfr, dcfr-anew or pcfr+.",
            show_default=_DEFAULTS["variant"],
        ),
    ] = None,
    rake: Annotated[
        str | None,
        typer.Option(help="Share of each pot that the house takes, 5% or 0.05.", show_default="0"),
    ] = None,
    rake_cap: Annotated[
        str | None, typer.Option(help="Chips that it takes at most.", show_default="no cap")
    ] = None,
    locks: Annotated[
        Path | None,
        typer.Option(help="A YAML or JSON file of decisions whose strategies are fixed."),
    ] = None,
    compressed: Annotated[
        bool, typer.Option("--compressed", help="Keep numbers in 16 bits: half of the memory.")
    ] = False,
    target: Annotated[float, typer.Option(help="Stop at this % of the pot.")] = 0.0,
    max_memory: Annotated[float, typer.Option(help="Solve no tree that needs more GB.")] = 4.0,
    max_time: Annotated[
        float | None,
        typer.Option(help="Stop iterating after so many seconds.", show_default="no limit"),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, help="That share out the next card of a flop or turn.", show_default="all cores"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    nodes: Annotated[
        bool, typer.Option("--nodes", help="With every decision of the street, in the JSON.")
    ] = False,
    grid: Annotated[
        bool, typer.Option("--grid", help="Print a 13 x 13 grid of the first decision.")
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option(help="Write a page that browses every decision of the street."),
    ] = None,
    save: Annotated[Path | None, typer.Option(help="Write the solved tree to a file.")] = None,
    load: Annotated[
        Path | None,
        typer.Option(help="A solved tree, instead of a spot: shown, or solved on."),
    ] = None,
) -> None:
    """Solve a poker spot: strategy, EV, equity and exploitability at its first decision.

    It takes --board, --pot, --stacks and --ranges, or --load.

    Example: tenfold solve --board AsKd7h2c3d --pot 1000 --stacks 9500 --ranges 22+,A2s+,KTo+
    --ranges random --iterations 200
    """
    from tenfold.algorithms.rl_cfr.solver.browse import decisions, page
    from tenfold.algorithms.rl_cfr.solver.locks import parse_locks, read_lock_file
    from tenfold.algorithms.rl_cfr.solver.saved import save_solved
    from tenfold.algorithms.rl_cfr.solver.solve import solve as solve_subgame
    from tenfold.algorithms.rl_cfr.solver.subgame import Subgame, legal_moves
    from tenfold.algorithms.rl_cfr.solver.tree_size import kept_bytes
    from tenfold.algorithms.rl_cfr.solver.variants import check_variant
    from tenfold.envs.poker.sizes import parse_menus
    from tenfold.envs.poker.spot import read_spot

    console = Console(stderr=True, highlight=False)
    spoken: dict[str, Any] = {
        "board": board,
        "pot": pot,
        "stacks": stacks,
        "ranges": ranges,
        "sizes": sizes,
        "max_raises": max_raises,
        "big_blind": big_blind,
        "variant": variant,
        "rake": rake,
        "rake_cap": rake_cap,
        "compressed": compressed or None,
    }
    cores = threads or len(os.sched_getaffinity(0))
    try:
        if locks is not None:
            spoken["locks"] = read_lock_file(locks)
        asked, start = _question(spoken, load)
        menu = parse_menus(asked.sizes)
        words = asked.board, asked.pot, asked.stacks, asked.ranges, asked.big_blind
        spot = read_spot(*words, menu.fractions, True, asked.rake, asked.rake_cap)
        check_variant(asked.variant, asked.compressed)
        if nodes and not as_json:
            raise ValueError("'--nodes' adds to the JSON: give --json too.")
        for name, file in (("html", html), ("save", save)):
            if file is not None and not file.absolute().parent.is_dir():
                raise ValueError(
                    f"Bad value '{file}' for '--{name}': there is no folder '{file.parent}'."
                )
        if iterations < 1 or not target >= 0:
            raise ValueError(
                f"{iterations} iterations to a target of {target} % solve nothing: give at least 1 "
                "iteration, and 0 % or more."
            )
        if max_time is not None and not max_time > 0:
            raise ValueError(f"Bad value {max_time:g} for 'max-time': give seconds, above 0.")
        held = parse_locks(
            asked.locks, spot, lambda state: legal_moves(state, menu.raises, asked.max_raises)
        )
        kept = kept_bytes(asked.variant, asked.compressed)
        tree = _Tree(spot, menu, asked.max_raises, held, kept)
        notes = _prospect(tree, max_memory, iterations, cores)
    except ValueError as error:
        raise InputError(str(error)) from None
    for note in notes:
        console.print(note, soft_wrap=True)
    with Progress(console=console) as bar:
        task = bar.add_task("building the tree", total=iterations)
        subgame = Subgame(spot, menu.raises, asked.max_raises, own_hands=True, locks=held)
        bar.update(task, description="first iteration")

        def show(done: int, chips: float, seconds: float) -> None:
            share = 100 * chips * spot.unit / spot.rules.pot
            bar.update(task, completed=done, description=f"exploitability {share:.3f} % of the pot")

        limit = float("inf") if max_time is None else max_time
        args = subgame, asked.variant, iterations, target, show, cores, start, limit
        try:
            solution = solve_subgame(*args, asked.compressed)
        except ValueError as error:  # what was loaded does not fit
            raise InputError(f"Cannot go on from '{load}': {error}") from None
    if save is not None:
        save_solved(save, asked, solution.solver.get_state())
        console.print(f"Wrote {save}", soft_wrap=True)
    answer = {**solution.to_json(), "notes": notes}
    every = decisions(solution) if nodes or html else []
    if nodes:
        answer["nodes"] = [decision.to_json() for decision in every]
    if html is not None:
        html.write_text(page(solution, every))
        console.print(f"Wrote {html}: {len(every):,} decisions", soft_wrap=True)
    if grid and not as_json:
        _print_grid(solution, Console())
    if as_json:
        print(json.dumps(answer))
    else:
        _print(answer, spot.decimals, Console())


def _question(
    spoken: dict[str, Any], load: Path | None
) -> tuple["Question", "Mapping[str, NDArray[Any]] | None"]:
    """What is to be solved, and where to go on from.

    Args:
        spoken: The options that a spot and its tree have; None where one was not given.
        load: A solved tree.

    Raises:
        ValueError: An option lacks, or stands beside a solved tree that has it.
    """
    from tenfold.algorithms.rl_cfr.solver.saved import Question, load_solved

    given = {name: words for name, words in spoken.items() if words is not None}
    if load is not None:
        if given:
            name = next(iter(given)).replace("_", "-")
            raise ValueError(f"'--{name}' is in '{load}' already: leave it out, or '--load'.")
        return load_solved(load)
    for name in ("board", "pot", "stacks", "ranges"):
        if name not in given:
            raise ValueError(
                f"Option '--{name}' is missing: give it, or a solved tree by '--load'."
            )
    words = {**_DEFAULTS, **given}
    lists = {name: tuple(words[name]) for name in ("ranges", "sizes", "locks")}
    return Question(**{**words, **lists}), None


def play(
    board: Annotated[str, typer.Option(help="4 or 5 cards; without them a random river.")] = "",
    pot: Annotated[str, typer.Option(help="Whole chips in the middle.")] = "1000",
    stacks: Annotated[str, typer.Option(help="Whole chips behind: 9500, or 9500,8000.")] = "9500",
    ranges: Annotated[
        list[str] | None, typer.Option(help="Twice; who acts first comes first.")
    ] = None,
    hands: Annotated[int, typer.Option(min=1, help="Hands to play; seats alternate.")] = 1,
    iterations: Annotated[int, typer.Option(min=1, help="Iterations of CFR.")] = 300,
    sizes: Annotated[str, typer.Option(help="The solver's raises.")] = "0.5,1,2,allin",
    max_raises: Annotated[int, typer.Option(min=1, help="The solver's raises a street.")] = 2,
    big_blind: Annotated[
        str | None,
        typer.Option(
            help="Smallest bet in chips.",
            show_default="a tenth of the pot, or less if the sizes are",
        ),
    ] = None,
    variant: Annotated[
        str, typer.Option(help="cfr, cfr+, linear, dcfr, dcfr-anew or pcfr+.")
    ] = "dcfr",
    checkpoint: Annotated[
        str,
        typer.Option(
            help="A run of rl_cfr, by its id or the beginning of it, or a checkpoint's folder: its "
            "abstraction chooses the solver's raises."
        ),
    ] = "",
    seed: Annotated[int | None, typer.Option(min=0, help="Deals the same hands again.")] = None,
) -> None:
    """Play turn or river spots against the solver: f, c, b 500, r 900 or a.

    After each hand: what the solver does where you acted, and the EV that you lost. A turn holds
    every river: give it ranges of some hundred hands and few sizes.

    Example: tenfold play --board AsKd7h2c3d --pot 1000 --stacks 9500 --hands 4
    """
    import numpy as np

    from tenfold.algorithms.rl_cfr.mdp import Solving
    from tenfold.algorithms.rl_cfr.play.person import session
    from tenfold.algorithms.rl_cfr.solver.variants import check_variant
    from tenfold.envs.poker.cards import format_cards
    from tenfold.envs.poker.sizes import parse_menu
    from tenfold.envs.poker.spot import read_spot

    rng = np.random.default_rng(seed)
    try:
        cards = board or format_cards(rng.permutation(52)[:5].tolist())
        menu, held = parse_menu(sizes), ranges or ["random", "random"]
        spot = read_spot(cards, pot, stacks, held, big_blind, menu.fractions)
        check_variant(variant)
        if len(spot.board) < 4:
            raise ValueError(f"Board '{board}' is a flop: give 4 or 5 cards, a turn or a river.")
        solving = Solving(menu, max_raises, variant, iterations)
        abstraction = _learned(checkpoint, spot) if checkpoint else None
    except ValueError as error:
        raise InputError(str(error)) from None
    session(spot, solving, abstraction, hands, rng, Console(highlight=False))


class _Tree(NamedTuple):
    """What is about to be built, see `tree_size`."""

    spot: "Spot"
    menu: "Menus"
    max_raises: int
    locks: "Sequence[Lock]"
    kept: int

    def size(self, most: float) -> "TreeSize":
        """Its size, counted up to so many bytes."""
        from tenfold.algorithms.rl_cfr.solver.tree_size import tree_size

        args = self.spot, self.menu.raises, self.max_raises, self.menu, most, self.kept
        return tree_size(*args, own_hands=True, locks=self.locks)


def _prospect(tree: _Tree, max_memory: float, iterations: int, threads: int) -> list[str]:
    """What is about to be solved, in sentences: the size of its tree, and bets that were moved.

    Raises:
        ValueError: The tree needs more than the limit, which is in GB; or that is none.
    """
    from tenfold.algorithms.rl_cfr.solver.tree_size import BASE_BYTES
    from tenfold.envs.poker.rules import start
    from tenfold.envs.poker.spot import BOARD_CARDS
    from tenfold.envs.poker.words import format_chips

    if not BASE_BYTES / 1e9 <= max_memory < float("inf"):
        raise ValueError(
            f"Bad value {max_memory:g} for 'max-memory': give GB, at least {BASE_BYTES / 1e9:g}."
        )
    size, spot = tree.size(1e9 * max_memory), tree.spot
    memory = f"{size.memory(tree.kept) / 1e9:.1f} GB"
    if not size.complete:
        raise ValueError(
            f"The tree has more than {size.nodes:,} nodes with {size.hands:,} hands and needs more "
            f"than {memory}{_what_fits(tree, max_memory)}give fewer sizes or hands, a "
            f"later street, or a larger --max-memory than {max_memory:g}."
        )
    blind = format_chips(spot.rules.big_blind, spot.unit)
    seconds = size.seconds(threads if len(spot.board) < BOARD_CARDS[-1] else 1)
    notes = [
        f"The tree has {size.nodes:,} nodes with {size.hands:,} hands and needs about {memory}; "
        f"the smallest bet is {blind} chips. An iteration takes {_duration(seconds)}, "
        f"{iterations:,} of them {_duration(seconds * iterations)}.",
        *tree.menu.notes(start(spot.rules), spot.unit),
    ]
    if size.changed:
        notes.append(
            f"Below the first decision, sizes are moved or merge at {size.changed:,} of "
            f"{size.lines - 1:,} decisions, counted once whatever the cards."
        )
    return notes


def _what_fits(tree: _Tree, max_memory: float) -> str:
    """The middle of a sentence: which change would fit, 16 bits or fewer raises a street."""
    from tenfold.algorithms.rl_cfr.solver.tree_size import KEPT_BYTES, kept_bytes

    changes: dict[str, _Tree] = {}
    if tree.kept == KEPT_BYTES:
        changes["--compressed"] = tree._replace(kept=kept_bytes("dcfr", compressed=True))
    if not tree.locks:  # their lines may need the raises
        for most in range(tree.max_raises - 1, 0, -1):
            changes[f"--max-raises {most}"] = tree._replace(max_raises=most)
    for option, changed in changes.items():
        size = changed.size(1e9 * max_memory)
        if size.complete:
            memory = size.memory(changed.kept) / 1e9
            return f", and with {option} {memory:.1f} GB: take that, or "
    return f", also with {list(changes)[-1]}: " if changes else ": "


def _duration(seconds: float) -> str:
    """Two digits: about 0.012 s, 3.4 s, 5 min."""
    if seconds < 0.01:
        return "less than 0.01 s"
    if seconds < 100:
        return f"about {float(f'{seconds:.2g}'):g} s"
    return f"about {seconds / 60:.0f} min"


def _learned(checkpoint: str, spot: "Spot") -> "Abstraction":
    """The abstraction of a checkpoint; it must know the spot's street."""
    from tenfold.algorithms.rl_cfr.abstraction import load_abstraction
    from tenfold.algorithms.rl_cfr.worlds.holdem import HoldemWorld
    from tenfold.envs.poker.spot import street_name
    from tenfold.platform.store import tracking_uri
    from tenfold.platform.trial_files import find_checkpoint

    learned = load_abstraction(find_checkpoint(checkpoint, "rl_cfr", tracking_uri()))
    if not isinstance(learned.world, HoldemWorld) or learned.world.deck != spot.deck:
        raise ValueError(
            f"'{checkpoint}' was trained on another game: give one of river_hunl, turn_hunl or "
            "hunl."
        )
    if spot.rules.street < learned.world.starts.street:
        raise ValueError(f"'{checkpoint}' has not learned the {street_name(spot)}: give 5 cards.")
    return learned


def _print_grid(solution: "Solution", console: Console) -> None:
    """A cell a class of hands, in the colours of its actions, and what the colours mean."""
    from tenfold.algorithms.rl_cfr.solver.browse import colour, lines_of_grid

    for cells in lines_of_grid(solution):
        line = Text()
        for name, tint in cells:
            line.append(name, Style(color="black", bgcolor=Color.from_rgb(*tint)))
        console.print(line)
    for action, share in zip(solution.actions, solution.frequencies(), strict=True):
        own = Style(color="black", bgcolor=Color.from_rgb(*colour(action, solution.actions)))
        console.print(Text(f" {action} ", own), f"{100 * share:.1f} %")


def _print(answer: dict[str, Any], decimals: int, console: Console) -> None:
    table = _table(answer, decimals, with_evs=True)
    if (
        Measurement.get(console, console.options.update(width=10_000), table).maximum
        > console.width
    ):
        table = _table(answer, decimals, with_evs=False)
    console.print(table)
    first, second = answer["ev"]
    lost, taken = answer["exploitability"], answer["rake"]["chips"]
    house = f", {taken:.{decimals + 2}f} for the house" if taken else ""
    console.print(
        f"Player {answer['player']} acts. EV {first:.{decimals + 2}f} and "
        f"{second:.{decimals + 2}f} chips{house}; exploitability {lost['chips']:.{decimals + 3}f} "
        f"chips, {lost['percent_of_pot']:.3f} % of the pot, after {answer['iterations']} "
        f"iterations in {answer['seconds']:.2f} s."
    )


def _table(answer: dict[str, Any], decimals: int, with_evs: bool) -> Table:
    """Each hand's strategy, beside it the EV of each action if asked for; and means by action."""

    def chips(number: float | None) -> str:
        return _or_dash(number, decimals + 1)

    actions = answer["actions"]
    table = Table("hand", "weight", *_beside(actions, ["EV"] * len(actions), with_evs))
    table.add_column("EV")
    table.add_column("equity")
    for name, hand in sorted(answer["hands"].items(), key=lambda item: -item[1]["equity"]):
        shares = [f"{share:.3f}" for share in hand["strategy"]]
        evs = [chips(ev) for ev in hand["action_ev"]]
        own = name, f"{hand['weight']:.3g}", *_beside(shares, evs, with_evs)
        table.add_row(*own, chips(hand["ev"]), f"{hand['equity']:.3f}")
    table.add_section()
    blank = [""] * len(actions)
    shares = [f"{share:.3f}" for share in answer["frequencies"]]
    mean_ev = chips(answer["ev"][answer["player"]])
    table.add_row("all", "", *_beside(shares, blank, with_evs), mean_ev, "")
    for row, means in (
        ("EV", [chips(mean["ev"]) for mean in answer["by_action"]]),
        ("equity", [_or_dash(mean["equity"], 3) for mean in answer["by_action"]]),
    ):
        table.add_row(row, "", *_beside(means, blank, with_evs), "", "")
    return table


def _beside(cells: "Sequence[str]", evs: "Sequence[str]", with_evs: bool) -> list[str]:
    """The cells of actions, each with its EV behind it if asked for."""
    if not with_evs:
        return list(cells)
    return [each for pair in zip(cells, evs, strict=True) for each in pair]


def _or_dash(number: float | None, decimals: int) -> str:
    """A mean, or a dash where nobody acts so."""
    return "-" if number is None else f"{number:.{decimals}f}"
