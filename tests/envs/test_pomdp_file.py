"""POMDPs in Cassandra's format: what the text says, and that a task has the same returns."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.algorithms.risk_pomdp.beta import solve
from tenfold.algorithms.risk_pomdp.config import RiskPOMDPConfig
from tenfold.envs.risk import scale
from tenfold.envs.risk.pomdp_benchmarks import tiger
from tenfold.envs.risk.pomdp_file import POMDPFile, read_pomdp
from tenfold.envs.risk.pomdp_tasks import finite_horizon, pomdp_of_file
from tenfold.envs.risk.scale import Scale

TIGER = """
# The tiger of Cassandra, Kaelbling and Littman (1994), as pomdp.org has it.
discount: 0.95
values: reward
states: tiger-left tiger-right
actions: listen open-left open-right
observations: tiger-left tiger-right

T:listen
identity
T:open-left
uniform
T:open-right
uniform

O:listen
0.85 0.15
0.15 0.85
O:open-left
uniform
O:open-right
uniform

R:listen : * : * : * -1
R:open-left : tiger-left : * : * -100
R:open-left : tiger-right : * : * 10
R:open-right : tiger-left : * : * 10
R:open-right : tiger-right : * : * -100
"""

HEAD = "discount: 1\nvalues: reward\nstates: a b c\nactions: x y\nobservations: 2\n"


def parsed(tmp_path: Path, text: str) -> POMDPFile:
    path = tmp_path / "model.pomdp"
    path.write_text(text)
    return read_pomdp(path)


def best_risk(file: POMDPFile, H: int, gamma: float, discount: float = 1.0) -> float:
    """The optimal entropic risk of H steps in the file's own rewards, straight from its tables.

    Beliefs carry e^{gamma x rewards so far}; nothing of the task's construction is used.
    """

    def best(weights: np.ndarray, h: int) -> float:
        if h == H:
            return float(weights.sum())
        values = []
        for a in range(len(file.actions)):
            paid = np.exp(gamma * discount**h * file.R[a])  # (S, S, O)
            joint = file.T[a][..., None] * file.O[a][None] * paid
            after = np.einsum("s,sto->ot", weights, joint)
            values.append(sum(best(each, h + 1) for each in after))
        return min(values) if gamma < 0.0 else max(values)

    return float(np.log(best(file.start, 0)) / gamma)


def task_risk(file: POMDPFile, H: int, gamma: float, discount: float = 1.0) -> float:
    """The same by the task and the planner of histories, scaled back."""
    possible = (file.T[..., None] > 0) & (file.O[:, None] > 0)
    scaled = Scale.of(file.R[possible])
    pomdp = finite_horizon(file, H, scaled, discount)
    value = solve(pomdp, gamma * scaled.span).value
    return float(scaled.low * (discount ** np.arange(H)).sum() + scaled.span * value)


def test_the_tiger_of_the_literature(tmp_path: Path) -> None:
    """Optimal risk-neutral values of 1, 2 and 3 steps, by hand (discount 0.95, start uniform).

    Listen once or twice costs 1 and 1.95; after two equal sounds, of chance 0.745, the likely side
    has 0.7225 / 0.745 and opening the other door is worth more than listening again.
    """
    file = parsed(tmp_path, TIGER)
    opened = 10 * 0.7225 / 0.745 - 100 * 0.0225 / 0.745
    by_hand = [-1.0, -1.95, -1.95 + 0.95**2 * (0.745 * opened - 0.255)]
    for H, value in enumerate(by_hand, 1):
        assert task_risk(file, H, 1e-9, 0.95) == pytest.approx(value, abs=1e-4)
    pomdp = pomdp_of_file(str(tmp_path / "model.pomdp"), H=2)
    assert (pomdp.S, pomdp.A, pomdp.O) == (4, 3, 2)  # two states with two emissions each
    assert sorted(set(np.round(pomdp.rewards.ravel(), 12))) == [0.0, 0.9, 1.0]


def test_a_tiger_that_is_heard_whatever_was_done_is_the_built_in_one(tmp_path: Path) -> None:
    """But before the first action, when a file's agent has seen nothing."""
    heard = TIGER.replace("O:open-left\nuniform\nO:open-right\nuniform", "O: *\n.85 .15\n.15 .85")
    (tmp_path / "heard.pomdp").write_text(heard)
    found, own = pomdp_of_file(str(tmp_path / "heard.pomdp"), H=3), tiger(H=3)
    np.testing.assert_allclose(found.transitions, own.transitions)
    np.testing.assert_allclose(found.emissions[1:], own.emissions[1:])
    np.testing.assert_allclose(found.initial, own.initial)
    np.testing.assert_allclose(found.emissions[0], [[1.0, 0.0], [1.0, 0.0]])
    # Listening pays 0.9 there: -1 between -100 and 10.
    np.testing.assert_allclose(found.rewards, own.rewards, atol=1e-12)


