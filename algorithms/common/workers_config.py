"""Config of the training loops whose model stands in `workers.Workers`."""

from typing import Literal

from tenfold.platform.errors import shown
from tenfold.platform.parameters import parameter
from tenfold.platform.training import TrainingConfig


class WorkersConfig(TrainingConfig):
    """How local workers run their model."""

    workers_per_process: int = parameter(
        1, "Local workers that a process holds as a stack", ge=1, le=1_024
    )
    compile: bool = parameter(
        False, "Compile the model by torch.compile; what cannot be compiled runs as it is"
    )
    gradient_checkpointing: bool = parameter(
        False, "Compute activations twice, to keep fewer in memory"
    )

    sharding: Literal["none", "fsdp"] = parameter(
        "none",
        "fsdp: parameters, gradients and optimizer state are divided among the Ray Train workers "
        "(FSDP2), for data parallel training of a model that does not fit",
    )

    def check(self) -> None:
        """Refuse what a stack of workers or a divided model cannot do.

        Raises:
            ValueError: One sentence with the field, its value and what would be right.
        """
        super().check()
        for name in ("compile", "gradient_checkpointing"):
            if getattr(self, name) and self.workers_per_process > 1:
                raise ValueError(
                    f"Bad value true for '{name}': it is for single workers, so give false or "
                    "'workers_per_process' 1."
                )
        if self.sharding == "fsdp":
            self._check_sharding()

    def _check_sharding(self) -> None:
        """Refuse to divide a model that is not one, or whose gradients FSDP does not average."""
        wanted = {
            "workers_per_process": (self.workers_per_process == 1, "1, one model a process"),
            "workers": (self.workers > 1, "2 or more, among whom it is divided"),
            "compile": (not self.compile, "false, it is not compiled"),
            "precision": (self.precision != "fp16", "fp32 or bf16, whose loss needs no scale"),
            "gpus_per_worker": (
                self.gpus_per_worker in (0, 1),
                "0 or 1, whole cards by NCCL",
            ),
        }
        for name, (right, other) in wanted.items():
            if not right:
                raise ValueError(
                    f"Bad value {shown(getattr(self, name))} for '{name}': with 'sharding' fsdp "
                    f"give {other}."
                )
