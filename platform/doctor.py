"""`tenfold doctor`: what on this machine would make a run fail or crawl, and what to do about it.

Nothing heavier is imported than what the methods' Gymnasium tasks are made of, unless there is a
GPU to ask torch about.
"""

import json
import os
import resource
import shutil
import socket
import sys
from collections.abc import Iterable, Iterator
from ctypes.util import find_library
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import gymnasium
from gymnasium.envs.registration import load_env_creator
from gymnasium.error import DependencyNotInstalled
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tenfold.platform.errors import InputError, shown
from tenfold.platform.registry import Method, methods
from tenfold.platform.store import (
    MINIMUM_FREE_BYTES,
    check_store,
    runs_folder,
    shown_uri,
    sqlite_path,
)
from tenfold.platform.ui import is_free, next_free

_GIB = 2**30
_MAIN_PACKAGES = ("ray", "torch", "gymnasium", "mlflow", "numpy", "numba")
_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}
_UI_PORT = 5000
_DASHBOARD_PORT = 8265


@dataclass(frozen=True)
class Check:
    """One row of the diagnosis.

    Attributes:
        name: What was looked at.
        found: What was found.
        verdict: "ok"; "warn": works, but not well or not as expected; "fail": a run would fail.
        advice: What to do, empty when ok.
    """

    name: str
    found: str
    verdict: Literal["ok", "warn", "fail"] = "ok"
    advice: str = ""


