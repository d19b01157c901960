"""The embedded default: a small text-to-image pipeline of diffusers' own classes, for scenes.

A word-level tokenizer, a CLIP text model, an AutoencoderKL and a UNet2DConditionModel stand in one
`StableDiffusionPipeline`, so that whatever works here works on Stable Diffusion, through the same
code. The trained one lies beside this module; `experiments/lcm/teacher.py` made it.
"""

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast

from tenfold.envs.data.scenes import WORDS

SIZE = 32
"""Pixels of a side."""
PROMPT_TOKENS = 12
_WIDTH = 64


def make_pipeline(seed: int) -> StableDiffusionPipeline:
    """A pipeline for scenes with random weights: latents 4 x 8 x 8, 2.5 million parameters.

    Args:
        seed: Of the weights.
    """
    torch.manual_seed(seed)
    tokenizer = _tokenizer()
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=_WIDTH,
            intermediate_size=2 * _WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=PROMPT_TOKENS,
            projection_dim=_WIDTH,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 32, 32),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=SIZE,
    )
    unet = UNet2DConditionModel(
        sample_size=SIZE // 4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(64, 96),
        layers_per_block=1,
        cross_attention_dim=_WIDTH,
        attention_head_dim=8,
        norm_num_groups=16,
    )
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="trailing",
    )
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _tokenizer() -> PreTrainedTokenizerFast:
    """A token a word, a beginning and an end; padded with ends as CLIP's is."""
    special = {"bos_token": "<start>", "eos_token": "<end>", "unk_token": "<unknown>"}
    words = [*WORDS, *special.values()]
    places = {word: place for place, word in enumerate(words)}
    inner = Tokenizer(WordLevel(places, unk_token="<unknown>"))
    inner.normalizer = Lowercase()
    inner.pre_tokenizer = Whitespace()
    inner.post_processor = TemplateProcessing(
        single="<start> $A <end>",
        special_tokens=[(token, places[token]) for token in ("<start>", "<end>")],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, model_max_length=PROMPT_TOKENS, pad_token="<end>", **special
    )
