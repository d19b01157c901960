"""Rules that the sources keep, found by reading them: what could run code that a file holds."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("platform", "algorithms", "envs", "tune_spaces", "experiments", "benchmarks", "docs")

# Place -> why it may stand there.
ALLOWED = {
    ("platform/train_workers.py", "cloudpickle"): "a loop on its way to Ray Train's workers, which "
    "this very process starts",
    ("platform/launch.py", "pickle"): "its error, when Tune's record of this user's own run is cut",
    ("platform/yaml_text.py", "yaml.load"): "with a subclass of SafeLoader, which makes texts, "
    "numbers, lists and mappings alone",
    ("platform/wheel.py", "extractall"): "a wheel that this process has just built",
    ("envs/data/encoded_images.py", "tarfile.open"): "a shard of images, whose members are read "
    "into memory, a few and of bounded size, and never extracted",
    ("algorithms/lcm/judging.py", "torch.jit.load"): "the user's own Inception, as TorchScript: "
    "SECURITY.md says what that may do",
}

ALWAYS = (
    *("pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"),
    *("eval", "exec", "compile", "os.system", "os.popen", "yaml.unsafe_load", "yaml.full_load"),
    *("yaml.load", "torch.jit.load", "torch.hub.load", "tarfile.open", "pd.read_pickle"),
    "shutil.unpack_archive",
)


def findings(source: str) -> Iterator[str]:
    """What in a source could run code that a file or an archive holds."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None) or ""
            names = {alias.name.split(".")[0] for alias in node.names} | {module.split(".")[0]}
            yield from (name for name in names if name in ALWAYS)
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        options = {each.arg: ast.unparse(each.value) for each in node.keywords}
        if called in ALWAYS:
            yield called
        if called.endswith(".extractall"):
            yield "extractall"
        if called == "torch.load" and options.get("weights_only") != "True":
            yield called
        if options.get("allow_pickle", "False") != "False":
            yield "allow_pickle"
        if options.get("shell", "False") != "False":
            yield "shell=True"
        if options.get("trust_remote_code", "False") != "False":
            yield "trust_remote_code"
        holds_weights = not any(word in called for word in ("Config", "Tokenizer", "Processor"))
        safely = options.get("use_safetensors") == "True"
        if called.endswith(".from_pretrained") and holds_weights and not safely:
            yield "from_pretrained without use_safetensors"


def test_nothing_that_is_read_can_run() -> None:
    found = {
        (str(path.relative_to(ROOT)), finding)
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.py"))
        for finding in findings(path.read_text())
    }
    assert found == set(ALLOWED), found ^ set(ALLOWED)


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from ray import cloudpickle",
        "import dill.settings",
        "eval(text)",
        "torch.load(file)",
        "torch.load(file, weights_only=False)",
        "np.load(file, allow_pickle=True)",
        "yaml.load(text, Loader=yaml.Loader)",
        "subprocess.run(command, shell=True)",
        "archive.extractall(folder)",
        "UNet.from_pretrained(folder)",
    ],
)
def test_what_could_run_is_found(source: str) -> None:
    assert list(findings(source))
