"""The very Tenfold that runs here, as a folder that can travel to a cluster.

From a checkout its wheel is built, so that the folder holds what an installation would; from an
installation its files are copied. The `dist-info` goes along: its entry points list the methods.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from functools import lru_cache
from importlib.metadata import Distribution, distributions
from pathlib import Path
from zipfile import ZipFile

from tenfold.platform.errors import InputError

_BUILD = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"


def source_tree() -> Path | None:
    """The checkout that this Tenfold runs from, or None when it was installed from a wheel."""
    folder = Path(__file__).resolve().parents[1]
    return folder if (folder / "pyproject.toml").is_file() else None


@lru_cache
def commit() -> str:
    """The commit that runs: of the submitter in a job, else of this checkout, else empty."""
    if "TENFOLD_COMMIT" in os.environ:
        return os.environ["TENFOLD_COMMIT"]
    source = source_tree()
    if source is None:
        return ""
    command = ["git", "-C", str(source), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except OSError:
        return ""
    return result.stdout.strip()


def lay_out(folder: Path) -> str:
    """Put this Tenfold into a folder, as ``tenfold/`` and ``tenfold-<version>.dist-info/``.

    Args:
        folder: An existing folder; with it first on ``sys.path`` this Tenfold is what is imported.

    Returns:
        The version.

    Raises:
        InputError: The wheel cannot be built from the checkout.
    """
    source = source_tree()
    if source is None:
        _copy_installed(folder)
    else:
        with tempfile.TemporaryDirectory() as built:
            ZipFile(build_wheel(source, Path(built))).extractall(folder)
    return _distribution(folder).version


def build_wheel(source: Path, folder: Path) -> Path:
    """Build the wheel of a checkout without network and without leaving a trace in it.

    Args:
        source: The checkout.
        folder: Where the wheel goes.

    Returns:
        The wheel's file.

    Raises:
        InputError: The build fails; the message ends with the build's last line.
    """
    with tempfile.TemporaryDirectory() as copy:
        copy_sources(source, Path(copy))
        # setuptools itself instead of pip: an environment need not hold pip.
        command = [sys.executable, "-c", _BUILD, str(folder)]
        build = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    if build.returncode != 0:
        last = (build.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(f"The wheel of '{source}' cannot be built: {last}.")
    return next(folder.glob("*.whl"))


def copy_sources(source: Path, folder: Path) -> None:
    """Copy what a wheel is made of; built in place, removed modules of old builds would return."""
    pyproject = tomllib.loads((source / "pyproject.toml").read_text(encoding="utf-8"))
    shutil.copy(source / "pyproject.toml", folder)
    shutil.copy(source / pyproject["project"]["readme"], folder)
    for package in pyproject["tool"]["setuptools"]["package-dir"].values():
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source / package, folder / package, ignore=ignore)


def _copy_installed(folder: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    for file in _distribution(root).files or ():
        # Scripts and caches are the installation's own; the rest lies below the root.
        if file.parts[0].startswith("tenfold") and "__pycache__" not in file.parts:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / file, folder / file)


def _distribution(root: Path) -> Distribution:
    return next(iter(distributions(name="tenfold", path=[str(root)])))
