"""Knows how the pipelines of diffusers read guidance and negative prompts; without torch.

Most of them guide by a second call of the denoiser, with the negative prompt, if guidance is above 1. Some are distilled:
guidance is an input of their one call, and they ignore a negative prompt.
"""

from pathlib import Path

from pipelines.diffusers_classes import parameters
from pipelines.model_card import ModelCard
from pipelines.model_index import read_if_there, read_table

#: The guidance above which a pipeline makes a second call, if that is not 1.
_GUIDE_ABOVE = {"Krea2Pipeline": 0.0, "ZImagePipeline": 0.0, "ZImageOmniPipeline": 0.0}
#: The argument for guidance of most pipelines.
GUIDANCE = "guidance_scale"
#: The argument that guides by a second call in pipelines whose own guidance is distilled.
SECOND_GUIDANCE = "true_cfg_scale"


def follows_negative_prompts(card: ModelCard) -> bool:
    """Return whether a negative prompt changes the images of a card, as far as that is known without its weights."""
    if card.wording.vocabulary is not None or card.weights.takes_guidance:
        return False
    pipeline, sampling = card.weights.pipeline, card.sampling
    taken = parameters("pipelines", pipeline, "__call__") if pipeline is not None else None
    if taken is None:
        # The card names no pipeline, and the files of its hub id are not here yet.
        return sampling.guidance > 1
    if "negative_prompt" not in taken:
        return False
    if SECOND_GUIDANCE in taken:
        second = sampling.arguments.get(SECOND_GUIDANCE, 1.0)
        return (sampling.guidance if sampling.guidance_argument == SECOND_GUIDANCE else second) > 1
    return sampling.guidance > _GUIDE_ABOVE.get(pipeline or "", 1.0)


def takes_guidance(folder: Path) -> bool:
    """Return whether the UNet of a folder takes guidance as an input, and so is never asked about a negative prompt.

    UNets that are distilled into latent consistency models do. Raises OSError or ValueError for a bad file.
    """
    return read_if_there(folder / "unet" / "config.json").get("time_cond_proj_dim") is not None


def ignores_guidance(folder: Path, pipeline: str | None) -> bool:
    """Return whether the pipeline of a folder ignores its own guidance, according to its configuration.

    FLUX.1 [schnell] and distilled FLUX.2 [klein] do. Raises OSError or ValueError if the configuration cannot be read.
    """
    if pipeline == "Flux2KleinPipeline":
        return read_table(folder / "model_index.json").get("is_distilled") is True
    taken = parameters("pipelines", pipeline, "__call__") if pipeline is not None else None
    if taken is None or SECOND_GUIDANCE not in taken:
        return False
    return read_if_there(folder / "transformer" / "config.json").get("guidance_embeds") is False
