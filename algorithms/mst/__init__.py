"""MST, mixed sparsity training (arXiv:2408.11746, TMLR 2025): pretraining with fewer FLOPs.

A language model starts dense, becomes ultra-sparse for most of the training, and is dense again at
its end (sparsity variation). While it is sparse, every few steps the weakest connections give way
to others, chosen by the size of their gradient and at random (mixed growing), and attention follows
a sparse pattern (hybrid sparse attention). README.md says what of this is reconstructed and what
was measured.
"""

from tenfold.platform.registry import Method

_KINDS = ("attn_c_attn", "attn_c_proj", "mlp_c_fc", "mlp_c_proj")
# 1.65 times the steps of `dense`, at a quarter of its FLOPs.
_LONG = {"steps": 660}
_DENSE = {"sparsity": ((0.0, 0.0),), "attention": "dense", "growth": "none"}
# The small dense model with MST's attention pattern, and as many more steps as that saves.
_SMALL_HSA = {"sparsity": ((0.0, 0.0),), "growth": "none", "n_embd": 64, "steps": 1_467}
# Constant sparsity at the FLOPs of `mst_long`: with dense attention, and with MST's pattern, which
# leaves FLOPs for more weights.
_CONSTANT = {**_LONG, "sparsity": ((0.0, 0.94),), "attention": "dense"}
_CONSTANT_HSA = {**_LONG, "sparsity": ((0.0, 0.9),)}

METHOD = Method(
    name="mst",
    title="Mixed sparsity training of GPT-2",
    paper="2408.11746",
    trainable="tenfold.algorithms.mst.trial:MST",
    config="tenfold.algorithms.mst.config:MSTConfig",
    tasks=("stdlib",),
    task_files=(".txt", ".txt.gz", ".jsonl", ".jsonl.gz", ".parquet", ".arrow", ".bin"),
    task_folders=True,
    path_keys=("model", "tokenizer", "init_from"),
    metric="loss",
    mode="min",
    metrics=(
        "loss",
        "perplexity",
        "bits_per_byte",
        "accuracy",
        "train_loss",
        "lr",
        "sparsity",
        *(f"sparsity_{kind}" for kind in _KINDS),
        "sparsity_head",
        "active_connections",
        "ever_active",
        "churn",
        "restored_norm_share",
        "restored_loss_gap",
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
    # The first is of texts, not of tokens alone, the second of a run's last report, the others of
    # GPT-2.
    optional_metrics=frozenset(
        {"bits_per_byte", "restored_loss_gap", *(f"sparsity_{kind}" for kind in _KINDS)}
    ),
    step_metric="step",
    step_unit="optimizer steps",
    stop={},
    variants={
        "mst": {},
        "mst_long": _LONG,
        # Weights come back earlier and at the dense model's rate, in fewer steps for as many FLOPs.
        "mst_rewarmed": {"steps": 530, "restoration": 0.85, "restoration_lr": 1e-3},
        "dense": {**_DENSE, "lr": 1e-3},
        "tiny_dense": {**_LONG, **_DENSE, "n_embd": 92, "lr": 2e-3},
        "small_dense": {**_DENSE, "n_embd": 64, "lr": 4e-3, "steps": 1_290},
        "small_dense_hsa": {**_SMALL_HSA, "lr": 4e-3},
        "static": {**_CONSTANT, "growth": "none"},
        "set": {**_CONSTANT, "growth": "random"},
        "rigl": {**_CONSTANT, "growth": "gradient"},
        "mest": {**_CONSTANT, "growth": "random", "drop": "mest"},
        "dense_hsa": {"sparsity": ((0.0, 0.0),), "growth": "none", "lr": 1e-3},
        "set_hsa": {**_CONSTANT_HSA, "growth": "random"},
        "rigl_hsa": {**_CONSTANT_HSA, "growth": "gradient"},
        "mst_without_sv": _CONSTANT_HSA,
        "mst_without_mg": {**_LONG, "growth": "random"},
        "mst_without_hsa": {**_LONG, "attention": "dense"},
        "mst_qsr": {
            **_LONG,
            "sync": "quadratic",
            "workers_per_process": 4,
            "batch": 2,
            "base": 8,
        },
    },
    spaces="tenfold.tune_spaces.mst:SPACES",
    adjustable=("lr", "zeta", "delta", "grad_rand_ratio", "growth"),
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
