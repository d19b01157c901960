"""The doctor's verdicts on made-up machines, and its report on this one."""

import json
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tenfold.platform import doctor, store
from tenfold.platform.devices import Compute
from tenfold.platform.doctor import Check
from tenfold.platform.registry import get_method

GIB = 2**30
Call = Callable[..., CompletedProcess[str]]


def _by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_versions_that_fit_are_ok() -> None:
    checks = list(
        doctor.check_versions(">=3.11", ["numpy>=2", "pyyaml>=6", "absent; extra == 'x'"])
    )
    assert {check.verdict for check in checks} == {"ok"}
    assert [check.name for check in checks] == ["Python", "tenfold", "numpy", "other packages"]


def test_versions_that_do_not_fit_say_what_to_install() -> None:
    requirements = ["numpy>=99", "ray[tune]<2", "pyyaml<1", "no-such-package"]
    checks = _by_name(list(doctor.check_versions(">=4", requirements)))
    assert checks["Python"].advice == "install Python >=4"
    assert checks["numpy"].advice == "pip install 'numpy>=99'"
    assert checks["ray"].advice == "pip install 'ray[tune]<2'"
    assert checks["other packages"].advice == "pip install 'pyyaml<1' 'no-such-package'"
    failed = {name for name, check in checks.items() if check.verdict == "fail"}
    assert failed == {"Python", "numpy", "ray", "other packages"}


@pytest.mark.parametrize(("gibibytes", "verdict"), [(2, "warn"), (4, "ok"), (64, "ok")])
def test_memory(gibibytes: int, verdict: str) -> None:
    assert doctor.check_memory(gibibytes * GIB).verdict == verdict


def test_shared_memory_is_measured_against_the_object_store(tmp_path: Path) -> None:
    total = doctor.shutil.disk_usage(tmp_path).total
    assert doctor.check_shared_memory(tmp_path, int(total / 0.31)).verdict == "ok"
    short = doctor.check_shared_memory(tmp_path, int(total / 0.29))
    assert short.verdict == "warn"
    assert short.advice.endswith(f"--shm-size={0.3 * int(total / 0.29) / GIB:.1f}g")
    assert doctor.check_shared_memory(tmp_path / "none", GIB).verdict == "ok"


def test_tasks_that_lack_an_import_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    sac = get_method("sac")
    assert doctor.check_tasks([sac]) == Check("Gymnasium tasks", "all 6 can be made")
    for module in [name for name in sys.modules if name.startswith("gymnasium.envs.mujoco")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "imageio", None)
    check = doctor.check_tasks([sac, get_method("ppo")])
    assert check.verdict == "fail"
    assert check.advice == "pip install imageio"
    assert "HalfCheetah-v5" in check.found
    assert "imageio" in check.found
    assert "Pendulum-v1" not in check.found


def test_gymnasium_s_own_word_for_a_missing_package_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in [name for name in sys.modules if name.startswith("gymnasium.envs.mujoco")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "mujoco", None)
    check = doctor.check_tasks([get_method("sac")])
    assert (check.verdict, check.advice) == ("fail", "pip install 'gymnasium[all]'")
    assert "MuJoCo is not installed" in check.found


