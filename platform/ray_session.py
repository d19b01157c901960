"""Ray for a run: a local one, or a running cluster; and whether it has what a trial asks for."""

import logging
import os
import socket
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

import ray
from ray._private import services

from tenfold.platform.errors import InputError
from tenfold.platform.experiment import Experiment
from tenfold.platform.registry import Method
from tenfold.platform.replaced import replaced
from tenfold.platform.store import runs_folder

LOOPBACK = "127.0.0.1"
_FAILURES = (ConnectionError, TimeoutError, RuntimeError, OSError, ValueError)
"""What Ray raises where it does not start or nobody answers."""
_QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}


def has_ray(address: str | None) -> bool:
    """Whether a Ray is there already: a cluster that is named, or this process's own."""
    return address is not None or "RAY_ADDRESS" in os.environ or ray.is_initialized()


def needs_actors(method: Method, config: Any) -> bool:
    """Whether a trial works in more than its own process, so that it needs a running Ray.

    A trainable says so by a class method of this name; the others do, since RLlib and Ray Train put
    things into Ray's store at any rate.
    """
    asked = getattr(method.load_trainable(), "needs_actors", None)
    return asked is None or bool(asked(config))


def set_environment() -> None:
    """Settings of Ray, Tune and MLflow, which read them from the environment."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    # An iteration in which no episode ends has no return yet; that is no reason to fail a trial.
    os.environ.setdefault("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")
    # A store that is down must not hold the run up: the journal keeps what it does not take.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    # Progress and error files are ours to show: Tune's own output would say it all twice.
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    for noisy in ("ray.tune", "ray.train", "ray.rllib", "mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    # Tune's own record of the sweep is what --resume starts from: keep it at most a second old.
    os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "1")
    # Tune changes into a trial's folder, where a relative path would mean another place.
    os.environ["TENFOLD_RUNS"] = str(runs_folder())


def start_ray(experiment: Experiment, address: str | None) -> None:
    """Connect to a Ray cluster, or start a local Ray unless this process has one.

    Raises:
        InputError: No cluster answers at the address, or no local Ray can be started.
    """
    set_environment()
    if ray.is_initialized():
        return
    address = address or os.environ.get("RAY_ADDRESS")
    try:
        if address is None:
            start_local(num_cpus=experiment.resources.cpus)
        else:
            environment = {"env_vars": {"TENFOLD_RUNS": os.environ["TENFOLD_RUNS"]}}
            with loopback_as_it_is() if _is_on_loopback_alone(address) else nullcontext():
                ray.init(address=address, runtime_env=environment, **_QUIET)
    except Exception as error:
        # Ray says by a bare one that its servers take too long, as on a machine with other work.
        if type(error) is not Exception and not isinstance(error, _FAILURES):
            raise
        reason = " ".join(str(error).split())[:300]
        if address is None:
            raise InputError(
                f"Ray does not start on this machine ({type(error).__name__}: {reason}): "
                "'tenfold doctor' looks for the cause."
            ) from None
        raise InputError(
            f"No Ray cluster answers at '{address}' ({reason}): give the address that "
            "'ray start --head' printed, or leave it out to run locally."
        ) from None


def start_local(**options: Any) -> None:
    """Start a Ray of this process's own, whose servers listen on loopback alone.

    Args:
        **options: Of `ray.init`.
    """
    with loopback_as_it_is():
        # Ray Train frees what ended trials had reserved only if the dashboard says who is alive.
        ray.init(
            address="local", _node_ip_address=LOOPBACK, include_dashboard=True, **_QUIET, **options
        )
    # Ray makes its token when it finds none, readable for all users of the machine.
    with suppress(OSError):
        (Path.home() / ".ray" / "auth_token").chmod(0o600)


def loopback_as_it_is() -> AbstractContextManager[None]:
    """Meanwhile Ray takes the loopback address for what it is.

    It puts the machine's own in its place otherwise, and with that one its servers listen on all
    interfaces.
    """
    return replaced(services, "resolve_ip_for_localhost", str)


def _is_on_loopback_alone(address: str) -> bool:
    """Whether it is the Ray of a `tenfold` on this machine, which the machine's address lacks."""
    host, _, port = address.rpartition(":")
    if host not in (LOOPBACK, "localhost") or not port.isdigit():
        return False
    with socket.socket() as door:
        return door.connect_ex((services.get_node_ip_address(), int(port))) != 0


def check_room(needed: Mapping[str, float], there: Mapping[str, float]) -> None:
    """Refuse a trial that would wait for ever.

    Args:
        needed: What one trial asks for, by Ray's names.
        there: What all nodes together have, by the same names.

    Raises:
        InputError: There is too little of something, with both numbers.
    """
    for name, count in needed.items():
        if count > there.get(name, 0.0):
            cure = (
                "give more with --cpus, or ask for fewer or smaller workers and runners"
                if name == "CPU"
                else "ask for fewer, or run on a cluster that has them"
            )
            raise InputError(
                f"A trial asks for {count:g} {name}s and Ray has {there.get(name, 0.0):g}: {cure}."
            )


def local_resources(experiment: Experiment) -> dict[str, float]:
    """What a local Ray would have; of what is not said here Ray itself decides."""
    return {"CPU": float(experiment.resources.cpus or os.cpu_count() or 1)}
