"""A distilled student as a model of `mlflow.pyfunc`, which `tenfold export` logs."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

from tenfold.algorithms.lcm.folder import EMBEDDED, Record

_SCRIPT = Path(__file__).with_name("serving.py")
_SERVED_WITH = ("diffusers", "mlflow", "pandas", "peft", "torch", "transformers")


def pyfunc_of(student: Path) -> dict[str, Any]:
    """A student's folder as `mlflow.pyfunc` takes a model, see `tenfold.algorithms.lcm.serving`.

    The embedded teacher goes into the model; any other, which may be large, is named by its path,
    for which another may be given on loading (``model_config={"teacher": ...}``).
    """
    record = Record.read(student)
    assert record is not None  # `tenfold.algorithms.lcm.export` wrote it
    artifacts, config = {"student": str(student)}, {}
    if record.teacher == EMBEDDED:
        artifacts["teacher"] = str(record.teacher_folder)
    else:
        config["teacher"] = record.teacher
    settings = (
        ParamSpec("num_inference_steps", DataType.integer, 4),
        ParamSpec("guidance_scale", DataType.double, record.guidance_scale),
        ParamSpec("seed", DataType.integer, 0),
    )
    return {
        "python_model": str(_SCRIPT),
        "artifacts": artifacts,
        "model_config": config,
        "signature": ModelSignature(
            inputs=Schema([ColSpec(DataType.string, "prompt")]),
            outputs=Schema([ColSpec(DataType.binary, "image")]),
            params=ParamSchema(list(settings)),
        ),
        "pip_requirements": [f"{name}=={version(name)}" for name in _SERVED_WITH],
    }
