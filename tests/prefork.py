"""Processes of the tests that start with their imports done.

A trial's process imports PyTorch and RLlib for four processor seconds before it works for a tenth
of one, and the command line takes longer still. So one process imports what takes most of it once
and forks what the tests start: the workers of their Ray and runs of `tenfold`. What is forked is a
process of its own, with its own arguments, environment, folder and streams, as if it had been
started.

Ray keeps what the environment says when it is imported, the job that a worker is for among it. So
that process is without Ray, and has forks that import Ray, RLlib and the platform, one for each
environment that Ray would see; they fork what is asked for.

    python prefork.py serve SOCKET        the process that imports and forks
    SOCKET-folder/python ARGUMENTS        a stand-in for the interpreter

The stand-in asks for a fork where the arguments start a Ray worker or ``-m tenfold.platform.cli``,
and becomes the real interpreter for all else. It lives as long as what it asked for, passes
signals on, and ends as that ends; if it is killed, so is the other.
"""

import json
import os
import select
import signal
import socket
import sys
import threading
import traceback

CLI = "tenfold.platform.cli"
# What Ray, the platform and the methods import.
PRELOADED = (
    "torch.distributed",
    "pandas",
    "pyarrow",
    "gymnasium.vector",
    "scipy.stats",
    "mlflow",
    "optuna",
    "pydantic",
    "numba",
    "matplotlib.pyplot",
    "sklearn.datasets",
    "transformers.models.gpt2.modeling_gpt2",
    "transformers.models.vit.modeling_vit",
)
WITH_RAY = ("ray.rllib.algorithms.dqn", "ray.rllib.algorithms.ppo", "tenfold.platform.launch")
KEPT = 4  # processes with Ray: of workers and command lines, of this and the last job each


# The stand-in: standard library only, since every fork pays for it.


def stand_in(real: str, path: str, arguments: list[str]) -> None:
    """Run the arguments of an interpreter, forked if they are of a kind that is worth it."""
    wanted = worth_forking(arguments)
    if wanted is None:
        os.execv(real, [real, *arguments])
    with socket.socket(socket.AF_UNIX) as link:
        try:
            link.connect(path)
        except OSError:
            os.execv(real, [real, *arguments])
        told = "\0".join(
            [os.getcwd(), str(len(wanted)), *wanted, *map("=".join, os.environ.items())]
        )
        send(link, told.encode("utf-8", "surrogateescape"), [0, 1, 2])
        try:
            pid = int.from_bytes(exactly(link, 4), "big")
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, lambda received, _: os.kill(pid, received))
            status = int.from_bytes(exactly(link, 4), "big", signed=True)
        except EOFError:
            os._exit(1)
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


def worth_forking(arguments: list[str]) -> list[str] | None:
    """What to run: a module after ``-m``, or a script; None for anything else."""
    first = arguments[0] if arguments else ""
    if "--worker-type=SPILL_WORKER" in arguments or "--worker-type=RESTORE_WORKER" in arguments:
        return None  # they never work, and import little
    if arguments[:2] == ["-m", CLI] or first.endswith("/workers/default_worker.py"):
        return arguments
    if first.endswith("/workers/setup_worker.py"):  # sets its environment, becomes the next script
        marks = ("--serialized-runtime-env-context=", "--language=")
        given = [each for each in arguments if each.startswith(marks[0])]
        context = json.loads(given[0].partition("=")[2]) if given else {}
        if not (context.get("command_prefix") or context.get("override_worker_entrypoint")):
            os.environ.update(context.get("env_vars") or {})
            return worth_forking([each for each in arguments[1:] if not each.startswith(marks)])
    return None


def exactly(link: socket.socket, count: int) -> bytes:
    """So many bytes.

    Raises:
        EOFError: The other side has gone.
    """
    data = b""
    while len(data) < count:
        more = link.recv(count - len(data))
        if not more:
            raise EOFError
        data += more
    return data


# The processes that fork.

Order = tuple[bytes, list[int]]  # what is asked for, and the link and the streams


def serve(path: str, stand_in_path: str) -> None:
    """Import what is worth it, say so on standard output, and have forks for whoever asks."""
    import importlib

    for name in PRELOADED:
        importlib.import_module(name)
    settle()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    forks: dict[tuple[str, ...], socket.socket] = {}  # the one that was used last comes last
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(path)
        door.listen(128)
        print("ready", flush=True)
        while True:
            ready, _, _ = select.select([door, 0], [], [])
            if 0 in ready:  # whoever started this has gone
                return
            link, _ = door.accept()
            with link:
                try:
                    message, streams = receive(link, 3)
                except EOFError:
                    continue
                _, _, environment = understood(message)
                settings = tuple(sorted(each for each in environment if each.startswith("RAY_")))
                fork = forks.pop(settings, None)
                if fork is None:
                    fork, inner = socket.socketpair()
                    if not os.fork():
                        for other in (door, link, fork, *forks.values()):
                            other.close()
                        for stream in streams:
                            os.close(stream)
                        serve_with_ray(inner, stand_in_path, settings)
                        os._exit(0)
                    inner.close()
                forks[settings] = fork
                send(fork, message, [link.fileno(), *streams])
            for stream in streams:
                os.close(stream)
            if len(forks) > KEPT:
                forks.pop(next(iter(forks))).close()


