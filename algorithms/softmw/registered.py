"""The names of all schedulers, built in or brought by other packages, importable at no cost.

A package brings a scheduler by an entry point in the group `tenfold.schedulers`, which leads to a
subclass of `CompiledScheduler` of the same name::

    [project.entry-points."tenfold.schedulers"]
    my_rule = "my_package.rules:MyRule"

It is then a variant of the method and a value of its key `scheduler`, as the built-in ones are.
"""

from importlib.metadata import EntryPoint, entry_points

ENTRY_POINT_GROUP = "tenfold.schedulers"

BUILT_IN = (
    "softmw",
    "ssmw",
    "ssmw_doubling",
    "softmw_plus",
    "ssmw_plus",
    "softmw_unclipped",
    "ssmw_unclipped",
    "softmw_fast",
    "oracle",
    "c_mu",
    "maxweight_empirical",
    "discounted_ucb",
    "window_ucb",
    "thompson",
    "epsilon_greedy",
    "exp3s",
    "uniform",
    "round_robin",
    "longest_queue",
)


def brought() -> dict[str, list[EntryPoint]]:
    """What installed packages bring, by name, not yet imported."""
    found: dict[str, list[EntryPoint]] = {}
    for entry in sorted(set(entry_points(group=ENTRY_POINT_GROUP)), key=lambda e: e.name):
        found.setdefault(entry.name, []).append(entry)
    return found


def scheduler_names() -> tuple[str, ...]:
    """Every scheduler, the built-in ones first."""
    return tuple(dict.fromkeys([*BUILT_IN, *brought()]))