def test_a_step_of_each_training_loop_runs_on_a_gpu(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [get_method("ppo"), get_method("qsr")]
    failed = Check(
        "qsr on the GPU",
        "a step fails",
        "fail",
        "set device=cpu (InputError: \"Bad value 'cuda' for 'device': this process has no GPU; "
        'give auto or cpu.")',
    )
    assert list(doctor.check_training(found)) == [failed]
    monkeypatch.setattr(Compute, "of", lambda config: Compute())
    assert list(doctor.check_training(found)) == [Check("qsr on the GPU", "a step ran on cpu")]


def test_no_gl_library_is_a_warning_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_library", lambda name: None)
    assert doctor.check_rendering().verdict == "warn"
    monkeypatch.setattr(doctor, "find_library", lambda name: name == "EGL" or None)
    assert doctor.check_rendering() == Check("rendering", "by EGL")


@pytest.mark.parametrize(
    ("limit", "verdict"), [(1024, "warn"), (4096, "ok"), (doctor.resource.RLIM_INFINITY, "ok")]
)
def test_open_files(limit: int, verdict: str) -> None:
    assert doctor.check_open_files(limit).verdict == verdict


@pytest.mark.parametrize(
    ("free", "verdict"),
    [(store.MINIMUM_FREE_BYTES - 1, "fail"), (5 * GIB - 1, "warn"), (5 * GIB, "ok")],
)
def test_disk(free: int, verdict: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    class Usage:
        def __init__(self, folder: Path) -> None:
            asked.append(folder)
            self.free = free

    monkeypatch.setattr(doctor.shutil, "disk_usage", Usage)
    assert doctor.check_disk(tmp_path / "not" / "there" / "mlflow.db").verdict == verdict
    assert asked == [tmp_path]


def test_store_that_is_not_there_yet_is_not_made(tmp_path: Path) -> None:
    check = doctor.check_tracking(f"sqlite:///{tmp_path}/runs/mlflow.db")
    assert check.verdict == "ok"
    assert list(tmp_path.iterdir()) == []


def test_store_that_is_no_database_fails(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"not a database at all" * 100)
    check = doctor.check_tracking(f"sqlite:///{tmp_path}/mlflow.db")
    assert check.verdict == "fail"
    assert "not a usable database" in check.advice


def test_store_that_does_not_answer_fails(free_port: int) -> None:
    check = doctor.check_tracking(f"http://127.0.0.1:{free_port}")
    assert check.verdict == "fail"
    assert "does not answer" in check.advice


def test_ray_address(free_port: int) -> None:
    assert doctor.check_ray_address(None).verdict == "ok"
    assert doctor.check_ray_address("auto").verdict == "warn"
    assert doctor.check_ray_address(f"127.0.0.1:{free_port}").verdict == "fail"
    assert doctor.check_ray_address(f"ray://127.0.0.1:{free_port}").verdict == "fail"
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert doctor.check_ray_address(address).verdict == "warn"


def test_ray_leftovers(tmp_path: Path, free_port: int) -> None:
    assert doctor.check_ray_leftovers(tmp_path / "none").verdict == "ok"
    current = tmp_path / "ray_current_cluster"
    current.write_text(f"127.0.0.1:{free_port}")
    dead = doctor.check_ray_leftovers(tmp_path)
    assert dead == Check(
        "Ray sessions", f"0 in {tmp_path}", "warn", f"its cluster is gone: remove {current}"
    )
    current.unlink()
    for number in range(21):
        (tmp_path / f"session_2026-01-01_{number}").mkdir()
    assert doctor.check_ray_leftovers(tmp_path).verdict == "warn"


def test_home_that_cannot_take_a_token_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setattr(doctor.os, "access", lambda folder, mode: folder != tmp_path)
    assert doctor.check_home(tmp_path).verdict == "fail"
    (tmp_path / ".ray").mkdir()
    token = tmp_path / ".ray" / "auth_token"
    token.write_text("secret")
    token.chmod(0o644)
    assert doctor.check_home(tmp_path).advice == f"chmod 600 {token}"
    token.chmod(0o600)
    assert doctor.check_home(tmp_path).verdict == "ok"


def test_ports(free_port: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        free, busy = doctor.check_ports([("a", free_port), ("b", taken)])
    assert free == Check("port of a", f"{free_port} is free")
    assert busy.verdict == "warn"
    assert busy.found == f"{taken} is taken"


def test_report_as_json_and_its_exit_code(tenfold: Call, tmp_path: Path) -> None:
    good = tenfold("doctor", "--json")
    rows = json.loads(good.stdout)
    assert good.returncode == 0
    assert {"Python", "ray", "memory", "disk", "MLflow store"} <= {row["name"] for row in rows}
    assert all(row["advice"] for row in rows if row["verdict"] != "ok")
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"not a database at all" * 100)
    bad = tenfold("doctor", "--json", "--tracking-uri", f"sqlite:///{broken}")
    assert bad.returncode == 1
    failed = [row["name"] for row in json.loads(bad.stdout) if row["verdict"] == "fail"]
    assert failed == ["MLflow store"]
    assert tenfold("doctor", "--tracking-uri", f"sqlite:///{broken}").returncode == 1


@pytest.fixture
def free_port() -> int:
    """A port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port
