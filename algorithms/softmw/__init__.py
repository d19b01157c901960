"""Queue scheduling by adversarial bandits: SoftMW and SSMW (arXiv:2303.01745, IEEE/ACM ToN 2024).

K queues share one server whose speed for each queue changes over time, in no known way. In each
slot the scheduler sees the queue lengths, serves one queue, and learns the service that this one
got: no rates, no distributions, nothing about the others. MaxWeight would serve the queue with the
largest length times mean service; without the means that is an adversarial bandit whose rewards
grow with the queues. SoftMW plays it by EXP3.S+, exponential weights whose rates follow the queue
lengths, and stays stable wherever some slowly changing randomised policy is; SSMW does so with a
sliding window. README.md says what of this is reconstructed and what was measured.
"""

from tenfold.algorithms.softmw.registered import scheduler_names
from tenfold.envs.queues.names import SCENARIO_NAMES
from tenfold.platform.registry import Method

METHOD = Method(
    name="softmw",
    title="Queue scheduling by adversarial bandits (SoftMW, SSMW)",
    paper="2303.01745",
    trainable="tenfold.algorithms.softmw.algorithm:SoftMW",
    config="tenfold.algorithms.softmw.config:SoftMWConfig",
    tasks=SCENARIO_NAMES,
    task_files=(".csv", ".csv.gz", ".parquet", ".yaml", ".yml"),
    task_companions="tenfold.envs.queues.scenarios:companions",
    metric="backlog_mean",
    mode="min",
    cumulative=True,
    metrics=(
        "backlog_mean",
        "backlog_now",
        "backlog_max",
        "cost_mean",
        "slope",
        "slope_low",
        "slope_high",
        "delay_mean",
        "delay_p99",
        "delay_little",
        "recovery_mean",
        "wasted",
        "drift",
        "one_world",
        *(f"service_share_{queue}" for queue in range(8)),
        *(f"delay_mean_{queue}" for queue in range(8)),
    ),
    # A record has no interval of its slope, a replica in which no work has left yet no delays.
    optional_metrics=frozenset(
        {
            *("slope", "slope_low", "slope_high", "recovery_mean"),
            *("delay_mean", "delay_p99", "delay_little", "one_world"),
            *(f"service_share_{queue}" for queue in range(8)),
            *(f"delay_mean_{queue}" for queue in range(8)),
        }
    ),
    one_world="one_world",
    step_metric="slots",
    step_unit="slots",
    stop={},
    variants={name: {"scheduler": name} if name != "softmw" else {} for name in scheduler_names()},
    spaces="tenfold.tune_spaces.softmw:SPACES",
    adjustable=("constants.c_eta", "constants.delta", "constants.B", "constants.gamma"),
    smoke={
        "replicas": 4,
        "replicas_per_item": 2,
        "slots_per_iteration": 500,
        "horizon": 5_000,
        "evaluation_duration": 500,
    },
)
