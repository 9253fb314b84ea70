"""Checks of the arguments, guidance and negative prompt of a card against what its pipeline's call takes."""

import re
from collections.abc import Iterator
from pathlib import Path

from pipelines.checks.steering import noise_problem
from pipelines.denoising.families import guides_in_one_call
from pipelines.diffusers_classes import class_names, parameters, told_scheduler
from pipelines.guidance import GUIDANCE, SECOND_GUIDANCE, ignores_guidance, takes_guidance
from pipelines.model_card import ModelCard
from pipelines.nearest_name import did_you_mean

#: Arguments that Backlot passes to every call.
_NEEDED = ("prompt", "width", "height", "num_inference_steps", "generator", "output_type")
#: Arguments by which a pipeline reports its steps; the oldest pipelines of diffusers take `callback`.
_CALLBACKS = ("callback_on_step_end", "callback")
#: Pipelines that report no steps, but call their scheduler once in each.
_STEPS_OF_SCHEDULER = frozenset({"LongCatImagePipeline"})
#: Arguments of pipelines that do not make pictures from words alone, and what these do.
_OTHER_KINDS = {
    "mask_image": "paints into a picture",
    "strength": "changes a picture",
    "control_image": "follows a control picture",
    "controlnet_conditioning_scale": "follows a control picture",
    "num_frames": "makes films",
}
#: Names of pipelines that need more than words, or make no picture, although their calls do not show it.
_OTHER_NAMES = re.compile(r"Edit|I2I|Video|Animate|Prior|Refiner|LDM3D")
#: Arguments that something else sets already, and what sets them; a second value would make `meta` untrue.
_SAID_ELSEWHERE = {
    "prompt": "the spec and the card's prompt say it",
    "prompt_2": "the spec and the card's prompt say it",
    "prompt_3": "the spec and the card's prompt say it",
    "prompt_embeds": "the spec and the card's prompt say it",
    "use_pe": "the spec and the card's prompt say it",
    "enable_prompt_rewrite": "the spec and the card's prompt say it",
    "prompt_upsampling": "the spec and the card's prompt say it",
    "prompt_upsampling_temperature": "the spec and the card's prompt say it",
    "caption_upsample_temperature": "the spec and the card's prompt say it",
    "guidance_schedule": "the card's guidance says it",
    "negative_prompt": "the card's negative_prompt says it",
    "negative_prompt_2": "the card's negative_prompt says it",
    "negative_prompt_3": "the card's negative_prompt says it",
    "negative_prompt_embeds": "the card's negative_prompt says it",
    "width": "the spec's resolution and aspect_ratio say it",
    "height": "the spec's resolution and aspect_ratio say it",
    "max_area": "the spec's resolution and aspect_ratio say it",
    "use_resolution_binning": "the spec's resolution and aspect_ratio say it",
    "num_inference_steps": "the card's steps says it",
    "timesteps": "the card's steps says it",
    "sigmas": "the card's steps says it",
    "denoising_end": "the card's steps says it",
    "generator": "the spec's seed says it",
    "latents": "the spec's seed says it",
    "num_images_per_prompt": "a spec's n says it",
    "output_type": "the server needs its own",
    "return_dict": "the server needs its own",
    "use_kv_cache": "the server needs its own",
    # The pipeline cleans prompts only if two further packages are installed.
    "clean_caption": "the server needs its own",
    "callback": "the server needs its own",
    "callback_steps": "the server needs its own",
    "callback_on_step_end": "the server needs its own",
    "callback_on_step_end_tensor_inputs": "the server needs its own",
}


def problems_of_kind(place: str, pipeline: str | None) -> Iterator[str]:
    """Yield why a class is no text-to-image pipeline of diffusers. `place` is the key or file that names it.

    `pipeline` is None if the folder brings a class of its own.
    """
    if pipeline is None:
        yield f"{place}: its pipeline brings code of its own, which is not run here; use a model of a stock pipeline"
        return
    taken = parameters("pipelines", pipeline, "__call__")
    if taken is None:
        # Nobody mistypes the class in a folder: its model is newer than diffusers.
        hint = "; a newer one may have it" if place == "model_index.json" else ""
        yield f"{place}: the installed diffusers has no {pipeline}{hint or did_you_mean(pipeline, class_names('pipelines'))}"
        return
    other = next((what for name, what in _OTHER_KINDS.items() if name in taken), None)
    lacking = [name for name in _NEEDED if name not in taken]
    if pipeline not in _STEPS_OF_SCHEDULER and not set(_CALLBACKS) & set(taken):
        lacking.append(f"{_CALLBACKS[0]} (by which it would tell of its steps)")
    if other is None and _OTHER_NAMES.search(pipeline):
        other = "needs more than words, or makes no picture"
    if other is not None:
        yield f"{place}: {pipeline} {other}; backgrounds need a text-to-image pipeline"
    elif lacking:
        yield f"{place}: {pipeline} takes no {', '.join(lacking)}; use a model of a text-to-image pipeline that does"