def serve_with_ray(orders: socket.socket, stand_in_path: str, settings: tuple[str, ...]) -> None:
    """Import Ray with its settings, and fork what is ordered until nobody orders any more."""
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        del os.environ[name]
    os.environ.update(variable.split("=", 1) for variable in settings)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    import_ray()
    settle()
    links: dict[int, socket.socket] = {}
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    listening = True
    while listening or links:
        ready, _, _ = select.select([wake, *([orders] if listening else [])], [], [])
        if wake in ready:
            os.read(wake, 4096)
            report(links)
        if orders in ready:
            try:
                message, (number, *streams) = receive(orders, 4)
            except EOFError:
                listening = False
                continue
            link = socket.socket(fileno=number)
            pid = os.fork()
            if pid:
                links[pid] = link
                for stream in streams:
                    os.close(stream)
                continue
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for other in (orders, *links.values()):
                other.close()
            for pipe in (wake, woken):
                os.close(pipe)
            answer(link, message, streams, stand_in_path)


def import_ray() -> None:
    """Import Ray and what imports it.

    Ray draws ids from a generator that every fork would go on with, so nothing may have drawn one
    before. Modules with remote classes do, an id for each class: they are given random ones.
    """
    import importlib

    import ray.actor

    drawn = ray.actor.ActorClassID

    class Id(drawn):  # type: ignore[misc, valid-type]
        @classmethod
        def from_random(cls) -> object:
            return drawn(os.urandom(drawn.size()))

    ray.actor.ActorClassID = Id
    for name in WITH_RAY:
        importlib.import_module(name)
    ray.actor.ActorClassID = drawn
    assert first_id_of_a_fork() != first_id_of_a_fork()


def first_id_of_a_fork() -> bytes:
    """What a fork would draw as its first id of Ray's."""
    import ray

    told, tell = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(tell, ray.WorkerID.from_random().binary())
        os._exit(0)
    os.waitpid(pid, 0)
    drawn = os.read(told, 64)
    os.close(told)
    os.close(tell)
    return drawn


def settle() -> None:
    """Make what is here cheap and safe to fork."""
    import gc
    from pathlib import Path

    gc.collect()
    gc.freeze()  # forks neither look through it nor copy it for that
    # What another thread holds would be held for ever in a fork; jemalloc's looks after itself.
    tasks = [task.read_text() for task in Path("/proc/self/task").glob("*/comm")]
    assert len([name for name in tasks if "jemalloc" not in name]) == 1, tasks


def send(to: socket.socket, message: bytes, numbers: list[int]) -> None:
    """A message with open files."""
    socket.send_fds(to, [len(message).to_bytes(4, "big")], numbers)
    to.sendall(message)


def receive(link: socket.socket, count: int) -> Order:
    """The next message, with so many open files.

    Raises:
        EOFError: There is none, the other side has gone.
    """
    size, numbers, _, _ = socket.recv_fds(link, 4, count)
    if not size:
        raise EOFError
    return exactly(link, int.from_bytes(size, "big")), numbers


def understood(message: bytes) -> tuple[str, list[str], list[str]]:
    """Folder, arguments and environment of what is asked for."""
    folder, count, *words = message.decode("utf-8", "surrogateescape").split("\0")
    return folder, words[: int(count)], words[int(count) :]


def report(links: dict[int, socket.socket]) -> None:
    """Tell the stand-ins of the processes that have ended how they ended."""
    from contextlib import suppress

    for pid in list(links):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            with links.pop(pid) as link:
                code = os.waitstatus_to_exitcode(status)
                with suppress(OSError):  # it has gone before
                    link.sendall(code.to_bytes(4, "big", signed=True))


def answer(link: socket.socket, message: bytes, streams: list[int], stand_in_path: str) -> None:
    """Become what the stand-in at the other end asks for, and end as it ends."""
    link.sendall(os.getpid().to_bytes(4, "big"))
    folder, arguments, environment = understood(message)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variable.split("=", 1) for variable in environment)
    sys.executable = stand_in_path  # so that a Ray which is started here forks its workers too
    threading.Thread(target=end_with, args=(link,), daemon=True).start()
    code = 1
    try:
        become(arguments)
        code = 0
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
        if isinstance(left.code, str):
            print(left.code, file=sys.stderr)
    except KeyboardInterrupt:
        code = 130
    except BaseException:
        traceback.print_exc()
    finally:
        finish(code)


def end_with(link: socket.socket) -> None:
    """Die when the stand-in has died."""
    if not link.recv(1):
        os.kill(os.getpid(), signal.SIGKILL)


def become(arguments: list[str]) -> None:
    """Run a module or a script as the interpreter does at its start."""
    import importlib
    import random
    import runpy

    import numpy as np

    random.seed()
    np.random.seed()
    added = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    at = sys.path.index(os.path.dirname(__file__))  # before it stands what Ray has put there
    base = [path for path in sys.path[at + 1 :] if path not in added]
    importlib.invalidate_caches()
    if arguments[0] == "-m":
        sys.path[at:] = [os.getcwd(), *added, *base]
        sys.argv[:] = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.path[at:] = [os.path.dirname(arguments[0]), *added, *base]
        sys.argv[:] = arguments
        runpy.run_path(arguments[0], run_name="__main__")


def finish(code: int) -> None:
    """End as an interpreter does: threads joined, exit functions called, streams flushed."""
    import atexit

    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    finally:
        os._exit(code)


def main() -> None:
    if sys.argv[1:2] == ["serve"]:
        serve(*sys.argv[2:])
    else:
        real, path, *arguments = sys.argv[1:]
        stand_in(real, path, arguments)


if __name__ == "__main__":
    main()
