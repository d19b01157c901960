"""A mistake of the user's: one sentence, the nearest valid choice, exit code 2, before Ray."""

import sys
from pathlib import Path

import pytest
import ray

from tenfold.platform import cli

YAML = {
    "two_keys.yaml": "method: ucb1\nseeds: 1\nseeds: 2\n",
    "broken.yaml": "method: [ucb1\n",
    "list.yaml": "- method\n- ucb1\n",
    "no_method.yaml": "seeds: 3\n",
    "field.yaml": "method: ucb1\nsedes: 3\n",
    "resources.yaml": "method: ucb1\nresources: {cpu: 2}\n",
    "twice.yaml": "method: ucb1\nvariants: [greedy, greedy]\n",
    "seeds.yaml": "method: ucb1\nseeds: [1, -2]\n",
    "same_seeds.yaml": "method: ucb1\nseeds: [1, 1]\n",
    "type.yaml": "method: ucb1\nconfig: {pulls_per_iteration: many}\n",
    "config.yaml": "method: ucb1\nconfig: 3\n",
    "name.yaml": "method: ucb1\nname: a/b\n",
    "space.yaml": "method: ucb1\nspace: {c: loguniform(0, 1)}\n",
    "keep.yaml": "method: ucb1\ncheckpoint: {keep: 0}\n",
}