def problems_of_call(card: ModelCard, pipeline: str | None, scheduler: str | None) -> Iterator[str]:
    """Yield which of a card's guidance, arguments and negative prompt would not act, or are set elsewhere."""
    guidance = card.sampling.guidance_argument
    for name in card.sampling.arguments:
        if name in _SAID_ELSEWHERE:
            yield f"arguments.{name}: {_SAID_ELSEWHERE[name]}; remove it here"
        elif name == guidance:
            yield f"arguments.{name}: the card's guidance says it; remove it here"
    if guidance in _SAID_ELSEWHERE:
        yield f"guidance_argument = {guidance!r}: that is not guidance ({_SAID_ELSEWHERE[guidance]})"
    if pipeline is None or (taken := parameters("pipelines", pipeline, "__call__")) is None:
        return
    if guidance not in taken:
        likely = [name for name in taken if "guidance" in name or "cfg" in name]
        hint = did_you_mean(guidance, likely) or (f"; it takes {', '.join(likely)}" if likely else "")
        yield f"guidance_argument = {guidance!r}: {pipeline} takes no such argument{hint}"
    for name in card.sampling.arguments:
        if name not in taken and name not in _SAID_ELSEWHERE:
            yield f"arguments.{name}: {pipeline} takes no such argument{did_you_mean(name, taken)}"
    if card.wording.negative_prompt.strip():
        if "negative_prompt" not in taken:
            yield f"negative_prompt: {pipeline} takes none; remove the key"
        elif (
            SECOND_GUIDANCE in taken and guidance != SECOND_GUIDANCE and SECOND_GUIDANCE not in card.sampling.arguments
        ):
            yield (
                f"negative_prompt: {pipeline} uses it only with guidance_argument = {SECOND_GUIDANCE!r};"
                " set that or remove the key"
            )
    elif guidance == SECOND_GUIDANCE and card.sampling.guidance > 1 and not card.wording.negative_prompt:
        yield (
            f"guidance = {card.sampling.guidance:g}: {pipeline} guides only if there is a negative prompt;"
            ' write negative_prompt = " " or guidance = 1.0'
        )
    yield from _problems_of_scheduler(pipeline, scheduler)
    step = parameters("schedulers", scheduler, "step") if scheduler is not None else None
    if "eta" in card.sampling.arguments and step is not None and "eta" not in step:
        yield f"arguments.eta: {scheduler} does not use it; remove it"


def problems_of_guidance(card: ModelCard, folder: Path, pipeline: str | None) -> Iterator[str]:
    """Yield what a card says of guidance that its model ignores. Raises OSError or ValueError for a bad folder."""
    if takes_guidance(folder):
        why = "the model takes guidance as an input, and is never asked about a negative prompt; remove the key"
        if card.sampling.guidance_interval is not None:
            yield f"guidance_interval: {why}"
        if card.wording.negative_prompt.strip():
            yield f"negative_prompt: {why}"
    if not ignores_guidance(folder, pipeline):
        return
    sampling = card.sampling
    if sampling.guidance_argument == GUIDANCE and sampling.guidance > 1:
        other = "" if pipeline == "Flux2KleinPipeline" else f", or guidance_argument = {SECOND_GUIDANCE!r}"
        why = "the model's configuration says that it heeds none"
        yield f"guidance = {sampling.guidance:g}: {why}; write guidance = 1.0{other}"
    if GUIDANCE in sampling.arguments:
        yield f"arguments.{GUIDANCE}: the model's configuration says that it heeds none; remove it"


def problems_of_interval(card: ModelCard, pipeline: str | None, scheduler: str | None) -> Iterator[str]:
    """Yield why a card's guidance_interval would not act."""
    if card.sampling.guidance_interval is None:
        return
    least, most = card.sampling.guidance_interval
    key = f"guidance_interval = [{least:g}, {most:g}]"
    if least >= most:
        yield f"{key}: the first bound must be below the second one"
    if (least, most) == (0, 1):
        yield f"{key}: the noise is always within these bounds; remove the key"
    if card.sampling.guidance <= 1:
        yield f"{key}: there is no guidance if guidance is {card.sampling.guidance:g}; remove the key"
    if pipeline is not None and not guides_in_one_call(pipeline):
        yield f"{key}: {pipeline} does not guide in one call with the prompt's; remove the key"
    elif not card.takes_slots:
        yield f"{key}: it acts only in slots, and offload = 'model', cache or slots = false prevent these; remove one of them"
    if (problem := noise_problem(scheduler)) is not None:
        yield f"{key}: {problem}"


def _problems_of_scheduler(pipeline: str, scheduler: str | None) -> Iterator[str]:
    """Yield why a scheduler cannot work with a pipeline, if their source shows it in a way that is easy to read."""
    if scheduler == "DPMSolverSDEScheduler":
        yield (
            f"scheduler = {scheduler!r}: it draws its noise past the seeds of images; write DPMSolverMultistepScheduler with"
            ' scheduler_options = { algorithm_type = "sde-dpmsolver++" }'
        )
    taken = parameters("schedulers", scheduler, "set_timesteps") if scheduler is not None else None
    if taken is not None and "mu" in told_scheduler(pipeline) and "mu" not in taken:
        yield (
            f"scheduler = {scheduler!r}: {pipeline} tells its scheduler a shift for the size of the picture, which this one"
            " does not take; FlowMatchEulerDiscreteScheduler does"
        )
