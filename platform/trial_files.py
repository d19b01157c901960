"""A trial, its folders on this machine and its newest checkpoint, from what a user types."""

import sys
import tempfile
from collections.abc import Container
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from tenfold.platform.checkpoints import damage, history_of, newest_whole, numbered
from tenfold.platform.errors import InputError
from tenfold.platform.experiment import EXPERIMENT_FILE
from tenfold.platform.registry import Method, get_method
from tenfold.platform.runs import ID_PREFIX, search_runs
from tenfold.platform.score import checkpoint_score
from tenfold.platform.store import open_store, runs_folder, sqlite_path

TRIAL = "trial"
"""Where a trial's run in the store has its point and its checkpoints, if it has them."""
_FETCHED = "fetched"


def find_checkpoint(name: str, method: str, uri: str, best: bool = False) -> Path:
    """The folder of a checkpoint of a method.

    Args:
        name: That folder, the folder of a trial, or a trial in the store as `find_trial` takes it.
        method: The method that wrote it. A folder is taken as it is: whoever reads it must check.
        uri: The store.
        best: A trial stands for its best checkpoint, and not for its newest.

    Raises:
        InputError: There is neither such a folder nor such a trial of the method, the trial has no
            checkpoint on this machine, or the folder is a damaged checkpoint.
    """
    folder, store = Path(name), sqlite_path(uri)
    if folder.is_dir() and not (folder / EXPERIMENT_FILE).is_file():
        if numbered(folder):
            return checkpoint_of(folder, get_method(method), best)
        if best:
            raise InputError(f"'{folder}' is no trial, of whose checkpoints --best takes one.")
        wrong = damage(folder)
        if wrong is not None:
            raise InputError(
                f"The checkpoint '{folder}' is damaged ({wrong}): give another one of its trial, "
                "or the trial's folder for the newest that is whole."
            )
        return folder
    if store is not None and not store.is_file():
        raise InputError(
            f"'{name}' is no checkpoint of {method}: there is no such folder, and no run in "
            f"'{store.parent}', which holds no store yet."
        )
    _, trial_dir = trial_folders(find_trial_of(method, name, uri), uri)
    return checkpoint_of(trial_dir, get_method(method), best)


def checkpoint_of(trial_dir: Path, method: Method, best: bool) -> Path:
    """The best checkpoint of a trial, or its newest; see those."""
    return best_checkpoint(trial_dir, method) if best else newest_checkpoint(trial_dir)


def find_trial_of(method: str, name: str, uri: str) -> Run:
    """`find_trial` for a command of one method, which takes no other's trials."""
    run = find_trial(open_store(uri), name)
    found = run.data.tags["method"]
    if found != method:
        raise InputError(f"Run '{name}' is a trial of {found}: give the id of one of {method}.")
    return run


def find_trial(client: MlflowClient, name: str) -> Run:
    """The MLflow run of a trial.

    Args:
        client: Of the store.
        name: The run's id or the beginning of it, the trial's folder or that folder's name, or the
            folder of a run with one trial.

    Raises:
        InputError: Nothing has this name, several trials have, or what has it is no trial.
    """
    try:
        exact = client.get_run(name)
    except MlflowException:
        exact = None
    if exact is not None:
        if exact.data.tags.get("kind") != "trial":
            kind = exact.data.tags.get("kind", "foreign")
            raise InputError(f"Run '{name}' is of kind '{kind}': give the id of one of its trials.")
        return exact
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    trials = search_runs(client, ids, "tags.kind = 'trial'")
    folder = Path(name).name
    for found in (
        [run for run in trials if len(name) >= ID_PREFIX and run.info.run_id.startswith(name)],
        [run for run in trials if Path(run.data.tags["trial_dir"]).name == folder],
        [run for run in trials if Path(run.data.tags["run_dir"]).name == folder],
    ):
        if len(found) == 1:
            return found[0]
        if found:
            some = ", ".join(f"{run.info.run_id[:12]} ({run.info.run_name})" for run in found[:3])
            more = ", ..." if len(found) > 3 else ""
            raise InputError(f"{len(found)} trials are called '{name}': give one of {some}{more}.")
    raise InputError(
        f"No run '{name}' in the store: copy one from 'tenfold compare' or the MLflow UI."
    )


