"""MST's models as folders: saved with a tokenizer, gone on from, judged elsewhere; masked heads.

About 6 processor seconds.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from conftest import ROOT
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, GPT2LMHeadModel, ViTConfig

from tenfold.algorithms.common.causal_lm import make_gpt2
from tenfold.algorithms.common.language_model import judge
from tenfold.algorithms.mst import METHOD
from tenfold.algorithms.mst.attention import kept_fraction, pattern_mask
from tenfold.algorithms.mst.config import MSTConfig
from tenfold.algorithms.mst.flops import FlopLedger, Sizes, step_flops
from tenfold.algorithms.mst.loop import MSTLoop
from tenfold.algorithms.mst.masks import masked_layers
from tenfold.algorithms.mst.schedule import active_weights
from tenfold.algorithms.mst.trial import MST
from tenfold.envs.data.text import load_corpus
from tenfold.platform.configuration import build_config
from tenfold.platform.training import FIXED_FILE

TABLE = ((0.0, 0.0), (0.1, 0.5), (0.2, 0.9), (0.7, 0.5), (0.9, 0.0))
TINY: dict[str, Any] = {**METHOD.smoke, "steps": 40, "report_every": 20, "sparsity": TABLE}
WORDS = [f"the {kind} ünït {i} said {i * i} things to me\n" for i in range(300) for kind in "ab"]


@pytest.fixture
def text(tmp_path: Path, runs: Path) -> str:
    """A text of one's own."""
    file = tmp_path / "own.txt"
    file.write_text("".join(WORDS))
    return str(file)


def make_loop(**fields: Any) -> MSTLoop:
    config = MSTConfig(**{**TINY, **fields})
    config.check()
    return MSTLoop(config)


def saved(folder: Path, **fields: Any) -> MSTLoop:
    """A loop of a few steps and its checkpoint, as a trial writes it."""
    loop = make_loop(**fields)
    loop.train(2)
    folder.mkdir(exist_ok=True)
    loop.save(folder)
    (folder / FIXED_FILE).write_text(json.dumps({"context": loop.config.context}))
    return loop


@pytest.mark.parametrize("tokenizer", ["bytes", "bpe:300"])
def test_transformers_reads_a_saved_tokenizer_as_the_corpus_was_encoded(
    tokenizer: str, text: str, tmp_path: Path
) -> None:
    loop = saved(tmp_path / "run", task=text, tokenizer=tokenizer)
    plain = AutoTokenizer.from_pretrained(tmp_path / "run" / "model")
    assert len(plain) == loop.corpus.vocabulary
    train, held_out = (
        plain.decode(tokens.tolist()) for tokens in (loop.corpus.train, loop.corpus.validation)
    )
    assert train + held_out == "".join(WORDS)
    for part, tokens in ((train, loop.corpus.train), (held_out, loop.corpus.validation)):
        np.testing.assert_array_equal(plain(part)["input_ids"], tokens)
    model = GPT2LMHeadModel.from_pretrained(tmp_path / "run" / "model", use_safetensors=True)
    assert model.config.vocab_size == len(plain)


def test_a_masked_head_is_the_embeddings_and_is_saved_as_a_stock_model(tmp_path: Path) -> None:
    loop = make_loop(mask_head=True)
    assert [name for name in loop.masks.masks if "wte" in name] == ["transformer.wte"]
    loop.train(20)
    weight, mask = loop.weights["transformer.wte"], loop.masks.masks["transformer.wte"]
    assert 0.5 < 1 - float(mask.float().mean()) < 1
    assert bool((weight[~mask] == 0).all())
    assert loop.workers.module.lm_head.weight is weight
    loop.save(tmp_path)
    plain = GPT2LMHeadModel.from_pretrained(tmp_path / "model", use_safetensors=True)
    assert plain.lm_head.weight is plain.transformer.wte.weight
    assert set(plain.state_dict()) == set(make_gpt2(256, 16, {"n_layer": 1}).state_dict())
    torch.testing.assert_close(plain.lm_head.weight, weight)
    metrics = loop.train(40)
    assert metrics["sparsity_head"] == metrics["sparsity"] == 0
    # All layers together have the sparsity of the table, the head among them.
    targets = loop.masks.targets(0.9)
    assert sum(targets.values()) == pytest.approx(0.1 * loop.masks.size, rel=0.01)


