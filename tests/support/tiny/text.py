"""The text encoders of tiny pipelines: one tokenizer of ten words, and their configurations."""

from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CLIPTextConfig,
    Gemma2Config,
    PreTrainedTokenizerFast,
    Qwen3Config,
    T5Config,
)

from pipelines.worker.text_processors import KINDS

WORDS = ("<pad>", "<s>", "</s>", "<unk>", "marble", "wood", "warm", "cool", "red", "navy")
#: The positions of a text encoder that pads every prompt to one length; the real ones have as many or more.
POSITIONS = 128


def tokenizer(longest: int = 16, *, chat: bool = False) -> PreTrainedTokenizerFast:
    """Return a tokenizer of words that reads at most `longest` tokens; with `chat`, chats whose messages hold a text."""
    words = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    made = PreTrainedTokenizerFast(
        tokenizer_object=words,
        model_max_length=longest,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
    )
    if chat:
        made.chat_template = _TEXTS
    return made


def processor(kind: str) -> Any:
    """Return a processor of texts and pictures as the server loads it; its messages hold parts of text."""
    return KINDS[kind](tokenizer(4096), chat_template=_PARTS)


def clip_config(positions: int = 16, **options: Any) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=positions,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        **options,
    )


def t5_config(kind: Any = T5Config) -> Any:
    return kind(vocab_size=16, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, pad_token_id=0, eos_token_id=2)


def qwen3_config(layers: int) -> Qwen3Config:
    return Qwen3Config(**_LANGUAGE_MODEL, num_hidden_layers=layers)


def gemma_config() -> Gemma2Config:
    return Gemma2Config(**_LANGUAGE_MODEL, num_hidden_layers=2, query_pre_attn_scalar=8)


def qwen_vl_config(kind: Any) -> Any:
    """Return the configuration of one of Qwen's language models that can see, of this class."""
    text = {
        **qwen3_config(layers=2).to_dict(),
        "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2]},
    }
    del text["model_type"]
    return kind(text_config=text, vision_config=_VISION)


_TEXTS = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
_PARTS = "{% for message in messages %}{{ message['content'][0]['text'] }}{% endfor %}"
_LANGUAGE_MODEL = {
    "vocab_size": 16,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_VISION = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16}