def trial_folders(run: Run, uri: str) -> tuple[Path, Path]:
    """The folders of a trial's run and of the trial, also where all runs have moved together.

    Where they are not on this machine, what the store has of them is fetched.

    Raises:
        InputError: They are nowhere.
    """
    recorded = Path(run.data.tags["run_dir"])
    below = Path(run.data.tags["trial_dir"]).relative_to(recorded)
    store = sqlite_path(uri)
    roots = [recorded.parent, runs_folder() / "tune", *([store.parent / "tune"] if store else [])]
    for root in roots:
        if (root / recorded.name / EXPERIMENT_FILE).is_file():
            return root / recorded.name, root / recorded.name / below
    folder = fetched(run, uri)
    if folder is not None:
        return folder, folder / TRIAL
    raise InputError(
        f"The folder of this run, '{recorded}', is not on this machine, nor is '{recorded.name}' "
        f"in {' or '.join(str(root) for root in roots[1:])}, and the store has no checkpoint of "
        "it: set TENFOLD_RUNS to the folder of runs, use the machine that ran the trial, or run "
        "it with 'checkpoint: {upload: true}'."
    )


def fetched(run: Run, uri: str) -> Path | None:
    """A folder with a trial's experiment, point and checkpoints from the store; kept for later.

    Not among the runs of this machine: what somebody else's machine wrote is not trusted.

    Returns:
        None if the store has no checkpoint of the trial.

    Raises:
        InputError: The store breaks off.
    """
    place = runs_folder() / _FETCHED / run.info.run_id
    parent = run.data.tags.get(MLFLOW_PARENT_RUN_ID)
    if place.is_dir():
        return place
    try:
        client = open_store(uri)
        if parent is None or not client.list_artifacts(run.info.run_id, TRIAL):
            return None
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent, ignore_cleanup_errors=True) as folder:
            client.download_artifacts(parent, EXPERIMENT_FILE, folder)
            client.download_artifacts(run.info.run_id, TRIAL, folder)
            Path(folder).rename(place)  # whole, or not at all
    except (MlflowException, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"The checkpoints of run '{run.info.run_id}' cannot be fetched from the store "
            f"({reason}): try again, or use the machine that ran the trial."
        ) from None
    return place


def newest_checkpoint(trial_dir: Path) -> Path:
    """The last checkpoint of a trial that is whole; damaged ones after it are told on stderr.

    Raises:
        InputError: There is none.
    """
    return _newest_and_damaged(trial_dir)[0]


def _newest_and_damaged(trial_dir: Path) -> tuple[Path, Container[str]]:
    """`newest_checkpoint`, and the names of those that are damaged."""
    found, passed = newest_whole(trial_dir)
    if found is None and passed:
        name, wrong = max(passed.items())
        raise InputError(
            f"No checkpoint in '{trial_dir}' is whole, '{name}' neither ({wrong}): resume the run, "
            "which computes them again, or run it again."
        )
    if found is None:
        raise InputError(
            f"There is no checkpoint in '{trial_dir}': the trial ended before its first one, or it "
            "was deleted; run it again."
        )
    later = {name: wrong for name, wrong in passed.items() if name > found.name}
    for name, wrong in later.items():
        print(f"{name} is damaged ({wrong}): taking {found.name}.", file=sys.stderr)
    return found, passed


def best_checkpoint(trial_dir: Path, method: Method) -> Path:
    """The whole checkpoint of a trial with the best score, the later one where two score alike.

    Args:
        trial_dir: The trial's folder.
        method: How it is scored.

    Raises:
        InputError: There is none, none has a score, or the method's metric judges no checkpoint.
    """
    if method.cumulative:
        raise InputError(
            f"'{method.metric}' of {method.name} adds up over a run and says of no checkpoint how "
            "good it is: leave out --best for the newest."
        )
    newest, passed = _newest_and_damaged(trial_dir)
    scores = {}
    for number, path in numbered(trial_dir).items():
        history = [] if path.name in passed else history_of(path)
        if history:
            score = checkpoint_score(history, method)
            scores[-score if method.mode == "min" else score, number] = path
    if not scores:
        raise InputError(f"'{newest.name}' of '{trial_dir}' has no score: leave out --best.")
    return scores[max(scores)]