def test_a_masked_heads_flops_follow_its_density() -> None:
    model = make_gpt2(96, 32, {"n_layer": 2, "n_embd": 64, "n_head": 2})
    sizes, names = Sizes.of(model), masked_layers(model, head=True)
    assert len(names) == 9
    dense = step_flops(sizes, 3, 16, dict.fromkeys(names, 1.0), 1.0, False)
    tenth = step_flops(sizes, 3, 16, dict.fromkeys(names, 0.1), 1.0, False)
    topology = step_flops(sizes, 3, 16, dict.fromkeys(names, 0.1), 1.0, True)
    assert dense.head == 3 * 2 * 3 * 16 * 64 * 96
    assert tenth.head == pytest.approx(0.1 * dense.head)
    assert topology.head == pytest.approx(0.1 * dense.head + 0.9 * dense.head / 3)
    loop = make_loop(mask_head=True, sparsity=((0.0, 0.9),), growth="none", attention="dense")
    metrics = loop.train(3)
    share = loop.masks.density()["transformer.wte"]
    head = metrics["flops"] - metrics["flops_blocks"]
    assert head == pytest.approx(3 * share * 3 * 2 * loop.items_per_step * 16 * 256)


@pytest.mark.parametrize(
    ("mask_head", "blocks", "total"), [(False, 5.82, 2.52), (True, 5.67, 6.53)]
)
def test_what_gpt2_small_saves(mask_head: bool, blocks: float, total: float) -> None:
    """The figures of README.md: with a dense head no sparsity saves more than 3.69 in all."""
    given = yaml.safe_load((ROOT / "experiments" / "mst" / "gpt2_small.yaml").read_text())["config"]
    c = MSTConfig(**given, mask_head=mask_head)
    c.check()
    d, vocabulary = c.n_embd, c.vocabulary or 0
    sides = {
        "c_attn": (d, 3 * d),
        "attn.c_proj": (d, d),
        "c_fc": (d, 4 * d),
        "mlp.c_proj": (4 * d, d),
    }
    shapes = {f"{i}.{name}": sides[name] for i in range(c.n_layer) for name in sides}
    linear = {name: n * m for name, (n, m) in shapes.items()}
    sizes = Sizes(linear, "wte", vocabulary * d, c.n_layer * d)
    shapes |= {"wte": (vocabulary, d)} if mask_head else {}
    pattern = kept_fraction(
        pattern_mask(c.attention, c.context, width=c.attention_width, stride=c.attention_stride)
    )
    dense = step_flops(sizes, 1, c.context, dict.fromkeys(shapes, 1.0), 1.0, False)
    assert dense.total / dense.head == pytest.approx(3.69, abs=0.005)
    density = {}
    for _, level in c.sparsity:
        counts = active_weights(list(shapes.values()), c.distribution, level)
        density[level] = {
            name: count / (n * m)
            for (name, (n, m)), count in zip(shapes.items(), counts, strict=True)
        }
    start, end = (round(share * c.steps) for share in c.attention_steps)
    ledger = FlopLedger()
    for step in range(c.steps):
        level, after = c.schedule(step), c.schedule(step + 1)
        evolves = (step + 1) % c.delta == 0 and c.schedule.phase(step + 1) != "restoration"
        kept = pattern if start <= step < end else 1.0
        topology = evolves or level != after
        ledger.add(step_flops(sizes, 1, c.context, density[level], kept, topology), dense)
    assert ledger.reduction_blocks == pytest.approx(blocks, abs=0.006)
    assert ledger.reduction == pytest.approx(total, abs=0.006)


