"""Causal language models: a GPT-2 of our sizes, or any that transformers has and a user names.

What a user may name is in `transformers_configs`. Either way it is a stock model of transformers,
without dropout, and what `save_causal_lm` writes loads anywhere:

    AutoModelForCausalLM.from_pretrained(folder)
    AutoTokenizer.from_pretrained(folder)  # but for models of token files, which have none
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.utils.logging import disable_progress_bar

from tenfold.algorithms.common.transformers_configs import Source, has_weights, read_config
from tenfold.platform.errors import shown

disable_progress_bar()  # of reading and writing a model, in the midst of a run's output
KINDS = {"causal language model": AutoModelForCausalLM}
NO_DROPOUT: dict[str, Any] = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
"""Fields of `GPT2Config`."""
_CONFIG = "config.json"
_TOKENIZER = "tokenizer.json"
_PROBE = 8  # tokens


def make_gpt2(vocabulary: int, context: int, sizes: dict[str, Any]) -> GPT2LMHeadModel:
    """An untrained GPT-2 without dropout.

    Args:
        vocabulary: Number of tokens.
        context: Longest sequence, in tokens.
        sizes: Further fields of `GPT2Config` (n_layer, n_head, n_embd, ...).
    """
    config = GPT2Config(
        vocab_size=vocabulary,
        n_positions=context,
        bos_token_id=None,
        eos_token_id=None,
        use_cache=False,
        **NO_DROPOUT,
        **sizes,
    )
    return GPT2LMHeadModel(config)


@dataclass(frozen=True)
class NamedModel:
    """A language model that a user names, before it is made.

    Attributes:
        source: How it is named.
        key: Config key that it was given for.
        config: Of transformers, with no dropout.
        trained: Whether it comes with weights.
        stated: Fields that its config.json or the mapping itself has.
    """

    source: Source
    key: str
    config: PreTrainedConfig
    trained: bool
    stated: frozenset[str]

    @classmethod
    def read(cls, source: Source, key: str) -> "NamedModel":
        """What a user's source says.

        Raises:
            ValueError: One sentence that names the key and what is wrong.
        """
        config = read_config(source, key, KINDS)
        trained = has_weights(source, key)
        if isinstance(source, Mapping):
            stated = frozenset(source)
            _refuse_dropout(source, key)
        else:
            file = Path(source) / _CONFIG if Path(source).is_dir() else Path(source)
            stated = frozenset(json.loads(file.read_text(encoding="utf-8")))
        for name, value in config.to_dict().items():
            if "drop" in name and isinstance(value, int | float) and not isinstance(value, bool):
                setattr(config, name, 0.0)
        if hasattr(config, "is_decoder"):  # BERT and its kin look ahead unless told so
            config.is_decoder = True
        config.use_cache = False
        made = cls(source, key, config, trained, stated)
        for name in ("num_hidden_layers", "num_attention_heads", "hidden_size", "vocab_size"):
            if not isinstance(getattr(config, name, None), int):
                raise ValueError(
                    f"Bad value {made.shown} for '{key}': its config has no whole number for "
                    f"'{name}', by which it would be counted."
                )
        return made

    def change(self, entries: Mapping[str, Any], field: str) -> None:
        """Put entries into its config.

        Args:
            entries: Fields that its config has.
            field: Config key that they were given for.

        Raises:
            ValueError: They would have dropout.
        """
        _refuse_dropout(entries, field)
        self.config.update(dict(entries))

    @property
    def shown(self) -> str:
        """The source in a message."""
        return shown(dict(self.source) if isinstance(self.source, Mapping) else self.source)

    @property
    def positions(self) -> int | None:
        """Longest sequence in tokens; None where positions do not end, or end as is asked for."""
        states = self.trained or {"max_position_embeddings", "n_positions"} & self.stated
        return _positions(self.config) if states else None

    @property
    def vocabulary(self) -> int | None:
        """Tokens that it has; None where nothing says so."""
        states = self.trained or "vocab_size" in self.stated
        return int(self.config.vocab_size) if states else None

    @property
    def tokenizer(self) -> Path | None:
        """The tokenizer beside it, as a file of `tokenizers`."""
        return None if isinstance(self.source, Mapping) else tokenizer_of(self.source)

    def make(self, vocabulary: int, context: int) -> PreTrainedModel:
        """The model: with its weights, or drawn from torch's global generator.

        Args:
            vocabulary: Number of tokens of an untrained model.
            context: Longest sequence of one whose positions nothing states.

        Raises:
            ValueError: The weights cannot be read or are not those of the config, or a token sees
                those after it.
        """
        model = self._load() if self.trained else self.untrained(vocabulary, context)
        self._check_causal(model)
        return model

    def untrained(self, vocabulary: int, context: int) -> PreTrainedModel:
        """A model of that config, with `make`'s arguments; on the meta device it takes no memory.

        Raises:
            ValueError: None comes of it.
        """
        try:
            config = type(self.config).from_dict(self.config.to_dict())
            if not self.trained:
                config.vocab_size = vocabulary
                if self.positions is None and _positions(config) is not None:
                    config.max_position_embeddings = context
                # Tokens are those of the text, among which none has such a meaning.
                config.bos_token_id = config.eos_token_id = config.pad_token_id = None
            model: PreTrainedModel = AutoModelForCausalLM.from_config(
                config, trust_remote_code=False, dtype=torch.float32
            )
        except Exception as error:  # transformers and torch raise whatever does not fit
            raise ValueError(
                f"Bad value {self.shown} for '{self.key}': no causal language model comes of it "
                f"({shown(str(error))})."
            ) from None
        return model

    def _load(self) -> PreTrainedModel:
        model: PreTrainedModel
        try:
            model, found = AutoModelForCausalLM.from_pretrained(
                self.source,
                config=self.config,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
                dtype=torch.float32,
            )
        except Exception as error:  # transformers and safetensors raise whatever does not fit
            raise ValueError(
                f"Bad value {self.shown} for '{self.key}': its weights cannot be read "
                f"({shown(str(error))})."
            ) from None
        if found["missing_keys"]:  # transformers would draw those at random
            raise ValueError(
                f"Bad value {self.shown} for '{self.key}': it lacks weights, "
                f"{shown(sorted(found['missing_keys']))}."
            )
        return model

    @torch.no_grad()
    def _check_causal(self, model: PreTrainedModel) -> None:
        """Change the last of a few tokens: what comes before must not tell."""
        tokens = torch.zeros(1, _PROBE, dtype=torch.int64)
        other = tokens.clone()
        other[0, -1] = 1 % model.config.vocab_size
        training = model.training
        logits, changed = (model.eval()(input_ids=t).logits[:, :-1] for t in (tokens, other))
        model.train(training)
        if float((logits - changed).abs().max()) > 1e-5 * float(logits.abs().max()):
            raise ValueError(
                f"Bad value {self.shown} for '{self.key}': its tokens see those after them, so it "
                "cannot learn to predict them; give a causal model."
            )


def save_causal_lm(model: PreTrainedModel, tokenizer: Path | None, folder: Path) -> None:
    """Write a model and its tokenizer as transformers reads them.

    Args:
        model: Any causal language model.
        tokenizer: A `tokenizers` JSON file, see `Corpus.tokenizer`.
        folder: Where to.
    """
    model.save_pretrained(folder)
    if tokenizer is not None:
        longest = _positions(model.config)
        PreTrainedTokenizerFast(
            tokenizer_file=str(tokenizer),
            clean_up_tokenization_spaces=False,
            **({} if longest is None else {"model_max_length": longest}),
        ).save_pretrained(folder)


def tokenizer_of(folder: str | Path) -> Path | None:
    """The tokenizer beside a saved model, as a file of `tokenizers`, if there is one."""
    file = Path(folder) / _TOKENIZER
    return file if file.is_file() else None


def _refuse_dropout(entries: Mapping[str, Any], field: str) -> None:
    for name, value in entries.items():
        if "drop" in name and value:
            raise ValueError(
                f"Bad value {shown(value)} for '{field}.{name}': language models train without "
                "dropout here, so leave it out."
            )


def _positions(config: PreTrainedConfig) -> int | None:
    found = getattr(config, "max_position_embeddings", None)
    return found if isinstance(found, int) and found > 0 else None
