"""The files that start clusters are valid and agree with the installed Ray and our commands."""

import re
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from tenfold.platform.cli import app

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = ROOT / "cluster.yaml"
DOCKERFILE = ROOT / "docs/kuberay/Dockerfile"
AWS_SKETCH = "# provider: {type: aws"


def _on_premise() -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(CLUSTER.read_text())
    return config


def _aws() -> dict[str, Any]:
    """The file with the sketch at its end uncommented."""
    text = CLUSTER.read_text()
    sketch = text[text.index(AWS_SKETCH) :].splitlines()
    replaced: dict[str, Any] = yaml.safe_load("\n".join(line[2:] for line in sketch))
    return {**_on_premise(), **replaced}


@pytest.mark.parametrize("config", [_on_premise(), _aws()], ids=["on-premise", "aws"])
def test_ray_up_takes_cluster_yaml(config: dict[str, Any]) -> None:
    validate_config(prepare_config(config))


def test_ray_up_refuses_an_unknown_field() -> None:
    # Shows that the validation above is not a formality.
    with pytest.raises(Exception, match="head_ips"):
        validate_config(prepare_config({**_on_premise(), "head_ips": ["192.0.2.10"]}))


def test_cluster_yaml_starts_every_node_with_a_token_and_the_environment() -> None:
    config = _on_premise()
    for commands in (config["head_start_ray_commands"], config["worker_start_ray_commands"]):
        assert "RAY_AUTH_MODE=token" in commands[-1]
        assert "PATH=$HOME/tenfold/.venv/bin:$PATH" in commands[-1]
    assert "--dashboard-host=127.0.0.1" in config["head_start_ray_commands"][-1]
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"


def _ray_job() -> dict[str, Any]:
    manifest: dict[str, Any] = yaml.safe_load((ROOT / "docs/kuberay/rayjob.yaml").read_text())
    return manifest


def _containers() -> list[dict[str, Any]]:
    cluster = _ray_job()["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [one for group in groups for one in group["template"]["spec"]["containers"]]


def test_ray_job_runs_the_installed_ray() -> None:
    ray = version("ray")
    assert _ray_job()["spec"]["rayClusterSpec"]["rayVersion"] == ray
    images = {container["image"] for container in _containers()}
    assert images == {f"registry.example.com/tenfold:{version('tenfold')}-ray{ray}"}
    (base,) = re.findall(r"^ARG BASE=([\d.]+)-", DOCKERFILE.read_text(), re.MULTILINE)
    assert base == ray


def _linted(file: Path) -> subprocess.CompletedProcess[str]:
    hadolint = Path(sys.executable).with_name("hadolint")
    return subprocess.run([hadolint, file], capture_output=True, text=True, check=False)


def test_the_linter_of_dockerfiles_has_nothing_to_say(tmp_path: Path) -> None:
    assert _linted(DOCKERFILE).returncode == 0, _linted(DOCKERFILE).stdout
    careless = DOCKERFILE.read_text().replace("--no-cache-dir ", "")
    (tmp_path / "Dockerfile").write_text(careless)
    assert "DL3042" in _linted(tmp_path / "Dockerfile").stdout


def test_workers_with_gpus_start_when_a_trial_asks() -> None:
    cluster = _ray_job()["spec"]["rayClusterSpec"]
    assert cluster["enableInTreeAutoscaling"] is True
    groups = {group["groupName"]: group for group in cluster["workerGroupSpecs"]}
    (container,) = groups["gpu-workers"]["template"]["spec"]["containers"]
    for kind in ("requests", "limits"):  # Kubernetes takes no other than equal numbers of GPUs
        assert container["resources"][kind]["nvidia.com/gpu"] == 1
    assert groups["gpu-workers"]["minReplicas"] == _aws_types()["gpu_workers"]["min_workers"] == 0


def _aws_types() -> dict[str, Any]:
    types: dict[str, Any] = _aws()["available_node_types"]
    return types


def test_ray_job_asks_for_a_token() -> None:
    manifest = _ray_job()
    assert (manifest["apiVersion"], manifest["kind"]) == ("ray.io/v1", "RayJob")
    assert manifest["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}


def test_ray_job_mounts_what_it_names() -> None:
    cluster = _ray_job()["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        named = {volume["name"] for volume in pod["volumes"]}
        mounts = {m["name"]: m["mountPath"] for m in pod["containers"][0]["volumeMounts"]}
        assert named == set(mounts)
        env = {entry["name"]: entry["value"] for entry in pod["containers"][0]["env"]}
        assert env["TENFOLD_RUNS"] == mounts["runs"]
        assert mounts["shared-memory"] == "/dev/shm"
    assert Path(_ray_job()["spec"]["entrypoint"].split()[-1]).parent == Path(mounts["experiment"])


def _cluster_doc() -> str:
    return (ROOT / "docs/cluster.md").read_text()


def _documented_commands() -> list[str]:
    comments = [line.lstrip("# ") for line in CLUSTER.read_text().splitlines()]
    lines = [*comments, *_cluster_doc().splitlines(), _ray_job()["spec"]["entrypoint"]]
    return [line for line in lines if line.startswith(("tenfold run", "tenfold submit"))]


@pytest.mark.parametrize("line", _documented_commands())
def test_documented_commands_are_ours(line: str) -> None:
    name, *arguments = shlex.split(line)[1:]
    group: Any = typer.main.get_command(app)
    parsed = group.commands[name].make_context(name, arguments)
    assert str(parsed.params.get("target") or parsed.params["file"]).endswith(".yaml")


def test_documented_experiments_exist() -> None:
    files = set(re.findall(r"experiments/[\w/]+\.yaml", CLUSTER.read_text() + _cluster_doc()))
    assert files
    assert all((ROOT / file).is_file() for file in files)