def test_the_experiment_of_gpt2_small_is_valid_but_for_its_tokens() -> None:
    file = yaml.safe_load((ROOT / "experiments" / "mst" / "gpt2_small.yaml").read_text())
    rates = set()
    for variant in file["variants"]:
        c = build_config(METHOD, "stdlib", variant, file["config"], 0)
        assert isinstance(c, MSTConfig)
        rates.add((c.steps, c.lr, c.n_embd))
    assert rates == {(5_000, 6e-4, 768)}  # no variant's own stands against the file's
    assert c.steps * c.batch * c.accumulate * c.context == pytest.approx(20 * 124e6, rel=0.01)


def test_weights_of_the_blocks_decay_and_nothing_else() -> None:
    loop = make_loop(lr=0.1, weight_decay=0.5)
    for p in loop.workers.parameters.values():
        p.grad = torch.zeros_like(p)
        if float(p.detach().abs().sum()) == 0:
            p.data.fill_(1.0)
    before = {name: p.detach().clone() for name, p in loop.workers.parameters.items()}
    loop.optimizer.inner.step()
    decayed = {name for name, p in loop.workers.parameters.items() if not p.equal(before[name])}
    assert decayed == {f"{name}.weight" for name in masked_layers(loop.workers.module)}
    assert len(decayed) == 4
    for name in decayed:
        torch.testing.assert_close(loop.workers.parameters[name].detach(), before[name] * 0.95)


def test_a_checkpoint_from_before_there_were_groups_goes_on(tmp_path: Path) -> None:
    loop = saved(tmp_path / "new")
    order = {id(p): place for place, p in enumerate(loop.optimizer.parameters)}
    shard, counters = tmp_path / "new" / "worker-0.safetensors", tmp_path / "new" / "worker-0.json"
    tensors = load_file(shard)
    old = {name: t for name, t in tensors.items() if not name.startswith("optimizer/")}
    for place, p in enumerate(loop.workers.parameters.values()):
        for name in ("step", "exp_avg", "exp_avg_sq"):
            old[f"optimizer/{place}/{name}"] = tensors[f"optimizer/{order[id(p)]}/{name}"]
    save_file(old, shard)
    told = json.loads(counters.read_text())
    del told["decay_groups"]
    counters.write_text(json.dumps(told))
    again = make_loop()
    again.load(tmp_path / "new")
    for name, p in loop.workers.parameters.items():
        found = again.optimizer.inner.state[again.workers.parameters[name]]
        for moment in ("exp_avg", "exp_avg_sq"):
            assert torch.equal(found[moment], loop.optimizer.inner.state[p][moment]), name
    assert again.train(5) == loop.train(5)


def test_a_run_goes_on_from_a_saved_model(text: str, tmp_path: Path) -> None:
    before = saved(
        tmp_path / "run", task=text, tokenizer="bpe:300", n_embd=24, n_head=2, attention="dense"
    )
    folder = str(tmp_path / "run" / "model")
    few = {key: TINY[key] for key in ("steps", "attention_width", "validation_windows", "batch")}
    config = MSTConfig(**few, task=text, init_from=folder, sparsity=((0.0, 0.0), (0.5, 0.9)))
    config.check()
    assert (config.n_layer, config.n_head, config.n_embd, config.context) == (1, 2, 24, 16)
    assert (config.vocabulary, config.tokenizer) == (300, f"{folder}/tokenizer.json")
    loop = MSTLoop(config)
    assert loop.evaluate() == before.evaluate()
    loop.train(40)
    assert loop.masks.active < 0.2 * loop.masks.size
    assert loop.evaluate()["loss"] != before.evaluate()["loss"]


