"""Options of a card that make a model fit: each acts on tiny pipelines of several families, or is refused with a reason."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pipelines.denoising.batch import Batch, Denoised, ImageFailed, Outcome
from pipelines.denoising.call import CallSettings
from pipelines.denoising.families import family_of
from pipelines.denoising.slots import Slots
from pipelines.denoising.whole_batch import WholeBatch
from pipelines.lora import Lora
from pipelines.model_card import ModelCard
from pipelines.protocol import Item
from pipelines.worker.loader import CannotLoad, LoadedModel, load
from pipelines.worker.memory_options import OptionRefused, denoiser_of, offload, place, tensor_bytes
from pipelines.worker.model_cache import ModelCache
from tests.support import tiny

CPU = torch.device("cpu")
MAKERS: dict[str, Callable[[], Any]] = {
    "sdxl": tiny.sdxl_pipeline,
    "flux": tiny.flux_pipeline,
    "z-image": tiny.z_image_pipeline,
    "qwen-image": tiny.qwen_image_pipeline,
}
NARROW: list[dict[str, Any]] = [{"quantization": "int8"}, {"quantization": "float8"}, {"layerwise_casting": True}]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("models")
    for name, make in MAKERS.items():
        make().save_pretrained(base / name, safe_serialization=True)
    return {name: base / name for name in MAKERS}


def card_of(folder: Path, **options: Any) -> ModelCard:
    values = {"licence": "-", "tiers": ("0.5K",), "steps": 3, "guidance": 3.0, "multiple_of": 32, "max_batch": 2}
    return ModelCard.from_flat(**{"name": "tiny", "folder": str(folder), **values, **options})


def loaded(folder: Path, **options: Any) -> LoadedModel:
    return load(card_of(folder, **options), traced=False)


def images_of(
    model: LoadedModel, whole: bool = False, side: int = 64, words: str = "marble warm"
) -> list[torch.Tensor]:
    """Make two images in company, in slots or as a whole batch."""
    made: dict[str, torch.Tensor] = {}

    def watch(outcome: Outcome) -> None:
        if isinstance(outcome, ImageFailed):
            raise outcome.error
        if isinstance(outcome, Denoised):
            made[outcome.item.image_id] = outcome.image

    family = family_of(model.pipeline)
    assert family is not None
    settings = CallSettings(side, side, 3, 3.0)
    batch: Batch = WholeBatch(model, settings, 2, watch) if whole else Slots(model, family, settings, 2, watch)
    for seed in (1, 2):
        batch.enter(Item(f"{seed}", seed, words, "", "-"))
    while len(batch):
        batch.tick()
    return [made["1"], made["2"]]


def held(model: LoadedModel) -> int:
    """Bytes of the denoiser's weights."""
    return sum(map(tensor_bytes, denoiser_of(model.pipeline).parameters()))