# arguments of `tenfold`, and what the sentence must say
MISTAKES = [
    (["rum", "ucb1"], ["command 'rum'", "did you mean 'run'"]),
    (["run", "ubc1"], ["method 'ubc1'", "did you mean 'ucb1'"]),
    (["run", "zzz"], ["method 'zzz'", "choose one of", "ppo"]),
    (["run", "ucb1", "--task", "two-arm"], ["task of ucb1 'two-arm'", "'two-arms'"]),
    (["run", "ucb1", "--variant", "gredy"], ["variant of ucb1 'gredy'", "'greedy'"]),
    (["run", "ucb1", "--variant", "greedy", "--variant", "greedy"], ["variant", "twice"]),
    (["run", "ucb1", "--set", "pulls_per_iter=3"], ["'pulls_per_iter'", "'pulls_per_iteration'"]),
    (["run", "ucb1", "--set", "c"], ["'c'", "key=value"]),
    (["run", "ucb1", "--set", "c=1", "--set", "c=2"], ["'c' twice"]),
    (["run", "ucb1", "--set", "c=-1"], ["-1", "'c'", "0 or more"]),
    (["run", "ucb1", "--set", "c=high"], ["'high'", "'c'", "a number"]),
    (["run", "ucb1", "--set", "pulls_per_iteration=2.5"], ["2.5", "a whole number"]),
    (["run", "ucb1", "--set", "num_env_runners=-1"], ["-1", "'num_env_runners'", "0 or more"]),
    (["run", "ucb1", "--set", "c.d=1"], ["'c.d'", "no mapping"]),
    (["run", "ucb1", "--set", "seed=1"], ["'seed'", "'seeds'"]),
    (["run", "ucb1", "--set", "env=x"], ["'env'", "'task'"]),
    (["run", "ucb1", "--seeds", "0"], ["0", "'seeds'", "at least 1"]),
    (["run", "ucb1", "--seeds", "three"], ["--seeds", "three", "integer"]),
    (["run", "ucb1", "--seeds", "1,two"], ["--seeds", "1,two", "1,2,3"]),
    (["run", "ucb1", "--seeds", "1,1"], ["'1' stands there twice"]),
    (["run", "ucb1", "--variant", "ucb1,gredy"], ["variant of ucb1 'gredy'", "'greedy'"]),
    (["run", "ucb1", "--task", "two-arms,tenarms"], ["task of ucb1 'tenarms'", "'ten-arms'"]),
    (["run", "ucb1", "--sweep", "c"], ["'c'", "--sweep", "key=value"]),
    (["run", "ucb1", "--sweep", "c=3"], ["3", "'c'", "loguniform(1e-4, 1e-2)"]),
    (["run", "ucb1", "--sweep", "c=normal(0,1)"], ["'normal'", "'c'", "loguniform"]),
    (["run", "ucb1", "--sweep", "c=uniform(0)"], ["'c'", "uniform(low, high)"]),
    (["run", "ucb1", "--sweep", "c=uniform(2,1)"], ["2 is not below", "1", "'c'"]),
    (["run", "ucb1", "--sweep", "c=loguniform(0,1)"], ["'c'", "above 0"]),
    (["run", "ucb1", "--sweep", "c=randint(0.5,3)"], ["'c'", "whole numbers"]),
    (["run", "ucb1", "--sweep", "c=quniform(0,1,2)"], ["'c'", "step"]),
    (["run", "ucb1", "--sweep", "c=open('x')"], ["'open'", "'c'"]),
    (["run", "ucb1", "--sweep", "c=[]"], ["'c'", "empty"]),
    (["run", "ucb1", "--sweep", "c=[1,1]"], ["'c'", "twice"]),
    (["run", "ucb1", "--sweep", "c=uniform(-1,1)"], ["-1", "'c'", "0 or more", "swept"]),
    (["run", "ucb1", "--sweep", "c=[1,high]"], ["'high'", "'c'", "a number", "swept"]),
    (["run", "ucb1", "--sweep", "d=[1,2]"], ["config key of ucb1 'd'"]),
    (["run", "ucb1", "--sweep", "c=[1,2]", "--set", "c=1"], ["'c'", "swept"]),
    (["sweep", "ucb1", "--sweep", "c=[1,2]", "--space", "default"], ["--space", "give one"]),
    (["sweep", "ucb1", "--sweep", "c=uniform(0,1)", "--search", "grid"], ["'c'", "random"]),
    (["run", "space.yaml"], ["'c'", "loguniform(0, 1)", "above 0"]),
    (["list", "ubc1"], ["method 'ubc1'", "'ucb1'"]),
    (["run", "ucb1", "--cpus", "-2"], ["-2", "'resources.cpus'", "greater than 0"]),
    (["run", "ucb1", "--stop", "pulls=soon"], ["'soon'", "'stop.pulls'", "number"]),
    (["run", "ucb1", "--name", "a b"], ["'a b'", "'name'"]),
    (["run", "ucb1", "--sede", "3"], ["--sede", "did you mean '--seeds'"]),
    (["run", "ucb1", "--resume"], ["Nothing to resume", "without --resume"]),
    (["run", "ucb1", "--tracking-uri", "ftp://x"], ["'ftp://x'", "sqlite:///"]),
    (["run", "ucb1", "--tracking-uri", "http://127.0.0.1:9"], ["127.0.0.1:9", "--offline"]),
    (["run", "missing.yaml"], ["'missing.yaml'", "does not exist"]),
    (["run", "two_keys.yaml"], ["'seeds' stands twice"]),
    (["run", "broken.yaml"], ["not valid YAML"]),
    (["run", "list.yaml"], ["list", "not a mapping"]),
    (["run", "no_method.yaml"], ["'method'", "tenfold list"]),
    (["run", "field.yaml"], ["experiment field 'sedes'", "'seeds'"]),
    (["run", "resources.yaml"], ["experiment field 'cpu'", "'cpus'"]),
    (["run", "twice.yaml"], ["'greedy' stands there twice"]),
    (["run", "seeds.yaml"], ["-2", "greater than or equal to 0"]),
    (["run", "same_seeds.yaml"], ["'1' stands there twice"]),
    (["run", "type.yaml"], ["'many'", "a whole number"]),
    (["run", "config.yaml"], ["'config'"]),
    (["run", "name.yaml"], ["'a/b'", "'name'"]),
    (["run", "keep.yaml"], ["'checkpoint.keep'", "greater than 0"]),
    (["sweep", "ucb1", "--space", "defalt"], ["space of ucb1 'defalt'", "'default'"]),
    (["sweep", "ucb1", "--search", "optna"], ["'optna'", "'search'", "'optuna'"]),
    (["sweep", "ucb1", "--scheduler", "hyperband"], ["'hyperband'", "'scheduler'", "'asha'"]),
    (["sweep", "ucb1", "--samples", "0"], ["0", "'samples'"]),
    (["sweep", "ucb1", "--set", "c=1"], ["'c'", "swept"]),
    (["sweep", "ucb1", "--search", "grid"], ["grid", "'c'", "random or optuna"]),
    (
        ["sweep", "ucb1", "--search", "optuna", "--task", "two-arms", "--task", "ten-arms"],
        ["one task and one variant"],
    ),
    (["evaluate", "0123"], ["'0123'", "tenfold compare"]),
    (["sync", "nowhere"], ["'nowhere'", "no folder of a run"]),
    (["compare", "ucb"], ["'ucb'"]),
    (["submit", "field.yaml", "--address", "http://127.0.0.1:9"], ["'sedes'", "'seeds'"]),
    (["submit", "good.yaml", "--address", "127.0.0.1:9"], ["'127.0.0.1:9'", "http://"]),
    (["submit", "good.yaml", "--address", "http://127.0.0.1:9"], ["http://127.0.0.1:9"]),
    (["ui", "--port", "70000"], ["70000", "--port"]),
    (["run", "ucb1", "--set", "c=-1e-3"], ["-0.001", "'c'", "0 or more"]),
    (["run", "ucb1", "--set", "pulls_per_iteration=1e-3"], ["0.001", "a whole number"]),
    (["run", "icvar", "--set", "alpha=1.2"], ["1.2", "'alpha'", "up to 1"]),
    (
        ["run", "icvar", "--set", "grid=uniform", "--set", "epsilon=2"],
        ["epsilon = 2", "too coarse", "at most 0.5"],
    ),
    (["run", "icvar", "--set", "env_config.p=1.5"], ["1.5", "'env_config.p'", "up to 1"]),
    (
        ["run", "icvar", "--variant", "icvar_rm", "--set", "check_confidence=true"],
        ["check_confidence", "'icvar_rm'", "icvar_l and epsilon_greedy"],
    ),
    (
        ["run", "rs_disrl", "--variant", "keramati", "--set", "check_confidence=true"],
        ["check_confidence", "keramati", "rs_disrl (model or value)"],
    ),
    (
        ["run", "risk_pomdp", "--variant", "oracle", "--set", "check_confidence=true"],
        ["check_confidence", "'oracle'", "beta_vi"],
    ),
    (["run", "icvar_deep", "--set", "alpha=0"], ["0", "'alpha'", "up to 1"]),
    (["run", "icvar_deep", "--set", "num_atoms=1"], ["1", "'num_atoms'", "2 or more"]),
    (["run", "rs_disrl", "--set", "rho_parameters.alpha=1.5"], ["1.5", "'alpha'", "at most 1"]),
    (["run", "rs_disrl", "--set", "rho=entropic"], ["rho = entropic", "exactly gamma"]),
    (["run", "rs_disrl", "--set", "env_config.H=0"], ["0", "'env_config.H'", "1 or more"]),
    (["run", "risk_pomdp", "--set", "gamma_risk=0"], ["0", "'gamma_risk'", "other than 0"]),
    (["run", "risk_pomdp", "--set", "gamma_risk=1e-12"], ["1e-12", "'gamma_risk'"]),
    (["run", "risk_pomdp", "--set", "gamma_risk=-1e6"], ["-1000000", "'gamma_risk'", "-75 to 75"]),
    (["run", "risk_pomdp", "--set", "env_config.accuracy=2"], ["2", "'env_config.accuracy'"]),
    (["run", "risk_pomdp", "--set", "planner=best"], ["'best'", "'planner'"]),
    (["run", "risk_pomdp", "--set", "env_config.H=40"], ["point-based planner"]),
    (["run", "risk_pomdp_deep", "--set", "gamma_risk=200"], ["200", "'gamma_risk'"]),
    (
        ["run", "rl_cfr", "--task", "flop_short", "--set", "env_config.deck=22"],
        ["22", "'env_config.deck'", "12, 16, 20"],
    ),
    (
        ["run", "rl_cfr", "--task", "hunl", "--set", "env_config.stack=2"],
        ["key of env_config 'stack'"],
    ),
    (
        ["run", "rl_cfr", "--task", "flop_short", "--set", "opponents=[default]"],
        ["'opponents'", "river_hunl, turn_hunl, leduc_nl", "flop_short"],
    ),
    (
        ["run", "rl_cfr", "--task", "leduc_nl", "--set", "opponents=[lbr]"],
        ["'lbr'", "'opponents'", "default, call, random"],
    ),
    (["run", "rl_cfr", "--set", "opponents=[caller]"], ["'caller'", "'opponents.0'", "lbr"]),
    (
        ["run", "rl_cfr", "--task", "turn_hunl", "--set", "env_config.enumerate_rivers=often"],
        ["'often'", "'env_config.enumerate_rivers'"],
    ),
    (["run", "rl_cfr", "--set", "value_warmup=-1"], ["-1", "'value_warmup'"]),
    (["play", "--checkpoint", "nowhere"], ["nowhere", "no checkpoint of rl_cfr"]),
    (["run", "mst", "--set", "lr=0"], ["0", "'lr'"]),
    (["run", "qsr", "--set", "workers=-1"], ["-1", "'workers'"]),
    (["run", "ppo", "--set", "lr=-0.1"], ["-0.1", "'lr'", "above 0"]),
    (["run", "ppo", "--set", "minibatch_size=0"], ["0", "'minibatch_size'", "1 or more"]),
    (["run", "ppo", "--set", "model_config.fcnet_hidens=[8]"], ["fcnet_hidens", "fcnet_hiddens"]),
]


