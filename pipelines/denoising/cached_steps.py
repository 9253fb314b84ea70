"""The use of a step cache by a pipeline's denoiser, during one call."""

from typing import Any

from diffusers import FirstBlockCacheConfig, MagCacheConfig, TaylorSeerCacheConfig
from diffusers.hooks.mag_cache import FLUX_MAG_RATIOS

from pipelines.step_cache import FirstBlock, MagCache, StepCache, TaylorSeer


def enable_cache(pipeline: Any, cache: StepCache | None, steps: int) -> None:
    """Give the denoiser this cache, empty, for the pipeline's next call, which has `steps` steps; None gives it none.

    The cache of an earlier call is dropped, even if that call ended half-way.
    """
    pipeline.maybe_free_model_hooks()
    denoiser: Any = getattr(pipeline, "transformer", None)
    if getattr(denoiser, "is_cache_enabled", False):
        denoiser.disable_cache()
    if cache is not None:
        denoiser.enable_cache(_configuration(cache, steps))


def _configuration(cache: StepCache, steps: int) -> Any:
    match cache:
        case FirstBlock(threshold=threshold):
            return FirstBlockCacheConfig(threshold=threshold)
        case TaylorSeer():
            return TaylorSeerCacheConfig(
                cache_interval=cache.cache_interval,
                disable_cache_before_step=cache.disable_cache_before_step,
                max_order=cache.max_order,
            )
        case MagCache():
            return MagCacheConfig(
                threshold=cache.threshold,
                max_skip_steps=cache.max_skip_steps,
                retention_ratio=cache.retention_ratio,
                num_inference_steps=steps,
                mag_ratios=list(cache.mag_ratios) or FLUX_MAG_RATIOS,
            )
