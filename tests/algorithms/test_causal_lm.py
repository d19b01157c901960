"""Other language models than our GPT-2, as users name them, in `mst` and in `qsr`.

About 6 processor seconds.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from tenfold.algorithms.common.causal_lm import NamedModel
from tenfold.algorithms.common.language_model import judge, next_token_loss
from tenfold.algorithms.mst import METHOD
from tenfold.algorithms.mst.attention import pattern_mask, set_pattern, takes_patterns
from tenfold.algorithms.mst.config import MSTConfig
from tenfold.algorithms.mst.flops import Sizes, step_flops
from tenfold.algorithms.mst.loop import MSTLoop
from tenfold.algorithms.mst.masks import masked_layers
from tenfold.algorithms.mst.trial import MST
from tenfold.algorithms.qsr import METHOD as QSR
from tenfold.algorithms.qsr.config import QSRConfig
from tenfold.algorithms.qsr.loop import QSRLoop
from tenfold.platform.configuration import build_config
from tenfold.platform.errors import InputError
from tenfold.platform.training import FIXED_FILE

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 16,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
TIED = {**LLAMA, "tie_word_embeddings": True}
NEOX: dict[str, Any] = {
    "model_type": "gpt_neox",
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
GPT2: dict[str, Any] = {"model_type": "gpt2", "n_embd": 16, "n_layer": 1, "n_head": 2}
MODELS = pytest.mark.parametrize("model", [LLAMA, TIED, NEOX], ids=["llama", "tied", "gpt_neox"])

TABLE = ((0.0, 0.0), (0.1, 0.5), (0.2, 0.9), (0.7, 0.5), (0.9, 0.0))
OURS = ("n_layer", "n_head", "n_embd")
TINY: dict[str, Any] = {
    **{key: value for key, value in METHOD.smoke.items() if key not in OURS},
    "steps": 20,
    "report_every": 10,
    "sparsity": TABLE,
}


def make_loop(**fields: Any) -> MSTLoop:
    config = MSTConfig(**{**TINY, **fields})
    config.check()
    return MSTLoop(config)


def made(model: dict[str, Any], vocabulary: int = 50, context: int = 24) -> PreTrainedModel:
    torch.manual_seed(0)
    return NamedModel.read(model, "model").make(vocabulary, context)


@MODELS
def test_mst_trains_any_causal_model_and_leaves_a_stock_one(
    model: dict[str, Any], tmp_path: Path
) -> None:
    loop = make_loop(model=model)
    assert loop.config.n_embd == 16
    names = set(masked_layers(loop.workers.module))
    assert len(names) == {"llama": 14, "gpt_neox": 8}[model["model_type"]]
    loop.train(10)
    assert loop.masks.active == pytest.approx(0.1 * loop.masks.size, rel=0.02)
    for name, weight in loop.weights.items():
        assert bool((weight[~loop.masks.masks[name]] == 0).all()), name
    assert loop.attention == "sparse"
    metrics = loop.train(20)
    assert metrics["sparsity"] == 0
    assert metrics["flop_reduction_blocks"] > 1.5
    loop.save(tmp_path)
    stated = AutoConfig.from_pretrained(tmp_path / "model").to_dict()
    assert stated["model_type"] == model["model_type"]
    assert stated["max_position_embeddings"] == 16
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "model", use_safetensors=True).eval()
    found = judge(plain, loop.corpus, 16, loop.config.validation_windows)
    assert found["loss"] == pytest.approx(metrics["loss"], abs=1e-5)
    assert len(AutoTokenizer.from_pretrained(tmp_path / "model")) == 256
    (tmp_path / FIXED_FILE).write_text(json.dumps({"context": 16}))
    few = {"validation_windows": loop.config.validation_windows, "model": model}
    other = tmp_path / "other.txt"
    other.write_text("def half(x):\n    return x / 2\n" * 20)
    assert 0 < MST.evaluate_elsewhere(tmp_path, str(other), few)["loss"] < 10


@pytest.mark.parametrize("model", [TIED, NEOX], ids=["tied", "gpt_neox"])
def test_a_masked_head_is_the_embeddings_where_they_are_one(model: dict[str, Any]) -> None:
    loop = make_loop(model=model, mask_head=True)
    metrics = loop.train(10)
    name = loop.sizes.head
    assert name == ("model.embed_tokens" if model is TIED else "lm_head")
    module = loop.workers.module
    assert module.get_output_embeddings().weight is loop.weights[name]
    tied = module.get_input_embeddings().weight is loop.weights[name]
    assert tied == (model is TIED)
    assert 0.5 < metrics["sparsity_head"] < 1


@MODELS
def test_a_dense_models_flops_are_torchs(model: dict[str, Any]) -> None:
    module = made(model, vocabulary=96)
    module.set_attn_implementation("eager")
    tokens = torch.randint(0, 96, (3, 17), generator=torch.Generator().manual_seed(0))
    with FlopCounterMode(display=False) as counter:
        next_token_loss(module(input_ids=tokens[:, :-1]).logits, tokens).backward()
    sizes = Sizes.of(module)
    found = step_flops(sizes, 3, 16, dict.fromkeys(sizes.linear, 1.0), 1.0, topology_step=False)
    assert found.total == counter.get_total_flops()


@MODELS
def test_a_pattern_stands_in_for_the_models_own_attention(model: dict[str, Any]) -> None:
    module = made(model).eval()
    assert takes_patterns(module)
    tokens = torch.randint(0, 50, (2, 24), generator=torch.Generator().manual_seed(1))
    stock = module(input_ids=tokens).logits
    set_pattern(module, pattern_mask("dense", 24, width=1, stride=1))
    torch.testing.assert_close(module(input_ids=tokens).logits, stock, rtol=1e-4, atol=1e-5)
    set_pattern(module, pattern_mask("local", 24, width=3, stride=1))
    local = module(input_ids=tokens).logits
    changed = tokens.clone()
    changed[:, 10] = (changed[:, 10] + 1) % 50
    moved = (module(input_ids=changed).logits - local).abs().amax(dim=(0, 2)) > 1e-7
    assert moved.nonzero().flatten().tolist() == [10, 11, 12, 13, 14]
    set_pattern(module, None)
    torch.testing.assert_close(module(input_ids=tokens).logits, stock)


@pytest.mark.parametrize(
    "make",
    [
        lambda: make_loop(model=TIED),
        lambda: make_loop(model=NEOX, **{**METHOD.variants["mst_qsr"], **TINY, "base": 2}),
        lambda: QSRLoop(qsr(model=LLAMA)),
    ],
    ids=["mst", "mst of local workers", "qsr"],
)
def test_a_resumed_run_is_the_straight_one(
    make: Callable[[], MSTLoop | QSRLoop], tmp_path: Path
) -> None:
    straight, resumed = make(), make()
    straight.advance()
    straight.save(tmp_path)
    resumed.load(tmp_path)
    expected, found = straight.advance(), resumed.advance()
    for key, value in expected.items():
        if not key.endswith(("_seconds", "_per_second")):
            assert found[key] == value, key


def qsr(task: str = "stdlib", **fields: Any) -> QSRConfig:
    few = {key: value for key, value in QSR.smoke.items() if key != "sizes"}
    given = {**few, "context": 16, "validation_windows": 4, **fields}
    config = build_config(QSR, task, "qsr", given, seed=0)
    assert isinstance(config, QSRConfig)
    return config


def test_a_stack_of_llamas_has_the_losses_of_single_ones(tmp_path: Path) -> None:
    loop = QSRLoop(qsr(model=LLAMA, sizes={"num_hidden_layers": 1}))
    loop.train(3)
    batch = loop.batches(3)
    losses = loop.workers.losses(batch).detach()
    for k in range(2):
        with loop.workers.standing(loop.workers.of(k)) as module:
            alone = loop.task.loss(module, {"tokens": batch["tokens"][k]})
        torch.testing.assert_close(losses[k], alone)
    assert float(losses[0]) != float(losses[1])
    loop.save(tmp_path)
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert saved.config.num_hidden_layers == 1
    assert len(AutoTokenizer.from_pretrained(tmp_path / "model")) == 256


def test_runs_go_on_from_weights_of_any_model(tmp_path: Path) -> None:
    text = tmp_path / "own.txt"
    text.write_text("".join(f"{i} is half of {2 * i}\n" for i in range(600)))
    before = make_loop(model=TIED, task=str(text), context=8, attention="dense")
    before.train(3)
    before.save(tmp_path)
    folder = str(tmp_path / "model")
    few = {name: TINY[name] for name in ("steps", "validation_windows", "batch")}
    for key in ("model", "init_from"):
        config = MSTConfig(**{**few, "task": str(text), key: folder, "sparsity": TABLE})
        config.check()
        assert (config.n_layer, config.n_head, config.n_embd, config.context) == (2, 4, 16, 8)
        assert (config.vocabulary, config.tokenizer) == (256, f"{folder}/tokenizer.json")
        assert MSTLoop(config).evaluate() == before.evaluate()
    local = QSRLoop(qsr(str(text), model=folder, context=8))
    assert local.config.tokenizer == f"{folder}/tokenizer.json"
    assert local.evaluate()["loss"] == pytest.approx(before.evaluate()["loss"], abs=1e-6)


def test_a_config_alone_is_an_untrained_model(tmp_path: Path) -> None:
    stated = {**NEOX, "vocab_size": 300, "hidden_dropout": 0.1}
    AutoConfig.for_model(**stated).save_pretrained(tmp_path)
    config = MSTConfig(**TINY, model=str(tmp_path / "config.json"))
    config.check()
    made = MSTLoop(config).workers.module.config
    # What the file states is so; only dropout is off, or a run were no function of its seed.
    assert (made.vocab_size, made.max_position_embeddings) == (300, 2048)
    assert made.hidden_dropout == 0
    other = MSTConfig(**TINY, model=str(tmp_path), vocabulary=256)
    other.check()
    named = other.named_model()
    assert named is not None
    assert named.make(256, 16).config.vocab_size == 256


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"model": "no/where"}, "'no/where' for 'model': give the path of"),
        ({"model": {"hidden_size": 8}}, "for 'model': give its 'model_type', too"),
        ({"model": {"model_type": "lama"}}, "'model_type' of 'model' 'lama': did you mean 'llama'"),
        ({"model": {"model_type": "vit"}}, "no causal language model of the type 'vit'"),
        ({"model": {**LLAMA, "hiden_size": 8}}, "'hiden_size': did you mean 'hidden_size'"),
        ({"model": {**LLAMA, "hidden_size": "8"}}, "'8' for 'model.hidden_size': give a whole"),
        ({"model": {**LLAMA, "num_hidden_layers": 999}}, "'model.num_hidden_layers': give a whole"),
        ({"model": {**LLAMA, "attention_dropout": 0.1}}, "'model.attention_dropout': language"),
        ({"model": {**LLAMA, "hidden_size": 18}}, "for 'model': no c"),
        ({"model": {**LLAMA, "hidden_act": "abc"}}, "for 'model': no causal language model comes"),
        ({"model": {**LLAMA, "vocab_size": 200}}, "200 for 'vocabulary': the text has 256 tokens"),
        ({"model": {**NEOX, "max_position_embeddings": 8}}, "16 for 'context': the model of"),
        ({"model": LLAMA, "n_embd": 64}, "64 for 'n_embd': the model of 'model' has 16"),
        ({"model": LLAMA, "init_from": "x"}, "'x' for 'init_from'"),
        ({"model": LLAMA, "kernels": "auto"}, "'auto' for 'kernels': they are for GPT-2's"),
        (
            {"model": {**LLAMA, "model_type": "gemma2", "head_dim": 4}},
            "'sparse' for 'attention': no pattern can stand in for that of 'gemma2', so give dense",
        ),
        ({"model": {**LLAMA, "model_type": "mixtral"}}, "'mixtral' computes more or less than"),
        ({"model": {**LLAMA, "sparsity": 1}}, "'sparsity'"),
        ({"model": LLAMA, "sparsity": ((0.0, 0.9999),)}, "0.9999 in 'sparsity': a layer of width"),
    ],
    ids=str,
)
def test_models_that_cannot_be_are_refused_in_one_sentence(
    fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError) as refusal:
        build_config(METHOD, "stdlib", "mst", {**TINY, **fields}, seed=0)
    message = str(refusal.value)
    assert said in message
    assert "\n" not in message
    assert len(message) < 500


@pytest.mark.parametrize(
    ("task", "fields", "said"),
    [
        ("digits", {"model": LLAMA}, "for 'model': 'digits' needs vit, resnet or another image"),
        ("stdlib", {"model": "resnet"}, "'stdlib' needs gpt2 or another causal language model"),
        ("stdlib", {"model": {"model_type": "t5"}}, "no image classifier or causal language model"),
        ("stdlib", {"model": NEOX, "sizes": {"hidden_size": 15}}, "for 'model': no causal"),
        ("stdlib", {"model": NEOX, "sizes": {"hidden_dropout": 0.1}}, "'sizes.hidden_dropout'"),
        ("stdlib", {"model": {**NEOX, "vocab_size": 99}}, "'bytes' for 'tokenizer': the text then"),
        ("stdlib", {"model": {**NEOX, "max_position_embeddings": 8}}, "64 for 'context': 'model'"),
    ],
    ids=str,
)
def test_qsr_refuses_models_that_do_not_go_with_the_task(
    task: str, fields: dict[str, Any], said: str
) -> None:
    few = {key: value for key, value in QSR.smoke.items() if key != "sizes"}
    with pytest.raises(InputError) as refusal:
        build_config(QSR, task, "qsr", {**few, **fields}, seed=0)
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_model_that_looks_ahead_is_told_not_to_or_refused() -> None:
    bert = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 1}
    made({"model_type": "bert", "num_hidden_layers": 1, **bert})
    ahead = {"model_type": "xlnet", "d_model": 8, "n_head": 1, "n_layer": 1, "d_inner": 8}
    with pytest.raises(ValueError, match="its tokens see those after them"):
        made(ahead)