def test_every_form_of_the_format_is_read(tmp_path: Path) -> None:
    text = (
        "values: costs\nobservations: wet dry\nactions: 2\nstates: a b c\ndiscount: 0.5 # half\n"
        "start include: a c\n"
        "T: 0\nidentity\nT: 1 : a reset\nT: 1 : b\n0.5 0.25 0.25\nT: 1 : c uniform\n"
        "T: 1 : b : a 0.25 T: 1 : b : 2 : 0.5\n"
        "O: *\nuniform\nO: 1\n1 0\n0 1\n0.5 0.5\nO: 1 : c : wet 0.4\nO: 1 : c : dry 0.6\n"
        "R: * : * : * : * 2\nR: 0 : a : b : dry -1\nR: 1 : b : c\n3 4\n"
        "R: 1 : c\n1 2\n3 4\n5 6\n"
    )
    file = parsed(tmp_path, text)
    assert (file.discount, file.states, file.actions) == (0.5, ["a", "b", "c"], ["0", "1"])
    np.testing.assert_array_equal(file.start, [0.5, 0.0, 0.5])
    np.testing.assert_array_equal(file.T[0], np.eye(3))
    third = [1 / 3, 1 / 3, 1 / 3]
    np.testing.assert_allclose(file.T[1], [[0.5, 0.0, 0.5], [0.25, 0.25, 0.5], third])
    np.testing.assert_array_equal(file.O[0], np.full((3, 2), 0.5))
    np.testing.assert_array_equal(file.O[1], [[1.0, 0.0], [0.0, 1.0], [0.4, 0.6]])
    paid = np.full((2, 3, 3, 2), 2.0)
    paid[0, 0, 1, 1] = -1.0
    paid[1, 1, 2] = 3.0, 4.0
    paid[1, 2] = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    np.testing.assert_array_equal(file.R, -paid)


@pytest.mark.parametrize(
    ("start", "probabilities"),
    [
        ("", [1 / 3, 1 / 3, 1 / 3]),
        ("start: uniform\n", [1 / 3, 1 / 3, 1 / 3]),
        ("start: 0.5 0.25 0.25\n", [0.5, 0.25, 0.25]),
        ("start: b\n", [0.0, 1.0, 0.0]),
        ("start: 2\n", [0.0, 0.0, 1.0]),
        ("start include: a 2\n", [0.5, 0.0, 0.5]),
        ("start exclude: b\n", [0.5, 0.0, 0.5]),
        ("start: 0.333333 0.333333 0.333333\n", [1 / 3, 1 / 3, 1 / 3]),
    ],
)
def test_every_form_of_a_start_is_read(
    tmp_path: Path, start: str, probabilities: list[float]
) -> None:
    file = parsed(tmp_path, f"{HEAD}{start}T: *\nidentity\nO: *\nuniform\n")
    np.testing.assert_allclose(file.start, probabilities)
    assert file.start.sum() == pytest.approx(1.0, abs=1e-12)


