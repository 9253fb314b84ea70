"""Which models can be steered towards colours, as far as their cards tell it."""

from pipelines.upscale import UPSCALING_PIPELINES, UPSCALING_SCHEDULERS

#: Pipelines whose latents denoising/latent_grid.py knows how to make of a picture, and so of colours.
STEERED_PIPELINES = UPSCALING_PIPELINES
#: Schedulers that tell how much noise is left at each of their steps.
STEERED_SCHEDULERS = UPSCALING_SCHEDULERS


def steering_problem(pipeline: str | None, scheduler: str | None) -> str | None:
    """Return why images of a pipeline with a scheduler cannot be steered; None if they can, or if one of them is unknown."""
    if pipeline is not None and pipeline not in STEERED_PIPELINES:
        return f"{pipeline} keeps its latents in a way that colours cannot be read from"
    if scheduler is not None and scheduler not in STEERED_SCHEDULERS:
        return f"{scheduler} does not tell how much noise is left; others do: {', '.join(sorted(STEERED_SCHEDULERS))}"
    return None
