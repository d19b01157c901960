"""The MLflow UI over the store, on loopback only."""

import os
import socket
import sys
from typing import NoReturn

from tenfold.platform.errors import InputError
from tenfold.platform.store import check_store, shown_uri, sqlite_path

HOST = "127.0.0.1"


def serve(uri: str, port: int) -> NoReturn:
    """Become the MLflow UI of a store; Ctrl-C ends it.

    Args:
        uri: The store, as `store.tracking_uri` gives it.
        port: Port on loopback.

    Raises:
        InputError: The port is taken, the store is a server itself, or there are no runs yet.
    """
    if uri.startswith("http"):
        raise InputError(
            f"The store '{shown_uri(uri)}' is a server with its own UI: open it in a browser."
        )
    path = sqlite_path(uri)
    if path is not None and not (path.is_file() and path.stat().st_size):
        raise InputError(
            f"There are no runs in '{path}' yet: go to the folder that you ran 'tenfold run' in, "
            "or name the store with --tracking-uri."
        )
    check_store(uri)
    if not is_free(port):
        raise InputError(f"Port {port} is taken: use --port {next_free(port)}, which is free.")
    print(f"MLflow UI of {shown_uri(uri)} at http://{HOST}:{port}, Ctrl-C ends it", flush=True)
    # Where its telemetry finds no network, MLflow takes ten seconds more to end.
    os.environ.setdefault("DO_NOT_TRACK", "true")
    # The jobs it could run judge traces of language models: eight processes for nothing here.
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    # In this process's place, so that signals reach the server and nothing is left behind it.
    # The address may hold a database's password, which a command line would show to all users.
    os.environ["MLFLOW_BACKEND_STORE_URI"] = uri
    os.execv(sys.executable, command(port))


def command(port: int) -> list[str]:
    """The command line of the server: one worker is plenty for one user."""
    return [
        *(sys.executable, "-m", "mlflow", "ui"),
        *("--host", HOST, "--port", str(port), "--workers", "1"),
    ]


def is_free(port: int) -> bool:
    """Whether a server on loopback could listen on a port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def next_free(port: int) -> int:
    """The nearest free port above one that is taken; any that the system gives at the very end."""
    return next((other for other in range(port + 1, 65536) if is_free(other)), 0)
