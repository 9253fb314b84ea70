"""Tiny pipelines of every family, as batches take them, and the images that tests ask of them."""

from collections.abc import Callable
from typing import Any

from pipelines.denoising.batch import Batch, Outcome
from pipelines.denoising.call import CallSettings
from pipelines.denoising.families import Family, family_of
from pipelines.denoising.joining import Findings
from pipelines.denoising.slots import Slots
from pipelines.denoising.traced_calls import TracedCalls
from pipelines.denoising.whole_batch import WholeBatch
from pipelines.model_card import ModelCard
from pipelines.protocol import Item
from pipelines.worker.loader import LoadedModel
from pipelines.worker.loras import Loras
from tests.support import tiny
from tests.support.device import DEVICE
from tests.support.model_matrix import Row

STEPS = 4
PROMPTS = ("marble warm", "wood cool red", "navy", "")
SETTINGS = CallSettings(64, 64, STEPS, 3.0)
Maker = Callable[[], Any]

FAMILIES: list[Maker] = [tiny.unet_pipeline, tiny.sdxl_pipeline, tiny.sd3_pipeline, tiny.flux_pipeline]
NAMES = ["unet", "sdxl", "sd3", "flux"]
#: The pipelines whose prompts may be of any length, with fields of their cards.
OTHER_FAMILIES: list[tuple[Maker, dict[str, Any]]] = [
    (tiny.flux2_klein_pipeline, {"guidance": 1.0}),
    (tiny.z_image_pipeline, {"guidance": 0.0}),
    (tiny.z_image_pipeline, {"guidance": 3.0}),
    (tiny.qwen_image_pipeline, {"guidance": 4.0, "guidance_argument": "true_cfg_scale", "negative_prompt": " "}),
]
OTHER_NAMES = ["flux2-klein", "z-image-turbo", "z-image", "qwen-image"]


def model_of(make: Maker, traced: TracedCalls | None = None, **card: Any) -> LoadedModel:
    pipeline = make().to(DEVICE)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.vae.enable_slicing()
    settings = {"guidance": 3.0, **card}
    return LoadedModel(
        ModelCard.from_flat(name="tiny", folder="-", licence="-", tiers=("0.5K",), steps=STEPS, **settings),
        "-",
        pipeline,
        Loras(pipeline, traced=False),
        Findings(traced),
    )


def model_of_row(row: Row, scheduler: Any = None) -> LoadedModel:
    """Return the model of a row of the matrix, with a scheduler of this class if one is given."""
    pipeline = getattr(tiny, row.tiny)().to(DEVICE)
    pipeline.set_progress_bar_config(disable=True)
    if scheduler is not None:
        pipeline.scheduler = scheduler.from_config(pipeline.scheduler.config)
    settings = {name: value for name, value in row.card.items() if not name.startswith("scheduler")}
    card = ModelCard.from_flat(
        name="tiny", folder="-", licence="-", tiers=("0.5K",), steps=STEPS, multiple_of=row.tiny_multiple, **settings
    )
    # Tiny calls at a smaller size may agree by chance when they are tried, and differ at the next step.
    return LoadedModel(card, "-", pipeline, Loras(pipeline, traced=False), Findings(None, only_full=True))


def batch_of(model: LoadedModel, settings: CallSettings, watch: Callable[[Outcome], None]) -> Batch:
    """Return a batch of two places: slots if the model's family is known, else a whole batch."""
    known = family_of(model.pipeline)
    return WholeBatch(model, settings, 2, watch) if known is None else Slots(model, known, settings, 2, watch)


def item(number: int, prompt: int | None = None, negative_prompt: str = "") -> Item:
    text = PROMPTS[(number if prompt is None else prompt) % len(PROMPTS)]
    return Item(f"image-{number}", 1000 + number, text, negative_prompt, "-")


def family(model: LoadedModel) -> Family:
    found = family_of(model.pipeline)
    assert found is not None
    return found
