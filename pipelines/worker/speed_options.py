"""The options of a card that make a denoiser faster. https://huggingface.co/docs/diffusers/optimization/fp16"""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from diffusers.models.attention_dispatch import attention_backend, dispatch_attention_fn

from pipelines.model_card import ModelCard
from pipelines.worker.memory_options import OptionRefused, denoiser_of
from pipelines.worker.torch_errors import is_fatal, is_out_of_memory

log = logging.getLogger(__name__)


def speed_up(card: ModelCard, pipeline: Any) -> None:
    """Lay out the denoiser's weights, choose its attention and have its blocks compiled, as the card says.

    Raises OptionRefused.
    """
    weights = card.weights
    if weights.channels_last:
        denoiser_of(pipeline).to(memory_format=torch.channels_last)
    if weights.attention is not None:
        _choose_attention(denoiser_of(pipeline), weights.attention)
    if weights.compile:
        # After this many compilations torch would go on uncompiled, which changes bits. The second line makes it raise
        # instead.
        torch._dynamo.config.recompile_limit = 128
        torch._dynamo.config.fail_on_recompile_limit_hit = True
        denoiser = denoiser_of(pipeline)
        # Equal sizes must give equal bits, whatever ran before, and however fast it ran.
        denoiser.compile_repeated_blocks(dynamic=False, options={"deterministic": True})
        denoiser.forward = _with_room_for_more(denoiser.forward)


def _with_room_for_more(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Return a denoiser's `forward` that forgets all compiled code if there is too much of it, and begins again.

    Each size, batch size, length of prompt, and LoRA at each weight has code of its own, so a process that runs for months
    may reach any number of them.
    """

    @wraps(forward)
    def forward_again(*arguments: Any, **keywords: Any) -> Any:
        try:
            return forward(*arguments, **keywords)
        except torch._dynamo.exc.FailOnRecompileLimitHit:
            log.info("There is too much compiled code; all of it is compiled again when it is wanted")
        torch._dynamo.reset()
        return forward(*arguments, **keywords)

    return forward_again


def _choose_attention(denoiser: Any, backend: str) -> None:
    try:
        # diffusers also makes the attention that it sets the default of all other models; this undoes that.
        with attention_backend("native"):
            denoiser.set_attention_backend(backend)
    except (ValueError, RuntimeError, ImportError) as error:
        raise OptionRefused(f"attention = {backend!r}: {error}; choose another") from error
    processors = [getattr(layer, "processor", None) for layer in denoiser.modules()]
    if all(getattr(processor, "_attention_backend", None) is None for processor in processors):
        raise OptionRefused(
            f"attention = {backend!r}: {type(denoiser).__name__} computes attention in its own way; remove the key"
        )


def try_attention(card: ModelCard, device: torch.device) -> None:
    """Raise OptionRefused if the card's attention does not work on the device, and torch's error if memory runs out."""
    backend = card.weights.attention
    if backend is None:
        return
    tokens = torch.zeros(1, 128, 2, 64, dtype=getattr(torch, card.weights.dtype), device=device)
    try:
        with torch.no_grad():
            dispatch_attention_fn(tokens, tokens, tokens, backend=backend)
    except Exception as error:
        if is_out_of_memory(error) or is_fatal(error):
            raise
        raise OptionRefused(
            f"attention = {backend!r}: {device} cannot compute it in {card.weights.dtype} ({error}); choose another"
        ) from error
