"""What the machine of a trial does meanwhile, by MLflow's monitors and under MLflow's names.

MLflow's own thread would write into the active run of the process; a trial's process has none, and
its records go by the driver's journal. So the monitors are asked once for each result.
"""

from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow.system_metrics.metrics.base_metrics_monitor import BaseMetricsMonitor

SYSTEM = "system"
"""The key of a result that holds them; MLflow's UI shows ``system/...`` on a page of its own."""


class Machine:
    """CPU, memory, disk, network and NVIDIA GPUs of the machine that this process runs on.

    The CPU's use is the mean since the last call, the network's traffic the sum since the start.
    GPUs are left out where NVIDIA's library finds none.
    """

    def __init__(self) -> None:
        # Imported where they are asked for: every trial's process has this module.
        from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
        from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
        from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
        from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

        self._monitors: list[BaseMetricsMonitor] = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
        with suppress(RuntimeError):
            self._monitors.append(GPUMonitor())
        self.metrics()

    def metrics(self) -> dict[str, float]:
        """Name, as ``cpu_utilization_percentage``, -> value in the unit that it ends in."""
        found: dict[str, float] = {}
        for monitor in self._monitors:
            monitor.collect_metrics()
            found |= monitor.aggregate_metrics()
            monitor.clear_metrics()
        return found