TABLES = f"{HEAD}T: *\nidentity\nO: *\nuniform\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'states:' is missing, it must come before start, T, O and R"),
        ("discount: 1\nT: *\nidentity\n", "line 1: 'states:' is missing"),
        (HEAD + "states: 3\n", "line 6: 'states:' is there twice"),
        (TABLES + "actions: 3\n", "line 10: 'actions:' must come before start"),
        (f"discount: 2\n{TABLES}", "line 1: the discount is 2, give 0 to 1"),
        (HEAD.replace("reward", "gain") + TABLES, "'reward' or 'cost', not 'gain'"),
        (HEAD.replace("a b c", "a b a") + TABLES, "line 3: 'states:' needs names, each once"),
        (HEAD.replace("a b c", "a 7b c") + TABLES, "'7b' is not a name for states"),
        (HEAD.replace("a b c", "90000") + TABLES, "states = 90,000 would need arrays"),
        (f"{HEAD}T: x\nidentity\nO: *\nuniform\n", "'T' of action 'y' and state 'a' sum to 0"),
        (f"{HEAD}T: *\nidentity\nO: x\nuniform\n", "'O' of action 'y' and state 'a' sum to 0"),
        (f"{TABLES}T: x : a\n0.5 0.6 0\n", "sum to 1.1"),
        (f"{TABLES}T: x : a\n1.5 -0.5 0\n", "the least is -0.5"),
        (f"{TABLES}start: 0.5 0.2 0.2\n", "'start' sum to 0.9"),
        (f"{TABLES}start exclude: a b c\n", "no state is left"),
        (f"{TABLES}start: *\n", "give one state to start in"),
        (f"{TABLES}T: x : d : a 1\n", "line 10: 'd' is not one of the states, a, b, c"),
        (f"{TABLES}T: x : a : 3 1\n", "'3' is not one of the states"),
        (f"{TABLES}O: x : a\n0.5\n", "the file ends where more is expected"),
        (f"{TABLES}O: x : a\n0.5 half\n", "expected a number, not 'half'"),
        (f"{TABLES}R: x : a : b : 0 nan\n", "expected a number, not 'nan'"),
        (f"{TABLES}R: x 3\n", "a reward needs an action and a state at least"),
        (f"{TABLES}Q: x : a : b 1\n", "expected one of discount, values"),
        (f"{TABLES}T x : a : b 1\n", "expected ':', not 'x'"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as refusal:
        parsed(tmp_path, text)
    assert "model.pomdp" in str(refusal.value) or "would need arrays" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "noise.pomdp").write_bytes(bytes(range(128, 256)))
    for name in ("noise.pomdp", "missing.pomdp", "."):
        with pytest.raises(ValueError, match="cannot be read as text"):
            read_pomdp(tmp_path / name)


def written(file: POMDPFile, draw: st.DataObject) -> str:
    """A file as text, each row and matrix in one of the forms that can hold it."""
    S, A, O = len(file.states), len(file.actions), len(file.observations)  # noqa: E741
    lines = [
        f"discount: {file.discount!r}",
        "values: reward",
        f"states: {draw.draw(st.sampled_from([str(S), ' '.join(file.states)]))}",
        f"actions: {' '.join(file.actions)}",
        f"observations: {O}",
        f"start: {' '.join(map(repr, file.start.tolist()))}",
    ]

    def row(values: np.ndarray) -> str:
        return " ".join(repr(value) for value in values.tolist())

    for letter, table in (("T", file.T), ("O", file.O)):
        for a in range(A):
            if draw.draw(st.booleans()):
                lines += [f"{letter}: {a}", *map(row, table[a])]
                continue
            for s in range(S):
                if draw.draw(st.booleans()):
                    lines.append(f"{letter}:{file.actions[a]} : {s} {row(table[a, s])}")
                else:
                    lines += [
                        f"{letter}: {a} : {s} : {i} {p!r}"
                        for i, p in enumerate(table[a, s].tolist())
                    ]
    for a, s in product(range(A), range(S)):
        if draw.draw(st.booleans()):
            lines += [f"R: {a} : {s}", *map(row, file.R[a, s])]
            continue
        for t in range(S):
            if draw.draw(st.booleans()):
                lines += [f"R : {a} : {s} : {t}", row(file.R[a, s, t])]
            else:
                lines += [
                    f"R: {a}:{s}:{t}:{o} {r!r} # paid"
                    for o, r in enumerate(file.R[a, s, t].tolist())
                ]
    return "\n".join(lines)


