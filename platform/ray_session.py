"""Ray for a run: a local one, or a running cluster; and whether it has what a trial asks for."""

import logging
import os
from collections.abc import Mapping
from typing import Any

import ray

from tenfold.platform.errors import InputError
from tenfold.platform.experiment import Experiment
from tenfold.platform.store import runs_folder


def start_ray(experiment: Experiment, address: str | None) -> None:
    """Connect to a Ray cluster, or start a local Ray unless this process has one.

    Raises:
        InputError: No cluster answers at the address, or no local Ray can be started.
    """
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
    if ray.is_initialized():
        return
    address = address or os.environ.get("RAY_ADDRESS")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        cpus = experiment.resources.cpus
        # Ray Train frees what ended trials had reserved only if the dashboard says who is alive.
        options |= {"address": "local", "num_cpus": cpus, "include_dashboard": True}
    else:
        environment = {"TENFOLD_RUNS": os.environ["TENFOLD_RUNS"]}
        options |= {"address": address, "runtime_env": {"env_vars": environment}}
    try:
        ray.init(**options)
    except (ConnectionError, TimeoutError, RuntimeError, OSError, ValueError) as error:
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
