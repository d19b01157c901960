"""Whatever an experiment's file or a flag holds: it is taken, or refused in one sentence.

4,500 cases in 10 processor seconds. Every value of every config key is tried by
`test_typed_values.py`, other files by `test_fuzz.py` of envs and algorithms.
"""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fuzzing import SCALARS, VALUES, bounded_memory, cases, ends_well
from hypothesis import given
from hypothesis import strategies as st

from tenfold.platform import cli
from tenfold.platform.errors import InputError
from tenfold.platform.experiment import (
    MOST_SEEDS,
    Experiment,
    load_experiment,
    make_experiment,
    read_record,
)
from tenfold.platform.spaces import RANGES, parse_domain
from tenfold.platform.store import tracking_uri
from tenfold.platform.yaml_text import DEEPEST, LARGEST_FILE, MOST_NODES, parse_value, yaml_of

FIELDS = (*Experiment.model_fields, "task", "variant")
TEXT = "tag:yaml.org,2002"
PIECES = (
    *("method: softmw\n", "seeds: ", "config: ", "space: ", "stop: ", "task: ", "name: "),
    *("\n", " ", "  ", "- ", "? ", ": ", ", ", "#", "---\n", "...\n", "%YAML 9.9\n", "%TAG ! x\n"),
    *("{", "}", "[", "]", "|\n ", ">-\n ", '"', "'", "&a ", "*a", "*b", "<<: ", "<<", "=", "~"),
    *("!!int ", "!!float ", "!!bool ", "!!null ", "!!str ", "!!seq ", "!!map ", "!!set ", "! "),
    *("!!omap ", "!!pairs ", "!!binary ", "!!timestamp ", "!!python/name:os.system ", "!x "),
    *("!!python/object/apply:os.system ['true'] ", f"!<{TEXT}:int> ", "2001-13-45", "1:2:3"),
    *("x", "1", "0x", "0b2", "1e400", "1e300", ".nan", "-.inf", "_", "9" * 400, "é", "\ufeff"),
    *("\x00", "\x07", "\x85", "\t", "\\ud800", "\ud800", "uniform(0, 1)", "b: uniform("),
)


@pytest.fixture(autouse=True, scope="module")
def quick_and_bounded() -> Iterator[None]:
    """Memory is bounded."""
    with bounded_memory():
        yield


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "experiment.yaml"


def written(file: Path, text: str) -> Path:
    file.write_bytes(text.encode(errors="surrogatepass"))
    return file


@cases(1_500)
@given(pieces=st.lists(st.sampled_from(PIECES), min_size=1, max_size=12))
def test_any_text_as_a_file(file: Path, pieces: list[str]) -> None:
    text = "".join(pieces)
    ends_well(lambda: load_experiment(written(file, text)))
    ends_well(lambda: parse_value(text))


@cases(1_500)
@given(field=st.sampled_from(FIELDS), value=VALUES, other=SCALARS)
def test_any_value_of_any_field(file: Path, field: str, value: Any, other: Any) -> None:
    fields = {"method": "softmw", "config": {}, field: value}
    if ends_well(lambda: make_experiment(fields)):
        made = make_experiment(fields)
        again = read_record(written(file, yaml_of(made.model_dump(mode="json"))))
        assert repr(again) == repr(made)  # NaN is not equal to itself
    ends_well(lambda: make_experiment({**fields, str(other): value}))


@cases(1_000)
@given(
    flag=st.sampled_from(["--set", "--sweep", "--stop"]),
    texts=st.lists(
        st.tuples(st.sampled_from(["", "c", "a.b", "pulls", "1", "="]), st.sampled_from(PIECES)),
        max_size=3,
    ),
    seeds=st.sampled_from(["", "3", "1,2", ",", "9" * 5_000, "-1", "x", "1e3", "0", "１"]),
)
def test_any_flag(flag: str, texts: list[tuple[str, str]], seeds: str) -> None:
    names = {"--set": "settings", "--sweep": "swept", "--stop": "stop"}
    given = dict.fromkeys(inspect.signature(cli.run).parameters)
    given[names[flag]] = [f"{key}={value}" for key, value in texts]
    ends_well(lambda: make_experiment({"method": "ucb1", **cli._flags({**given, "seeds": seeds})}))


