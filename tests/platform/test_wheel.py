"""What ships is what the tree holds: the wheel, and the folder that goes to a cluster."""

import os
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

from tenfold.platform import wheel

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("platform", "algorithms", "envs", "tune_spaces")


@pytest.fixture(scope="module")
def wheel_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheel.build_wheel(ROOT, tmp_path_factory.mktemp("wheel"))


def _tree() -> set[str]:
    """Every file of the package folders as the wheel should name it."""
    files = (file for package in PACKAGES for file in (ROOT / package).rglob("*"))
    return {
        f"tenfold/{file.relative_to(ROOT).as_posix()}"
        for file in files
        if file.is_file() and "__pycache__" not in file.parts and file.suffix != ".md"
    }


def test_wheel_holds_the_tree_and_nothing_else(wheel_file: Path) -> None:
    names = set(zipfile.ZipFile(wheel_file).namelist())
    modules = {name for name in names if ".dist-info/" not in name}
    assert modules == _tree()


def test_wheel_lists_the_methods_and_commands(wheel_file: Path) -> None:
    (name,) = [n for n in zipfile.ZipFile(wheel_file).namelist() if n.endswith("entry_points.txt")]
    declared = ConfigParser()
    declared.read_string(zipfile.ZipFile(wheel_file).read(name).decode())
    methods, commands = declared["tenfold.methods"], declared["tenfold.commands"]
    for method, target in methods.items():
        assert target == f"tenfold.algorithms.{method}:METHOD"
    packages = (ROOT / "algorithms").glob("*/__init__.py")
    declaring = {path.parent.name for path in packages if "\nMETHOD = " in path.read_text()}
    assert declaring == set(methods)
    modules = {f"{target.partition(':')[0].replace('.', '/')}.py" for target in commands.values()}
    assert modules <= set(zipfile.ZipFile(wheel_file).namelist())


def test_a_forgotten_package_is_left_out(tmp_path: Path) -> None:
    # Shows that the comparison above can fail: setuptools takes listed packages only.
    source = tmp_path / "source"
    source.mkdir()
    wheel.copy_sources(ROOT, source)
    (source / "algorithms" / "forgotten").mkdir()
    (source / "algorithms" / "forgotten" / "__init__.py").write_text("")
    built = tmp_path / "built"
    built.mkdir()
    names = zipfile.ZipFile(wheel.build_wheel(source, built)).namelist()
    assert "tenfold/algorithms/forgotten/__init__.py" not in names


def test_build_leaves_the_checkout_alone(tmp_path: Path) -> None:
    source, built = tmp_path / "source", tmp_path / "built"
    source.mkdir()
    built.mkdir()
    wheel.copy_sources(ROOT, source)
    before = sorted(source.rglob("*"))
    wheel.build_wheel(source, built)
    assert sorted(source.rglob("*")) == before


def test_broken_checkout_is_refused_in_one_sentence(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    wheel.copy_sources(ROOT, source)
    text = (source / "pyproject.toml").read_text()
    (source / "pyproject.toml").write_text(text.replace("[project]\n", "[project]\nnothing = 1\n"))
    with pytest.raises(ValueError, match=r"cannot be built: .*\.$") as refusal:
        wheel.build_wheel(source, tmp_path)
    assert "\n" not in str(refusal.value)


def test_platform_is_still_the_standard_library(tmp_path: Path) -> None:
    assert not (ROOT / "platform" / "__init__.py").exists()
    code = "import platform; print(platform.__file__, platform.python_version())"
    for folder in (ROOT, _laid_out(tmp_path)):
        printed = subprocess.run(
            [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
        ).stdout.split()
        assert Path(printed[0]) == Path(os.__file__).parent / "platform.py"
        assert printed[1] == ".".join(map(str, sys.version_info[:3]))


def test_laid_out_version_wins_over_the_installed_one(tmp_path: Path) -> None:
    folder = _laid_out(tmp_path)
    errors = folder / "tenfold" / "platform" / "errors.py"
    errors.write_text(errors.read_text() + "\nMARK = 'shipped'\n")
    metadata = next(folder.glob("tenfold-*.dist-info")) / "METADATA"
    metadata.write_text(metadata.read_text().replace("\nVersion: ", "\nVersion: 999."))
    code = (
        "from importlib.metadata import version\n"
        "from tenfold import algorithms, envs, tune_spaces\n"
        "from tenfold.platform import errors, registry\n"
        "print(errors.MARK, version('tenfold'), *registry.methods())\n"
        "for module in (algorithms, envs, tune_spaces, errors): print(module.__file__)"
    )
    # As Ray runs a job: its folder is the current one and first on PYTHONPATH.
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    first, *files = run.stdout.splitlines()
    assert first.split()[0] == "shipped"
    assert first.split()[1].startswith("999.")
    assert "softmw" in first.split()[2:]
    assert all(Path(file).is_relative_to(folder) for file in files)


def test_an_installation_lays_itself_out(tmp_path: Path, wheel_file: Path) -> None:
    site, folder = tmp_path / "site", tmp_path / "job"
    folder.mkdir()
    zipfile.ZipFile(wheel_file).extractall(site)
    code = "import sys; from pathlib import Path; from tenfold.platform import wheel; "
    code += "print(wheel.source_tree(), wheel.lay_out(Path(sys.argv[1])))"
    run = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == ["None", wheel_file.name.split("-")[1]]
    assert _content(folder) == _content(site)


def _laid_out(tmp_path: Path) -> Path:
    folder = tmp_path / "laid_out"
    folder.mkdir()
    wheel.lay_out(folder)
    return folder


def _content(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }
