"""What tests share: one Ray session, a runs folder of their own, the command line, a toy method."""

import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from prefork import CLI
from store_tables import copy_tables

if TYPE_CHECKING:
    from typer.testing import Result

    from tenfold.platform.study import Study

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
# Ray's workers give way to everything else unless told otherwise, the tests' own process included.
os.environ.setdefault("RAY_worker_niceness", "0")
os.environ.pop("RAY_ADDRESS", None)
os.environ.pop("MLFLOW_TRACKING_URI", None)

ROOT = Path(__file__).parent.parent


def install_example(site: Path, name: str = "ucb1", page: str = "adding-a-method.md") -> None:
    """Install a method that a page of docs/ shows, exactly as it stands there."""
    text = (ROOT / "docs" / page).read_text()
    block = rf"`{name}/(\w+\.py)`[^`]*\n\n```python\n(.*?)```"
    entry = re.search(rf'```toml\n\[project\.entry-points\."(\S+)"\]\n({name} = \S+)\n```', text)
    assert entry is not None
    (site / name).mkdir()
    for file, source in re.findall(block, text, re.DOTALL):
        (site / name / file).write_text(source)
    info = site / f"{name}-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(f"[{entry[1]}]\n{entry[2].replace(chr(34), '')}\n")


def _site(purpose: str) -> Path:
    """A folder of this process on Python's path, and on that of the processes that it starts.

    pytest loads this file as a plug-in and tests import it as a module: both have the same folder.
    """
    mark, known = f"TENFOLD_TEST_{purpose}", os.environ.get(f"TENFOLD_TEST_{purpose}", "")
    process, _, path = known.partition(":")
    if process != str(os.getpid()):
        path = tempfile.mkdtemp(prefix=f"tenfold-{purpose.lower()}-")
        os.environ[mark] = f"{os.getpid()}:{path}"
        sys.path.insert(0, path)
    return Path(path)


# The example method is there for the whole session: in this process, in Ray's and in children.
_SITE = _site("EXAMPLE")
if not (_SITE / "ucb1").exists():
    install_example(_SITE)
# See `more_methods`; on the path from the start, so that Ray's processes have it too.
MORE_METHODS = _site("MORE")
os.environ["PYTHONPATH"] = os.pathsep.join([str(_SITE), str(MORE_METHODS), str(ROOT / "tests")])


def pytest_unconfigure() -> None:
    shutil.rmtree(_SITE)
    shutil.rmtree(MORE_METHODS)


# Files that compute for long or start processes; `make quick` leaves them out unread.
LONG = {
    "test_causal_lm",
    "test_compare",
    "test_consistency",
    "test_damage",
    "test_devices",
    "test_dom2",
    "test_dom2_modes",
    "test_elsewhere",
    "test_export",
    "test_faults",
    "test_fuzz",
    "test_icvar",
    "test_icvar_feedback",
    "test_jobs",
    "test_journal",
    "test_lcm",
    "test_lcm_data",
    "test_lcm_judge",
    "test_lcm_sample",
    "test_mst",
    "test_mst_granularity",
    "test_mst_restoration",
    "test_mst_saved",
    "test_mst_sparse",
    "test_play_command",
    "test_qsr",
    "test_qsr_outer",
    "test_queues_capacity",
    "test_queues_network",
    "test_regret",
    "test_rl_cfr",
    "test_rl_cfr_flops",
    "test_rl_cfr_leduc",
    "test_rl_cfr_matches",
    "test_rl_cfr_solver",
    "test_rl_cfr_values",
    "test_rs_disrl",
    "test_security",
    "test_sharded",
    "test_softmw_brought",
    "test_store_faults",
    "test_text",
    "test_tracking",
    "test_training",
    "test_two_learners",
    "test_typed_values",
    "test_ui",
    "test_wheel",
}


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """What takes long is not even imported where it is not wanted."""
    quick = config.getoption("markexpr") == "not slow"
    return True if quick and collection_path.stem in LONG else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is slow, and start with the files that have it: short ones fill the end.

    Besides the long files that is whatever starts processes or makes runs.
    """
    slow = set()
    for item in items:
        wanted = getattr(item, "fixturenames", ())
        if item.path.stem in LONG or "prefork" in wanted or "runs" in wanted:
            item.add_marker("slow")
            slow.add(item.path)
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True)
def no_other_ray() -> Iterator[None]:
    """A test that starts a Ray of its own leaves none: it would pass for the shared one."""
    yield
    ray = sys.modules.get("ray")
    if ray is not None and not _SHARED_RAY and ray.is_initialized():
        ray.shutdown()


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """PyTorch with one thread, as its processes have it: a library that sets more changes sums."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def cheap_connectors(monkeypatch: pytest.MonkeyPatch) -> None:
    """RLlib's connectors without the source lines of all callers, of whom each asks for one.

    Where thousands of modules are loaded, as here, looking those up takes 0.3 s an algorithm.
    """
    connectors = sys.modules.get("ray.rllib.connectors.connector_v2")
    if connectors is not None:
        caller = SimpleNamespace(
            stack=lambda: [None, SimpleNamespace(frame=sys._getframe(2))],
            getargvalues=inspect.getargvalues,
        )
        monkeypatch.setattr(connectors, "inspect", caller)