@pytest.mark.parametrize(("arguments", "parts"), MISTAKES, ids=lambda value: " ".join(value)[:60])
def test_a_mistake_is_one_sentence_and_exit_code_2(
    arguments: list[str],
    parts: list[str],
    runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, text in {**YAML, "good.yaml": "method: ucb1\n"}.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["tenfold", *arguments])
    started_before = ray.is_initialized()
    with pytest.raises(SystemExit) as exit_info:
        cli.main()
    assert exit_info.value.code == 2
    printed = capsys.readouterr()
    sentence = printed.err.strip()
    assert len(sentence.splitlines()) == 1
    assert sentence.startswith("Error:")
    assert "Traceback" not in printed.err + printed.out
    for part in parts:
        assert part in sentence
    assert ray.is_initialized() == started_before
    assert not (runs / "tune").exists() or not any((runs / "tune").iterdir())


def test_a_folder_that_cannot_be_written_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("TENFOLD_RUNS", str(blocked / "runs"))
    monkeypatch.setattr(sys, "argv", ["tenfold", "run", "ucb1"])
    with pytest.raises(SystemExit) as exit_info:
        cli.main()
    assert exit_info.value.code == 2
    assert f"'{blocked / 'runs'}' cannot be written to" in capsys.readouterr().err


def test_a_full_disk_is_refused_before_work_starts(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tenfold.platform import store

    monkeypatch.setattr(store, "MINIMUM_FREE_BYTES", 2**62)
    monkeypatch.setattr(sys, "argv", ["tenfold", "run", "ucb1"])
    with pytest.raises(SystemExit) as exit_info:
        cli.main()
    assert exit_info.value.code == 2
    assert "free some" in capsys.readouterr().err


def test_a_store_that_is_no_database_is_refused(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs.mkdir()
    (runs / "mlflow.db").write_text("this is not sqlite, " * 100)
    monkeypatch.setattr(sys, "argv", ["tenfold", "run", "ucb1"])
    with pytest.raises(SystemExit) as exit_info:
        cli.main()
    assert exit_info.value.code == 2
    assert "not a usable database" in capsys.readouterr().err