def test_saved_models_that_do_not_fit_are_refused(text: str, tmp_path: Path) -> None:
    saved(tmp_path / "run", task=text, tokenizer="bpe:300")
    folder = tmp_path / "run" / "model"

    def refusal(**fields: Any) -> str:
        given = {"task": text, "init_from": str(folder), **fields}
        with pytest.raises(ValueError, match=r"\.$") as refused:
            MSTConfig(**given).check()
        assert "\n" not in str(refused.value)
        return str(refused.value)

    assert "Bad value 3 for 'n_layer': the model of 'init_from' has 1" in refusal(n_layer=3)
    assert "Bad value 256 for 'vocabulary'" in refusal(vocabulary=256)
    assert "Bad value 64 for 'context'" in refusal(context=64)
    assert "Bad value 'bpe:400' for 'tokenizer'" in refusal(tokenizer="bpe:400")
    assert "no config of a transformers model" in refusal(init_from=str(tmp_path))
    assert "give the path of the folder" in refusal(init_from=str(tmp_path / "nowhere"))
    about = json.loads((folder / "config.json").read_text())
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").unlink()
    assert "it has no weights (*.safetensors)" in refusal()
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "config.json").write_text(json.dumps({**about, "vocab_size": "many"}))
    assert "no config of a transformers model can be read" in refusal()
    ViTConfig().save_pretrained(folder)
    assert "no causal language model of the type 'vit'" in refusal()
    (folder / "config.json").write_text("{")
    assert "no config of a transformers model can be read" in refusal()


def test_another_corpus_is_judged_as_a_whole_by_the_runs_own_tokenizer(
    text: str, tmp_path: Path
) -> None:
    loop = saved(tmp_path / "run", task=text, tokenizer="bpe:300", attention="dense")
    other = tmp_path / "other.txt"
    other.write_text("".join(reversed(WORDS)) + "and something else")
    judged = MST.evaluate_elsewhere(tmp_path / "run", str(other), {"validation_windows": 10**6})
    own = load_corpus(str(other), str(loop.corpus.tokenizer), tmp_path / "cache", unseen=True)
    expected = judge(loop.workers.module.eval(), own, 16, 10**6)
    assert judged == pytest.approx(expected, rel=1e-5)
    assert judged["perplexity"] == pytest.approx(np.exp(judged["loss"]))
    assert own.widths is not None
    assert own.widths.sum() == len(other.read_bytes())
    bits = judged["loss"] / np.log(2) * len(own.validation) / own.widths.sum()
    assert judged["bits_per_byte"] == pytest.approx(bits, rel=0.01)
    # Fewer windows are others than the first of the text.
    few = MST.evaluate_elsewhere(tmp_path / "run", str(other), {"validation_windows": 3})
    assert few["loss"] != judged["loss"]


def test_what_a_saved_model_cannot_judge_is_refused(text: str, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.bin"
    tokens.write_bytes((np.arange(2_000) % 90).astype("<u2").tobytes())
    saved(tmp_path / "run", task=str(tokens))
    assert not (tmp_path / "run" / "model" / "tokenizer.json").exists()
    with pytest.raises(ValueError, match="the model has no tokenizer"):
        MST.evaluate_elsewhere(tmp_path / "run", text, {})
    more = tmp_path / "more.bin"
    more.write_bytes((np.arange(2_000) % 91).astype("<u2").tobytes())
    with pytest.raises(ValueError, match="91 different tokens and the model 90"):
        MST.evaluate_elsewhere(tmp_path / "run", str(more), {})
    less = tmp_path / "less.bin"
    less.write_bytes((np.arange(2_000) % 80).astype("<u2").tobytes())
    assert "bits_per_byte" not in MST.evaluate_elsewhere(tmp_path / "run", str(less), {})
    less.write_bytes(np.arange(16).astype("<u2").tobytes())
    with pytest.raises(ValueError, match="only 16 tokens: give at least 17"):
        MST.evaluate_elsewhere(tmp_path / "run", str(less), {})
