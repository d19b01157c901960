"""What a task is, where it lies, and what must travel with it.

A task is one of the method's own names, a user's file or folder, or a Gymnasium id. `resolve` makes
of what a user typed what a trial takes: names as they are, paths absolute, since Tune changes into
a folder of its own. A path's `label`, its last component, stands for it in tables, and stays when
the file lies elsewhere on a cluster. Experiment, launch, evaluate and submit all ask here.
"""

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tenfold.platform.errors import InputError, shown, unknown
from tenfold.platform.registry import Method, load_attribute

INPUTS = "inputs"
_LONGEST_LABEL = 80
_HASHED_BYTES = 2**20


def resolve(method: Method, task: str) -> str:
    """A task as a trial takes it.

    Args:
        method: What is to run on it.
        task: As typed; a relative path starts from the current folder.

    Raises:
        InputError: There is no such name, file, folder or Gymnasium id.
    """
    if task in method.tasks:
        return task
    path = os.path.abspath(os.path.expanduser(task))
    if method.task_files and task.endswith(method.task_files):
        if not os.path.isfile(path):
            raise InputError(f"Task file {shown(task)} does not exist: give the path of a file.")
        return path
    if method.task_folders and os.path.isdir(path):
        return path
    if method.gymnasium_tasks:
        return _gymnasium_id(method, task)
    if os.path.exists(path):
        raise InputError(f"'{task}' cannot be a task of {method.name}: give {_accepted(method)}.")
    raise unknown(f"task of {method.name}", task, method.tasks)


def resolve_config(method: Method, config: Mapping[str, Any]) -> dict[str, Any]:
    """A config whose paths of existing files are absolute, see `Method.path_keys`."""
    return {
        key: os.path.abspath(os.path.expanduser(value))
        if key in method.path_keys and isinstance(value, str) and os.path.exists(value)
        else value
        for key, value in config.items()
    }


def labels(tasks: Iterable[str]) -> dict[str, str]:
    """Label -> task: a path's last component, more of it where two would be equal."""
    found: dict[str, str] = {}
    for task in tasks:
        parts = Path(task).parts if os.path.isabs(task) else (task,)
        length = 1
        while (label := _shorten("/".join(parts[-length:]))) in found and length < len(parts):
            length += 1
        found[label] = task
    return found


def fingerprint(task: str) -> str | None:
    """What tells a file or folder from a changed one; None of a task that is a name.

    A file is known by its size and first MiB, a folder by its files' names and sizes.
    """
    if not os.path.isabs(task):
        return None
    path, digest = Path(task), hashlib.sha256()
    if path.is_file():
        digest.update(str(path.stat().st_size).encode())
        with path.open("rb") as file:
            digest.update(file.read(_HASHED_BYTES))
    else:
        for each in sorted(path.rglob("*")):
            if each.is_file():
                digest.update(f"{each.relative_to(path)}\0{each.stat().st_size}\0".encode())
    return digest.hexdigest()[:20]


def pack(
    method: Method, tasks: Sequence[str], config: Mapping[str, Any], folder: Path
) -> tuple[list[str], dict[str, Any]]:
    """Copy what an experiment reads into a job's folder.

    Args:
        method: The experiment's method.
        tasks: Its tasks as `resolve` gave them.
        config: Its config as `resolve_config` gave it.
        folder: The job's folder, which is the job's current one; files go below ``inputs/``.

    Returns:
        Tasks and config with paths relative to the folder.

    Raises:
        InputError: A file that a task names by an absolute path.
    """
    sent_tasks = [_pack_task(method, task, folder, number) for number, task in enumerate(tasks)]
    sent_config = dict(config)
    for key in method.path_keys:
        value = config.get(key)
        if isinstance(value, str) and os.path.isabs(value) and os.path.exists(value):
            sent_config[key] = str(_copy([Path(value)], folder, key).relative_to(folder))
    return sent_tasks, sent_config


def _pack_task(method: Method, task: str, folder: Path, number: int) -> str:
    if ":" in task and not os.path.isabs(task):
        _pack_module(task.partition(":")[0], folder)
    if not os.path.isabs(task):
        return task
    if method.task_companions is None:
        return str(_copy([Path(task)], folder, str(number)).relative_to(folder))
    companions = load_attribute(method.task_companions)
    sent = _copy([Path(task), *companions(Path(task))], folder, str(number))
    for file in companions(sent):
        if folder not in Path(os.path.normpath(file)).parents:
            raise InputError(
                f"'{task}' cannot travel, since it names '{file}' by an absolute path: name it "
                "relative to the file."
            )
    return str(sent.relative_to(folder))


def _copy(files: Sequence[Path], folder: Path, name: str) -> Path:
    """Copy files that lie relative to each other so that they still do; returns the first's."""
    files = [Path(os.path.normpath(file)) for file in files]
    root = Path(os.path.commonpath([file.parent for file in files]))
    for file in files:
        target = folder / INPUTS / name / file.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.is_dir():
            shutil.copytree(file, target, dirs_exist_ok=True)
        else:
            shutil.copy(file, target)
    return folder / INPUTS / name / files[0].relative_to(root)


def _pack_module(module: str, folder: Path) -> None:
    """Copy a user's own module that lies in the current folder; installed ones stay."""
    found = find_spec(module.partition(".")[0])
    here = Path.cwd()
    if found is None or found.origin is None or here not in Path(found.origin).parents:
        return
    origin = Path(found.origin)
    package = origin.parent if origin.name == "__init__.py" else origin
    if package.parent != here:
        return
    if package.is_dir():
        shutil.copytree(package, folder / package.name, dirs_exist_ok=True)
    else:
        shutil.copy(package, folder)


def _gymnasium_id(method: Method, task: str) -> str:
    """The id, if a registered environment has it or the module before the colon registers it."""
    import gymnasium

    module, colon, name = task.rpartition(":")
    if colon:
        if str(Path.cwd()) not in sys.path:
            sys.path.append(str(Path.cwd()))
        try:
            import_module(module)
        except ImportError as error:
            raise InputError(
                f"The module of task '{task}' cannot be imported ({error}): run it from the folder "
                f"that holds '{module}', or install it."
            ) from None
    if name not in gymnasium.registry:
        known = [*method.tasks, *(each for each in gymnasium.registry if each not in method.tasks)]
        raise unknown(f"task of {method.name}", task, known)
    return task


def _accepted(method: Method) -> str:
    kinds = [f"one of {', '.join(method.tasks[:6])}{', ...' if len(method.tasks) > 6 else ''}"]
    if method.task_files:
        kinds.append(f"a file that ends with {', '.join(method.task_files)}")
    if method.task_folders:
        kinds.append("a folder")
    return ", or ".join(kinds)


def _shorten(label: str) -> str:
    label = re.sub(r"\s+", " ", label)
    if len(label) <= _LONGEST_LABEL:
        return label
    return f"{label[: _LONGEST_LABEL - 9]}-{hashlib.sha256(label.encode()).hexdigest()[:8]}"
