"""Config of the training loops whose model stands in `workers.Workers`."""

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

    def check(self) -> None:
        """Refuse what a stack of workers cannot do.

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
