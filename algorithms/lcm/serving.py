"""A distilled student as MLflow serves it.

This file goes into the model and runs where it is loaded, with diffusers and MLflow, without
Tenfold; `tenfold.algorithms.lcm.pyfunc` says what lies beside it.
"""

import io
import json
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import torch
from diffusers import DiffusionPipeline, LCMScheduler, UNet2DConditionModel


class FewSteps(mlflow.pyfunc.PythonModel):
    """Prompts to images in few steps."""

    def load_context(self, context: Any) -> None:
        """Build the teacher's pipeline with the student and the scheduler that it learnt for."""
        student = Path(context.artifacts["student"])
        record = json.loads((student / "lcm.json").read_text())
        teacher = context.model_config.get("teacher") or context.artifacts["teacher"]
        pipeline = DiffusionPipeline.from_pretrained(
            teacher, torch_dtype=torch.float32, use_safetensors=True
        )
        pipeline.scheduler = LCMScheduler.from_config(
            pipeline.scheduler.config,
            original_inference_steps=record["solver_steps"],
            timestep_scaling=record["timestep_scaling"],
        )
        if record["mode"] == "full":
            folder = student / "unet_target"
            pipeline.unet = UNet2DConditionModel.from_pretrained(folder, use_safetensors=True)
        else:
            pipeline.load_lora_weights(student, use_safetensors=True)
        pipeline.set_progress_bar_config(disable=True)
        self.pipeline = pipeline.to("cuda" if torch.cuda.is_available() else "cpu")

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> list[bytes]:
        """One PNG a prompt; `params` are `num_inference_steps`, `guidance_scale` and `seed`."""
        settings = dict(params or {})
        draws = torch.Generator().manual_seed(settings.pop("seed"))
        prompts = model_input["prompt"].tolist()
        images = self.pipeline(prompts, generator=draws, **settings).images
        return [_png(image) for image in images]


def _png(image: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


mlflow.models.set_model(FewSteps())
