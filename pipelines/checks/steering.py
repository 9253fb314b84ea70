"""The models that can be steered towards colours, by their pipelines and schedulers."""

from pipelines.upscale import UPSCALING_PIPELINES, UPSCALING_SCHEDULERS

#: Pipelines for which denoising/latent_grid.py can turn a picture into latents, and so colours too.
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
