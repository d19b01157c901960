"""QSR, a quadratic synchronisation rule for local gradient methods (arXiv:2310.14423, ICLR 2024).

Data-parallel training averages gradients over K workers at every step. Local gradient methods let
each worker take H optimizer steps by itself and then average parameters, which divides the
communication by H; the question is how to choose H. QSR takes H = max(H_base, floor((alpha /
eta_t)^2)): few local steps while the learning rate eta_t is large, many when it is small. The
theory says that this is the longest round for which the noise of the local steps still pulls the
average towards flat minima. README.md says what of this is reconstructed and what was measured.
"""

from tenfold.platform.registry import Method

METHOD = Method(
    name="qsr",
    title="Quadratic synchronisation rule for local gradient workers",
    paper="2310.14423",
    trainable="tenfold.algorithms.qsr.loop:QSR",
    config="tenfold.algorithms.qsr.config:QSRConfig",
    tasks=("digits", "drawings", "stdlib"),
    task_files=(".parquet", ".arrow", ".tar", ".txt", ".txt.gz", ".jsonl", ".jsonl.gz", ".bin"),
    task_folders=True,
    metric="accuracy",
    mode="max",
    metrics=(
        "accuracy",
        "loss",
        "bits_per_byte",
        "train_loss",
        "lr",
        "H",
        "averages",
        "planned_averages",
        "communication_fraction",
        "sent_bytes",
        "model_bytes",
        "averaging_seconds",
        "consensus_distance",
        "worker_accuracy",
        "sharpness",
        "images_per_second",
        "tokens_per_second",
        "eta_seconds",
    ),
    optional_metrics=frozenset(
        {"bits_per_byte", "sharpness", "images_per_second", "tokens_per_second"}
    ),
    step_metric="step",
    step_unit="optimizer steps",
    stop={},
    variants={
        "qsr": {},
        "linear": {"power": 1.0, "alpha": 0.008},
        "cubic": {"power": 3.0, "alpha": 0.00317},
        "constant": {"rule": "constant"},
        "constant_2": {"rule": "constant", "base": 2},
        "constant_8": {"rule": "constant", "base": 8},
        "post_local": {"rule": "post_local"},
        "swap": {"rule": "swap"},
        "data_parallel": {"rule": "data_parallel"},
        "diloco": {"rule": "constant", "base": 8, "outer": "nesterov"},
    },
    path_keys=("model",),
    spaces="tenfold.tune_spaces.qsr:SPACES",
    adjustable=("lr", "alpha", "base", "outer_lr"),
    smoke={
        "steps": 12,
        "report_every": 4,
        "workers_per_process": 2,
        "batch": 4,
        "sizes": {"num_hidden_layers": 1, "hidden_size": 8, "intermediate_size": 8},
    },
)
