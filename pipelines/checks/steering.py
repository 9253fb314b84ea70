"""The models that can be steered to colours, or guided in an interval of noise, by their pipelines and schedulers."""

from pipelines.upscale import UPSCALING_PIPELINES, UPSCALING_SCHEDULERS

#: Pipelines for which denoising/latent_grid.py can turn a picture into latents, and so colours too.
STEERED_PIPELINES = UPSCALING_PIPELINES
#: Schedulers of which denoising/forecast.py knows how much noise is left at each call, and that read answers as others do.
STEERED_SCHEDULERS = UPSCALING_SCHEDULERS | {
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "FlowMatchHeunDiscreteScheduler",
    "FlowMatchLCMScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LMSDiscreteScheduler",
    "SASolverScheduler",
    "TCDScheduler",
}


def steering_problem(pipeline: str | None, scheduler: str | None) -> str | None:
    """Return why images of a pipeline with a scheduler cannot be steered; None if they can, or if one of them is unknown."""
    if pipeline is not None and pipeline not in STEERED_PIPELINES:
        return f"{pipeline} keeps its latents in a way that colours cannot be read from"
    return noise_problem(scheduler)


def noise_problem(scheduler: str | None) -> str | None:
    """Return why nothing can be decided by the noise that a scheduler leaves; None if it can, or if it is unknown."""
    if scheduler is not None and scheduler not in STEERED_SCHEDULERS:
        return (
            f"Backlot does not know how much noise {scheduler} leaves at each step; it does for"
            f" {', '.join(sorted(STEERED_SCHEDULERS))}"
        )
    return None
