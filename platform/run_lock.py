"""One driver a run: a lock on a run's folder that dies with the process that holds it."""

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tenfold.platform.errors import InputError

LOCK_FILE = "driver.lock"
_NO_LOCKS_HERE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_HELD: set[int] = set()


@contextmanager
def only_driver(run_dir: Path) -> Iterator[None]:
    """Keep every other driver out of a run's folder.

    The kernel frees the lock when its holder ends, however that ends. Programs that the holder
    starts do not get the descriptor, and forks of it close theirs, so no child keeps it. Where a
    file system has no locks there is none.

    Args:
        run_dir: The folder of a run.

    Raises:
        InputError: Another process holds it; the message says which. Or the folder is read-only.
    """
    try:
        descriptor = os.open(run_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise InputError(
            f"The run's folder '{run_dir}' cannot be written to ({error.strerror}): change its "
            "permissions."
        ) from None
    _HELD.add(descriptor)
    try:
        _lock(descriptor, run_dir)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        yield
    finally:
        _HELD.remove(descriptor)
        os.close(descriptor)


def _lock(descriptor: int, run_dir: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 200, 0).decode(errors="replace")
        raise InputError(
            f"The run '{run_dir.name}' is in the hands of another driver "
            f"({holder or 'a process that has just started'}): wait for its end or stop it."
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS_HERE:
            raise


def _close_in_fork() -> None:
    for descriptor in _HELD:
        os.close(descriptor)
    _HELD.clear()


os.register_at_fork(after_in_child=_close_in_fork)
