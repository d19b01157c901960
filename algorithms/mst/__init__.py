"""MST, mixed sparsity training (arXiv:2408.11746, TMLR 2025): a quarter of pretraining's FLOPs.

A GPT-2 starts dense, becomes ultra-sparse for most of the training, and is dense again at its end
(sparsity variation). While it is sparse, every few steps the weakest connections give way to
others, chosen by the size of their gradient and at random (mixed growing), and attention follows a
sparse pattern (hybrid sparse attention). README.md says what of this is reconstructed and what was
measured.
"""

from tenfold.platform.registry import Method

_KINDS = ("attn_c_attn", "attn_c_proj", "mlp_c_fc", "mlp_c_proj")
# Constant sparsity at the FLOPs of the default schedule: 0.9 with dense attention, 0.8 without.
_CONSTANT = {"sparsity": ((0.0, 0.9),), "attention": "dense"}

METHOD = Method(
    name="mst",
    title="Mixed sparsity training of GPT-2",
    paper="2408.11746",
    trainable="tenfold.algorithms.mst.loop:MST",
    config="tenfold.algorithms.mst.config:MSTConfig",
    tasks=("stdlib",),
    task_files=(".txt", ".parquet"),
    task_folders=True,
    metric="loss",
    mode="min",
    metrics=(
        "loss",
        "bits_per_byte",
        "accuracy",
        "train_loss",
        "lr",
        "sparsity",
        *(f"sparsity_{kind}" for kind in _KINDS),
        "active_connections",
        "ever_active",
        "churn",
        "attention_kept",
        "flops",
        "flops_blocks",
        "flop_reduction",
        "flop_reduction_blocks",
        "communication_fraction",
        "sent_bytes",
        "tokens_per_second",
        "eta_seconds",
    ),
    step_metric="step",
    step_unit="optimizer steps",
    stop={},
    variants={
        "mst": {},
        "dense": {"sparsity": ((0.0, 0.0),), "attention": "dense", "growth": "none"},
        "tiny_dense": {
            "n_embd": 60,
            "sparsity": ((0.0, 0.0),),
            "attention": "dense",
            "growth": "none",
        },
        "static": {**_CONSTANT, "growth": "none"},
        "set": {**_CONSTANT, "growth": "random"},
        "rigl": {**_CONSTANT, "growth": "gradient"},
        "mest": {**_CONSTANT, "growth": "random", "drop": "mest"},
        "mst_without_sv": {"sparsity": ((0.0, 0.8),)},
        "mst_without_mg": {"growth": "random"},
        "mst_without_hsa": {"attention": "dense"},
        "mst_qsr": {"sync": "quadratic", "workers_per_process": 4, "batch": 2},
    },
    spaces="tenfold.tune_spaces.mst:SPACES",
    smoke={
        "steps": 12,
        "report_every": 4,
        "delta": 2,
        "n_layer": 1,
        "n_head": 1,
        "n_embd": 16,
        "context": 16,
        "attention_width": 4,
        "attention_stride": 4,
        "batch": 2,
        "validation_windows": 4,
    },
)
