"""LCM and LCM-LoRA (arXiv:2310.04378, arXiv:2311.05556): few-step diffusion by distillation.

A latent diffusion model carries noise to an image along an ODE in 20 to 50 guided steps. A latent
consistency model learns to jump from any point of the ODE to its end: one solver step of the
teacher gives two points of a trajectory, and the student's jumps from both must agree. Guidance is
distilled too, so that an image costs 1 to 8 evaluations of the network. LCM-LoRA learns the same in
LoRA layers, which plug into other fine-tunes of the base. README.md says what of this is
reconstructed and what was measured.
"""

from tenfold.platform.registry import Method

_STEPS = (1, 2, 4, 8)
_FULL = {"mode": "full", "lr": 3e-4}

METHOD = Method(
    name="lcm",
    title="Latent consistency distillation, LCM and LCM-LoRA",
    paper="2310.04378",
    trainable="tenfold.algorithms.lcm.loop:LCM",
    config="tenfold.algorithms.lcm.config:LCMConfig",
    tasks=("scenes", "scenes_inked", "scenes_night", "scenes_tilted"),
    task_files=(".parquet", ".arrow", ".tar"),
    task_folders=True,
    path_keys=("teacher", "clip_model", "inception"),
    adjustable=("lr",),
    metric="ode_distance",
    mode="min",
    metrics=(
        "ode_distance",
        "frechet",
        "mmd",
        "accuracy",
        "accuracy_first_shape",
        "accuracy_first_colour",
        "accuracy_second_shape",
        "accuracy_second_colour",
        "accuracy_relation",
        "diversity",
        "evaluations",
        "image_seconds",
        *(f"frechet_{n}_steps" for n in _STEPS),
        *(f"accuracy_{n}_steps" for n in _STEPS),
        "clip_score",
        "fid",
        "train_loss",
        "lr",
        "skipped_images",
        "images_per_second",
        "eta_seconds",
    ),
    optional_metrics=frozenset(
        {
            "clip_score",
            "fid",
            "frechet",
            "mmd",
            "accuracy",
            "accuracy_first_shape",
            "accuracy_first_colour",
            "accuracy_second_shape",
            "accuracy_second_colour",
            "accuracy_relation",
            "diversity",
            "evaluations",
            "image_seconds",
            *(f"frechet_{n}_steps" for n in _STEPS),
            *(f"accuracy_{n}_steps" for n in _STEPS),
        }
    ),
    step_metric="step",
    step_unit="optimizer steps",
    stop={},
    variants={
        "lcm_lora": {},
        "lcm_lora_self": {"target": "student"},
        "lcm_lora_n50": {"solver_steps": 50},
        "lcm_lora_l2": {"loss": "l2"},
        "lcm_lora_untold_w": {"w_min": 5.0, "w_max": 8.0},
        "full": {**_FULL, "w_min": 5.0, "w_max": 8.0, "time_cond_proj_dim": 256},
        "lcf": {**_FULL, "successor": "data"},
    },
    spaces="tenfold.tune_spaces.lcm:SPACES",
    smoke={
        "steps": 6,
        "report_every": 2,
        "batch": 2,
        "images": 16,
        "judge_images": 4,
        "ode_images": 1,
        "solver_steps": 4,
        "sample_steps": (1, 2),
    },
)