def difference(one: list[torch.Tensor], other: list[torch.Tensor]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("options", NARROW, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", MAKERS)
def test_narrow_weights_take_less_memory_and_change_a_picture_little(
    folders: dict[str, Path], name: str, dtype: str, options: dict[str, Any]
) -> None:
    plain, narrow = (loaded(folders[name], dtype=dtype, **more) for more in ({}, options))
    assert held(narrow) < held(plain)
    assert 0 < difference(images_of(narrow), images_of(plain)) < 0.3


@pytest.mark.parametrize("options", NARROW, ids=str)
def test_an_image_of_narrow_weights_does_not_depend_on_its_company(
    folders: dict[str, Path], options: dict[str, Any]
) -> None:
    model = loaded(folders["flux"], **options)
    one, other = images_of(model), images_of(model)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    # Encoded as other words, the second image is another one, and the first one the same.
    made: list[torch.Tensor] = []
    family = family_of(model.pipeline)
    assert family is not None
    slots = Slots(
        model,
        family,
        CallSettings(64, 64, 3, 3.0),
        2,
        lambda outcome: made.append(outcome.image) if isinstance(outcome, Denoised) else None,
    )
    slots.enter(Item("1", 1, "marble warm", "", "-"))
    slots.tick()
    slots.enter(Item("2", 9, "wood cool red", "", "-"))
    while len(slots):
        slots.tick()
    assert torch.equal(made[0], one[0])


@pytest.mark.parametrize("options", NARROW, ids=str)
@pytest.mark.parametrize("name", ["sdxl", "flux"])
def test_a_lora_acts_on_narrow_weights_and_leaves_no_trace(
    folders: dict[str, Path], tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    file = tiny.save_lora(MAKERS[name], tmp_path / "lora.safetensors")
    model = loaded(folders[name], **options)
    before = images_of(model)
    with_lora = images_of(model.with_loras([Lora("l", str(file), 1.0)]))
    assert difference(with_lora, before) > 0
    assert all(torch.equal(a, b) for a, b in zip(images_of(model.with_loras([])), before, strict=True))
    adapters = [weight for name, weight in denoiser_of(model.pipeline).named_parameters() if ".lora_A." in name]
    # Narrow ones would lose what the LoRA was taught.
    assert {weight.dtype for weight in adapters} == {torch.float32}


@pytest.mark.parametrize("name", MAKERS)
def test_weights_that_are_brought_layer_by_layer_give_the_same_bytes(folders: dict[str, Path], name: str) -> None:
    model = loaded(folders[name], offload="group")
    offload(model.card, model.pipeline, CPU)
    parts = [part for part in model.pipeline.components.values() if isinstance(part, torch.nn.Module)]
    hooked = [layer for part in parts for layer in part.modules() if hasattr(layer, "_diffusers_hook")]
    layers = [layer for part in parts for layer in part.modules() if isinstance(layer, torch.nn.Linear)]
    assert set(layers) <= set(hooked)
    assert model.findings.only_full
    assert difference(images_of(model), images_of(loaded(folders[name]))) == 0


@pytest.mark.parametrize("name", MAKERS)
def test_components_that_take_turns_give_the_same_bytes(folders: dict[str, Path], name: str) -> None:
    model = loaded(folders[name], offload="model")
    offload(model.card, model.pipeline, CPU)
    assert not model.card.takes_slots
    plain = images_of(loaded(folders[name]), whole=True)
    for _ in range(2):
        assert all(hasattr(model.pipeline.components[part], "_hf_hook") for part in ("vae", "text_encoder"))
        assert difference(images_of(model, whole=True), plain) == 0


def test_a_cpu_needs_no_offloading(folders: dict[str, Path]) -> None:
    card = card_of(folders["sdxl"], offload="group")
    with pytest.raises(CannotLoad, match="on a CPU the weights are in its memory already; remove the key"):
        ModelCache(CPU, None, lambda _: None).load(card)
    with pytest.raises(OptionRefused):
        place(card, load(card, traced=False).pipeline, CPU)


def with_tiles(folder: Path, side: int, to: Path) -> Path:
    """Return a copy of a model whose VAE decodes tiles of this many pixels."""
    make = MAKERS[folder.name]
    pipeline = make()
    pipeline.vae.register_to_config(sample_size=side)
    pipeline.save_pretrained(to, safe_serialization=True)
    return to


@pytest.mark.parametrize("name", ["sdxl", "flux", "z-image"])
def test_tiles_act_on_large_images_alone(folders: dict[str, Path], tmp_path: Path, name: str) -> None:
    folder = with_tiles(folders[name], 128, tmp_path / name)
    plain, tiled = loaded(folder), loaded(folder, vae_tiling=True)
    assert tiled.pipeline.vae.use_tiling
    assert difference(images_of(tiled, side=128), images_of(plain, side=128)) == 0
    assert difference(images_of(tiled, side=256), images_of(plain, side=256)) > 0


def test_tiles_that_would_not_make_up_an_image_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(CannotLoad, match="the tiles of this VAE, of 16 pixels"):
        loaded(with_tiles(folders["sdxl"], 16, tmp_path / "m"), vae_tiling=True)


def test_weights_are_made_narrow_once(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(CannotLoad, match="choose one of the two"):
        loaded(folders["flux"], quantization="int8", layerwise_casting=True)
    folder = tmp_path / "m"
    tiny.flux_pipeline().save_pretrained(folder, safe_serialization=True)
    config = folder / "transformer" / "config.json"
    config.write_text(
        json.dumps({**json.loads(config.read_text()), "quantization_config": {"quant_method": "torchao"}})
    )
    with pytest.raises(CannotLoad, match="quantized already; remove the key"):
        loaded(folder, quantization="int8")