def report(uri: str, as_json: bool = False) -> int:
    """Print the diagnosis; returns the exit code, 1 if a run would fail.

    Args:
        uri: The MLflow store, as `store.tracking_uri` gives it.
        as_json: Print a JSON list of rows instead of a table.
    """
    checks = diagnose(uri)
    if as_json:
        print(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        table = Table("check", "found", "verdict", "what to do")
        for check in checks:
            colour = _COLOURS[check.verdict]
            verdict = f"[{colour}]{check.verdict}[/{colour}]"
            table.add_row(check.name, escape(check.found), verdict, escape(check.advice))
        Console().print(table)
    return 1 if any(check.verdict == "fail" for check in checks) else 0


def diagnose(uri: str) -> list[Check]:
    """Look at versions, hardware, limits, Ray's surroundings and the store.

    Args:
        uri: The MLflow store, as `store.tracking_uri` gives it.
    """
    memory = memory_bytes()
    return [
        *check_versions(metadata("tenfold")["Requires-Python"], requires("tenfold") or ()),
        check_cores(),
        check_memory(memory),
        check_shared_memory(Path("/dev/shm"), memory),
        check_gpu(),
        *(check_training(methods().values()) if torch_sees_gpu() else ()),
        check_tasks(methods().values()),
        check_rendering(),
        check_open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
        check_disk(sqlite_path(uri) or runs_folder()),
        check_tracking(uri),
        check_ray_address(os.environ.get("RAY_ADDRESS")),
        check_ray_leftovers(ray_folder()),
        check_home(Path.home()),
        *check_ports((("dashboard", _DASHBOARD_PORT), ("MLflow UI", _UI_PORT))),
    ]


def check_versions(python: str, requirements: Iterable[str]) -> Iterator[Check]:
    """Compare what is installed with what Tenfold declares, the main packages one by one.

    Args:
        python: Specifier of the Python version.
        requirements: Requirements as the distribution's metadata lists them, extras included.
    """
    here = ".".join(map(str, sys.version_info[:3]))
    fits = here in SpecifierSet(python)
    yield Check("Python", here, *_verdict(fits, f"install Python {python}"))
    yield Check("tenfold", version("tenfold"))
    parsed = map(Requirement, requirements)
    needed = [one for one in parsed if one.marker is None or one.marker.evaluate({"extra": ""})]
    for one in needed:
        if one.name in _MAIN_PACKAGES:
            advice = f"pip install '{one}'"
            yield Check(one.name, _installed(one), *_verdict(_satisfied(one), advice))
    wrong = [str(one) for one in needed if one.name not in _MAIN_PACKAGES and not _satisfied(one)]
    advice = "pip install " + " ".join(f"'{one}'" for one in wrong)
    found = "not as declared: " + ", ".join(wrong) if wrong else "as declared"
    yield Check("other packages", found, *_verdict(not wrong, advice))


def check_cores() -> Check:
    """Cores that this process may use: a trial and its runners each take one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    few = cores is not None and cores < 2
    advice = "runs work, but trials queue for the one core"
    return Check("cores", str(cores), "warn" if few else "ok", advice if few else "")


def check_memory(total: int) -> Check:
    """Memory in bytes: Ray's own processes take some 2 GiB."""
    little = total < 4 * _GIB
    advice = "give it 4 GiB, or run one trial at a time with --concurrent 1"
    return Check("memory", _size(total), "warn" if little else "ok", advice if little else "")


def check_shared_memory(folder: Path, memory: int) -> Check:
    """Room for Ray's object store, which takes 30 % of the memory and goes to disk otherwise."""
    if not folder.is_dir():
        return Check("shared memory", f"no {folder}")
    total = shutil.disk_usage(folder).total
    if total >= 0.3 * memory:
        return Check("shared memory", _size(total))
    advice = f"in a container, start it with --shm-size={0.3 * memory / _GIB:.1f}g"
    return Check("shared memory", _size(total), "warn", advice)


def check_gpu() -> Check:
    """An NVIDIA GPU, and whether torch can use it."""
    if not _has_gpu():
        return Check("GPU", "none, runs use the CPU")
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return Check("GPU", ", ".join(names))
    found = f"there is one, but torch {torch.__version__} cannot use it"
    return Check("GPU", found, "warn", "install a CUDA build of torch that fits the driver")


def torch_sees_gpu() -> bool:
    """Whether runs would use a GPU; torch takes seconds, and is asked only where there is one."""
    if not _has_gpu():
        return False
    import torch

    return torch.cuda.is_available()


def check_training(installed: Iterable[Method]) -> Iterator[Check]:
    """A step on the GPU of each method that would train there; torch must see one.

    Args:
        installed: All methods; of those only the ones with a `TrainingLoop` take a GPU by
            themselves, RLlib's by `num_gpus_per_learner`.
    """
    from tenfold.platform.configuration import build_config
    from tenfold.platform.training import TrainingConfig

    for method in installed:
        if not issubclass(method.load_config_class(), TrainingConfig):
            continue
        few = {**method.smoke, "steps": 1, "report_every": 1, "device": "cuda"}
        name = f"{method.name} on the GPU"
        try:
            config = build_config(method, method.tasks[0], next(iter(method.variants)), few, 0)
            trainable: Any = method.load_trainable()
            loop = trainable.loop_class(config)
            loop.train(1)
        except Exception as error:  # of a driver, of memory or of a library, of any kind
            advice = f"set device=cpu ({type(error).__name__}: {shown(str(error))})"
            yield Check(name, "a step fails", "fail", advice)
        else:
            yield Check(name, f"a step ran on {loop.compute.device}")


def check_tasks(installed: Iterable[Method]) -> Check:
    """Whether everything can be imported that the methods' Gymnasium tasks are made of."""
    names = {task for method in installed for task in method.tasks if method.gymnasium_tasks}
    found = [gymnasium.spec(task) for task in sorted(names & gymnasium.registry.keys())]
    lacking, missing = [], set()
    for spec in found:
        try:
            load_env_creator(str(spec.entry_point))
        except (ImportError, DependencyNotInstalled) as error:
            lacking.append(f"{spec.id} ({error})")
            missing.add(getattr(error, "name", None) or "'gymnasium[all]'")
    if not lacking:
        return Check("Gymnasium tasks", f"all {len(found)} can be made")
    advice = f"pip install {' '.join(sorted(missing))}"
    return Check("Gymnasium tasks", f"cannot be made: {', '.join(lacking)}", "fail", advice)


def check_rendering() -> Check:
    """Whether MuJoCo finds something to draw with; training needs none of it."""
    backends = [name for name in ("EGL", "OSMesa", "GLU") if find_library(name)]
    if backends:
        return Check("rendering", f"by {', '.join(backends)}")
    advice = "for pictures of MuJoCo tasks: apt-get install libegl1 or libosmesa6"
    return Check("rendering", "no GL library; runs need none", "warn", advice)


def check_open_files(limit: int) -> Check:
    """The soft limit of open files: Ray's processes hold many sockets."""
    if limit == resource.RLIM_INFINITY or limit >= 4096:
        return Check("open files", "unlimited" if limit == resource.RLIM_INFINITY else str(limit))
    return Check("open files", str(limit), "warn", "ulimit -n 65536")


def check_disk(path: Path) -> Check:
    """Free space where the runs go."""
    folder = _existing(path)
    free = shutil.disk_usage(folder).free
    found = f"{_size(free)} free at {folder}"
    if free < MINIMUM_FREE_BYTES:
        return Check("disk", found, "fail", "free some space, or set TENFOLD_RUNS to another disk")
    if free < 5 * _GIB:
        return Check("disk", found, "warn", "checkpoints fill it soon; set TENFOLD_RUNS elsewhere")
    return Check("disk", found)


def check_tracking(uri: str) -> Check:
    """Whether the MLflow store takes records; it is not created here."""
    path = sqlite_path(uri)
    if path is not None and not path.parent.is_dir():
        writable = os.access(_existing(path), os.W_OK)
        advice = f"make '{_existing(path)}' writable, or set TENFOLD_RUNS to another folder"
        return Check(
            "MLflow store",
            f"{shown_uri(uri)} (the first run makes it)",
            *_verdict(writable, advice),
        )
    try:
        check_store(uri)
    except InputError as error:
        return Check("MLflow store", shown_uri(uri), "fail", str(error))
    return Check("MLflow store", shown_uri(uri))


def check_ray_address(address: str | None) -> Check:
    """RAY_ADDRESS sends every run to a cluster, wanted or not."""
    if not address:
        return Check("RAY_ADDRESS", "not set, runs start a local Ray")
    parts = urlsplit(address if "://" in address else f"//{address}")
    if parts.port and not _answers(parts.hostname or "", parts.port):
        return Check("RAY_ADDRESS", address, "fail", "nothing answers there: unset RAY_ADDRESS")
    return Check("RAY_ADDRESS", address, "warn", "runs go to that cluster: unset it to run here")


def check_ray_leftovers(folder: Path) -> Check:
    """What earlier Rays left in their folder: a dead cluster's address, piled-up sessions."""
    sessions = len(list(folder.glob("session_*_*")))
    found = f"{sessions} in {folder}"
    current = folder / "ray_current_cluster"
    if current.is_file():
        host, _, port = current.read_text().strip().rpartition(":")
        if not _answers(host, int(port)):
            return Check("Ray sessions", found, "warn", f"its cluster is gone: remove {current}")
        found += f", a cluster answers at {host}:{port}"
    if sessions > 20:
        return Check("Ray sessions", found, "warn", f"remove old logs in {folder}")
    return Check("Ray sessions", found)


def check_home(folder: Path) -> Check:
    """Ray writes its token below the home folder when it starts and finds none there."""
    token = folder / ".ray" / "auth_token"
    if token.is_file() and token.stat().st_mode & 0o077:
        return Check("Ray token", f"in {token.parent}", "warn", f"chmod 600 {token}")
    if token.is_file() or "RAY_AUTH_TOKEN" in os.environ:
        return Check("Ray token", f"in {token.parent}")
    writable = os.access(_existing(folder / ".ray"), os.W_OK)
    return Check("Ray token", "none yet", *_verdict(writable, "set HOME to a writable folder"))


def check_ports(uses: Iterable[tuple[str, int]]) -> Iterator[Check]:
    """Whether the usual ports are free."""
    for use, port in uses:
        if is_free(port):
            yield Check(f"port of {use}", f"{port} is free")
        else:
            advice = f"use another for a second one, {next_free(port)} is free"
            yield Check(f"port of {use}", f"{port} is taken", "warn", advice)


def memory_bytes() -> int:
    """Memory of the machine, or of the container where that has less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.is_file() and (text := limit.read_text().strip()) != "max":
        return min(total, int(text))
    return total


def ray_folder() -> Path:
    """Where Ray keeps its sessions."""
    return Path(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp") / "ray"


def _has_gpu() -> bool:
    return any(Path("/dev").glob("nvidia[0-9]*")) or shutil.which("nvidia-smi") is not None


def _verdict(fits: bool, advice: str) -> tuple[Literal["ok", "fail"], str]:
    return ("ok", "") if fits else ("fail", advice)


def _installed(requirement: Requirement) -> str:
    try:
        return version(requirement.name)
    except PackageNotFoundError:
        return "missing"


def _satisfied(requirement: Requirement) -> bool:
    found = _installed(requirement)
    return found != "missing" and requirement.specifier.contains(found, prereleases=True)


def _existing(path: Path) -> Path:
    """The nearest folder above a path that exists."""
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        return False
    return True


def _size(count: int) -> str:
    return f"{count / _GIB:.1f} GiB"