@pytest.fixture(autouse=True)
def cheap_stores() -> None:
    """From the second on, new MLflow stores copy the tables of the first."""
    if "mlflow.store.db.utils" in sys.modules:
        copy_tables()


_SHARED_RAY: list[bool] = []


@pytest.fixture(scope="session")
def prefork() -> Iterator[Path]:
    """A stand-in for the interpreter that forks Ray workers and `tenfold`, see `prefork.py`."""
    folder = Path(tempfile.mkdtemp(prefix="prefork-"))  # pytest's own are too long for a socket
    file, door = Path(__file__).parent / "prefork.py", folder / "door"
    stand_in = folder / "python"
    stand_in.write_text(
        f"#!{sys.executable} -IS\nimport sys\nsys.path.insert(0, {str(file.parent)!r})\n"
        f"import prefork\nprefork.stand_in({sys.executable!r}, {str(door)!r}, sys.argv[1:])\n"
    )
    stand_in.chmod(0o755)
    server = subprocess.Popen(
        [sys.executable, file, "serve", door, stand_in],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    assert server.stdout.readline() == "ready\n"
    yield stand_in
    server.stdin.close()
    server.wait()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def ray_session(prefork: Path) -> Iterator[str]:
    """One local Ray for all tests; eight logical CPUs, since its actors sleep most of the time.

    Its dashboard has the one module that is asked for, and nobody reads its logs in mid-run: both
    would take a twentieth of a core as long as it is there. It must serve: without a server of its
    own it names another Ray's, which says of Ray Train's controller that it is dead. Yields its
    address.
    """
    import ray
    from ray._private import node, services

    start_process = services.start_ray_process

    def start(command: list[str], kind: str, **options: object) -> object:
        if kind == "dashboard":
            command = [*command, "--modules-to-load=StateHead"]
        return start_process(command, kind, **options)

    _SHARED_RAY.append(True)
    ray.shutdown()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", str(prefork))  # Ray starts its workers with it
        patch.setattr(services, "start_ray_process", start)
        patch.setattr(node.Node, "start_log_monitor", lambda self: None)
        ray.init(
            address="local",
            num_cpus=8,
            include_dashboard=True,  # Ray Train's cleaner of placement groups asks it who is alive
            log_to_driver=False,
            logging_level="ERROR",
        )
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()
    _SHARED_RAY.clear()


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """`launch` takes no notice of the session's Ray: what may run in this process does."""
    from tenfold.platform import launch

    monkeypatch.setattr(launch, "has_ray", lambda address: address is not None)


@pytest.fixture
def more_methods() -> Iterator[Path]:
    """Where a test installs further methods, for as long as it runs."""
    from tenfold.platform.registry import methods

    methods.cache_clear()
    yield MORE_METHODS
    for folder in MORE_METHODS.iterdir():
        shutil.rmtree(folder)
    importlib.invalidate_caches()
    methods.cache_clear()


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of runs, used by this process and its children."""
    folder = tmp_path / "runs"
    monkeypatch.setenv("TENFOLD_RUNS", str(folder))
    return folder


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list["Study"]:
    """The studies that would be started: whoever launches has checked them, and none is."""
    import typer

    from tenfold.platform import launch

    studies: list[Study] = []

    def start(study: "Study", *_: object, **__: object) -> None:
        studies.append(study)
        raise typer.Exit(0)

    monkeypatch.setattr(launch, "launch", start)
    return studies


def invoke(*arguments: object) -> "Result":
    """Run the command line in this process, whose Ray may be up already."""
    from typer.testing import CliRunner

    from tenfold.platform.cli import app

    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def _tenfold(prefork: Path, arguments: Iterable[object]) -> list[str]:
    return [str(prefork), "-m", CLI, *(str(argument) for argument in arguments)]


Started = Callable[..., AbstractContextManager[subprocess.Popen[str]]]


@pytest.fixture
def started(prefork: Path) -> Started:
    """Start the command line as a user would, in a process of its own; it is killed at the end.

    With a Ray of its own, which takes ten seconds to come and go, or with that of an address.
    """

    @contextmanager
    def start(
        *arguments: object, cwd: Path, address: str | None = None
    ) -> Iterator[subprocess.Popen[str]]:
        command = _tenfold(prefork, arguments)
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, **({"RAY_ADDRESS": address} if address else {})},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    return start


Tenfold = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def tenfold(runs: Path, prefork: Path) -> Tenfold:
    """Run the command line as a user would, in a process of its own."""

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = _tenfold(prefork, arguments)
        return subprocess.run(
            command, capture_output=True, text=True, timeout=300, check=False, cwd=runs.parent
        )

    return call
