"""Processes of the tests that start with their imports done.

A trial's process imports PyTorch and RLlib for four processor seconds before it works for a tenth
of one, and the command line takes longer still. So one process imports what takes most of it once
and forks what the tests start: the workers of their Ray and runs of `tenfold`. What is forked is a
process of its own, with its own arguments, environment, folder and streams, as if it had been
started.

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
# What Ray, the platform and the methods import; not Ray itself, which reads when it is imported
# what job a worker is for.
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
        message = told.encode("utf-8", "surrogateescape")
        socket.send_fds(link, [len(message).to_bytes(4, "big")], [0, 1, 2])
        link.sendall(message)
        pid = int.from_bytes(exactly(link, 4), "big")
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda received, _: os.kill(pid, received))
        status = int.from_bytes(exactly(link, 4), "big", signed=True)
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


def worth_forking(arguments: list[str]) -> list[str] | None:
    """What to run: a module after ``-m``, or a script; None for anything else."""
    first = arguments[0] if arguments else ""
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
    """So many bytes; ends this process if the other side has gone."""
    data = b""
    while len(data) < count:
        more = link.recv(count - len(data))
        if not more:
            os._exit(1)
        data += more
    return data


# The process that forks.


def serve(path: str, stand_in_path: str) -> None:
    """Import what is worth it, say so on standard output, and fork for whoever asks."""
    import importlib
    from pathlib import Path

    for name in PRELOADED:
        importlib.import_module(name)
    # What another thread holds would be held for ever in a fork; jemalloc's looks after itself.
    tasks = [task.read_text() for task in Path("/proc/self/task").glob("*/comm")]
    assert len([name for name in tasks if "jemalloc" not in name]) == 1, tasks
    links: dict[int, socket.socket] = {}
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(path)
        door.listen(128)
        print("ready", flush=True)
        while True:
            ready, _, _ = select.select([door, wake, 0], [], [])
            if 0 in ready:  # whoever started this has gone
                return
            if wake in ready:
                os.read(wake, 4096)
                report(links)
            if door in ready:
                link, _ = door.accept()
                pid = os.fork()
                if pid:
                    links[pid] = link
                    continue
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for other in (door, *links.values()):
                    other.close()
                for pipe in (wake, woken):
                    os.close(pipe)
                answer(link, stand_in_path)


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


def answer(link: socket.socket, stand_in_path: str) -> None:
    """Become what the stand-in at the other end asks for, and end as it ends."""
    size, streams, _, _ = socket.recv_fds(link, 4, 3)
    message = exactly(link, int.from_bytes(size, "big"))
    link.sendall(os.getpid().to_bytes(4, "big"))
    folder, count, *words = message.decode("utf-8", "surrogateescape").split("\0")
    arguments, environment = words[: int(count)], words[int(count) :]
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
    base = [path for path in sys.path[1:] if path not in added]
    importlib.invalidate_caches()
    if arguments[0] == "-m":
        sys.path[:] = [os.getcwd(), *added, *base]
        sys.argv[:] = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.path[:] = [os.path.dirname(arguments[0]), *added, *base]
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
