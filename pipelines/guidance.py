"""How the pipelines of diffusers read guidance and negative prompts; without torch.

Most guide by a second call of the denoiser, with the negative prompt, if guidance is above 1. Some are distilled: guidance is
an input of their one call, and a negative prompt would be ignored.
"""

from pipelines.diffusers_classes import parameters
from pipelines.model_card import ModelCard

#: Pipelines that take a second call if their guidance is above this; for all others it is 1.
_GUIDE_ABOVE = {"Krea2Pipeline": 0.0, "ZImagePipeline": 0.0, "ZImageOmniPipeline": 0.0}
#: The argument that guides by a second call in pipelines whose own guidance is distilled.
SECOND_GUIDANCE = "true_cfg_scale"


def follows_negative_prompts(card: ModelCard) -> bool:
    """Return whether a negative prompt changes the images of a card, as far as that is known without its weights."""
    if card.wording.vocabulary is not None:
        return False
    pipeline, sampling = card.weights.pipeline, card.sampling
    taken = parameters("pipelines", pipeline, "__call__") if pipeline is not None else None
    if taken is None:
        # The files of a hub id that names no pipeline are not here yet.
        return sampling.guidance > 1
    if "negative_prompt" not in taken:
        return False
    if SECOND_GUIDANCE in taken:
        second = sampling.arguments.get(SECOND_GUIDANCE, 1.0)
        return (sampling.guidance if sampling.guidance_argument == SECOND_GUIDANCE else second) > 1
    return sampling.guidance > _GUIDE_ABOVE.get(pipeline or "", 1.0)