def random_file(rng: np.random.Generator, S: int, A: int, O: int) -> POMDPFile:  # noqa: E741
    return POMDPFile(
        0.9,
        [f"s{i}" for i in range(S)],
        [f"a{i}" for i in range(A)],
        [str(i) for i in range(O)],
        rng.dirichlet(np.ones(S)),
        rng.dirichlet(np.ones(S), size=(A, S)),
        rng.dirichlet(np.ones(O), size=(A, S)),
        rng.normal(0.0, 10.0, size=(A, S, S, O)),
    )


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(0, 2**32 - 1))
def test_what_is_written_is_read_again(tmp_path_factory, data: st.DataObject, seed: int) -> None:
    rng = np.random.default_rng(seed)
    file = random_file(rng, *rng.integers(1, 4, size=3))
    path = tmp_path_factory.mktemp("round") / "trip.pomdp"
    path.write_text(written(file, data))
    again = read_pomdp(path)
    for name in ("start", "T", "O", "R"):
        np.testing.assert_allclose(getattr(again, name), getattr(file, name), rtol=1e-12)


def kind_of_rewards(file: POMDPFile, depends: str) -> POMDPFile:
    """The same file with rewards of whole numbers that depend on less."""
    R = np.rint(file.R)
    if depends == "state":
        R = np.broadcast_to(R[:, :, :1, :1], R.shape)
    if depends == "next":
        R = np.broadcast_to(R[..., :1], R.shape)
    return POMDPFile(**{**vars(file), "R": R})


@pytest.mark.parametrize("depends", ["state", "next", "observation"])
@pytest.mark.parametrize("gamma", [-0.3, 0.1])
@pytest.mark.parametrize("discount", [1.0, 0.8])
def test_a_task_has_the_files_return_distribution(
    depends: str, gamma: float, discount: float
) -> None:
    """Against value iteration on the file's own tables, whatever rewards depend on.

    Observations depend on the action throughout; some moves and sights are impossible.
    """
    for seed in range(3):
        file = kind_of_rewards(random_file(np.random.default_rng(seed), 2, 2, 2), depends)
        T, O = file.T.copy(), file.O.copy()  # noqa: E741
        T[0, 0], O[1, 1] = [0.0, 1.0], [1.0, 0.0]
        file = POMDPFile(**{**vars(file), "T": T, "O": O})
        for H in (1, 2):
            assert task_risk(file, H, gamma, discount) == pytest.approx(
                best_risk(file, H, gamma, discount), abs=1e-8
            )


def test_mean_rewards_would_be_another_task() -> None:
    """What the memory of rewards is for: with their means a gamble is as good as its mean."""
    gamble = POMDPFile(
        1.0,
        ["good", "bad"],
        ["only"],
        ["nothing"],
        np.array([1.0, 0.0]),
        np.full((1, 2, 2), 0.5),
        np.ones((1, 2, 1)),
        np.broadcast_to(np.array([1.0, -1.0])[None, None, :, None], (1, 2, 2, 1)),
    )
    assert task_risk(gamble, 1, -1.0) == pytest.approx(-np.log(np.cosh(1.0)))


def test_equal_rewards_are_no_division_by_zero(tmp_path: Path) -> None:
    (tmp_path / "flat.pomdp").write_text(f"{TABLES}R: * : * : * : * 5\n")
    pomdp = pomdp_of_file(str(tmp_path / "flat.pomdp"), H=2)
    assert (pomdp.rewards == 0.0).all()


def test_what_was_scaled_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "tiger.pomdp"
    path.write_text(TIGER)
    scale.say.cache_clear()
    config = RiskPOMDPConfig().environment(str(path), env_config={"H": 3})
    config.validate()
    RiskPOMDPConfig().environment(str(path)).validate()
    said = [record.getMessage() for record in caplog.records if "tiger.pomdp" in record.message]
    assert len(said) == 1
    assert "from -100 to 10" in said[0]
    assert "g / 110" in said[0]
    assert "results are in the file's unit" in said[0]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"H": 0}, "'env_config.H': give 1 or more"),
        ({"accuracy": 0.5}, "env_config 'accuracy'"),
        ({"discounted": 1}, "'env_config.discounted': give true or false"),
        ({"H": 20}, "H = 20, S = 4, A = 3, O = 2 make"),
    ],
)
def test_fields_of_a_file_are_checked(tmp_path: Path, fields: dict, said: str) -> None:
    path = tmp_path / "tiger.POMDP"
    path.write_text(TIGER)
    config = RiskPOMDPConfig().environment(str(path), env_config=fields)
    with pytest.raises(ValueError, match=said):
        config.validate()