NUMBERS = ("0", "1", "-1", "0.5", "1e-3", "1e400", "1e308", "-1e308", "9" * 400, "", "x", "1_0")


@cases(500)
@given(
    kind=st.sampled_from([*RANGES, "choice", "normal", ""]),
    numbers=st.lists(st.sampled_from(NUMBERS), max_size=4),
    close=st.sampled_from([")", "", "))", ") "]),
)
def test_any_range(kind: str, numbers: list[str], close: str) -> None:
    text = f"{kind}({','.join(numbers)}{close}"

    def draw() -> None:
        from ray import tune

        domain = parse_domain("c", text)
        domain.of(tune).sample(2)
        assert parse_domain("c", domain.record()) == domain

    ends_well(draw)


LAUGHS = "\n".join(
    [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}' if k else 'ha'] * 9)}]" for k in range(9)]
)
BOMBS = {
    "seeds": "method: softmw\nseeds: 1000000000",
    "laughs": f"{LAUGHS}\nmethod: softmw\nconfig: {{constants: *a8}}",
    "merges": "\n".join(
        ["m0: &m0 {x: 1}"]
        + [f"m{k}: &m{k} {{<<: [{', '.join([f'*m{k - 1}'] * 9)}]}}" for k in range(1, 9)]
    ),
    "deep": f"method: softmw\nconfig: {'[' * 50_000}",
    "digits": f"method: softmw\nseeds: {'9' * 5_000}",
    "hexadecimal": f"method: softmw\nseeds: 0x{'f' * 5_000}",
    "deep_block": "\n".join(" " * k + "a:" for k in range(1_000)),
    "itself": "method: softmw\nconfig: &a {constants: *a}",
    "wide": f"method: softmw\nconfig: [{'1,' * 200_000}]",
    "long": f"method: {'a' * (LARGEST_FILE + 1)}",
    "keys": f"method: softmw\nconfig: {{{','.join(f'a{k}: 1' for k in range(20_000))}}}",
    "trials": "method: softmw\nspace: default\nsamples: 100000\nseeds: 10000",
    "choices": f"method: softmw\nspace: {{V: [{','.join(map(str, range(2_000)))}]}}",
    "grid": f"method: softmw\nspace: {{{','.join(f'k{k}: [1,2,3,4,5,6,7,8]' for k in range(99))}}}",
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_would_take_all_memory_or_time_is_refused(file: Path, name: str) -> None:
    assert not ends_well(lambda: load_experiment(written(file, BOMBS[name])))


def test_what_comes_up_to_the_limits_is_taken(file: Path) -> None:
    nested = "[" * (DEEPEST - 1) + "1" + "]" * (DEEPEST - 1)
    assert isinstance(parse_value(nested), list)
    many = parse_value(f"[{'1,' * (MOST_NODES - 1)}]")
    assert len(many) == MOST_NODES - 1
    made = load_experiment(written(file, f"method: softmw\nseeds: {MOST_SEEDS}"))
    assert len(made.seeds) == MOST_SEEDS


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("2026-01-31", "2026-01-31"), ("on", "on"), ("no", "no"), ("true", True), ("1e-3", 1e-3)),
        *(("1e3", 1_000), ("'1e3'", "1e3"), ("~", None), ("0x10", 16), ("x: 1", {"x": 1})),
    ],
)
def test_plain_values_are_read_as_yaml_1_2_has_them(text: str, value: Any) -> None:
    assert parse_value(text) == value
    assert parse_value(yaml_of({"key": value})) == {"key": value}


def test_entries_that_are_merged_in_give_way_to_the_mapping_s_own(file: Path) -> None:
    text = "method: softmw\nconfig: {<<: &a {horizon: 5, replicas: 2}, horizon: 7}\nstop: {}"
    assert load_experiment(written(file, text)).config == {"horizon": 7, "replicas": 2}


@pytest.mark.parametrize("uri", ["http://[::1", "http://[", "sqlite:///\x00", "//[x", "\ud800"])
def test_an_address_that_is_none_is_refused(uri: str) -> None:
    with pytest.raises(InputError):
        tracking_uri(uri)
