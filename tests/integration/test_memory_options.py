"""Options of a card that make a model fit: each acts on tiny pipelines of several families, or is refused with a reason."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.hooks import HookRegistry

from pipelines.lora import Lora
from pipelines.memory_estimate import why_too_large
from pipelines.worker.loader import CannotLoad, LoadedModel, load
from pipelines.worker.memory_options import OptionRefused, bytes_on_device, denoiser_of, offload, place, tensor_bytes
from pipelines.worker.model_cache import ModelCache
from tests.support import tiny
from tests.support.device import DEVICE
from tests.support.options import MAKERS, assert_offloaded, card_of, difference, images_of, loaded, same, save_all

CPU = torch.device("cpu")
NARROW: list[dict[str, Any]] = [{"quantization": "int8"}, {"quantization": "float8"}, {"layerwise_casting": True}]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return save_all(MAKERS, tmp_path_factory.mktemp("models"))


def held(model: LoadedModel) -> int:
    """Return the bytes of the denoiser's weights."""
    return sum(map(tensor_bytes, denoiser_of(model.pipeline).parameters()))


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
    alone, in_company = (images_of(model, "marble warm", other) for other in ("marble warm", "wood cool red"))
    assert torch.equal(in_company[0], alone[0])
    assert not torch.equal(in_company[1], alone[1])


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
    assert same(images_of(model.with_loras([])), before)
    adapters = [weight for name, weight in denoiser_of(model.pipeline).named_parameters() if ".lora_A." in name]
    # Narrow adapters would lose what the LoRA was taught.
    assert {weight.dtype for weight in adapters} == {torch.float32}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("name", MAKERS)
def test_weights_that_are_brought_layer_by_layer_give_the_same_bytes(
    folders: dict[str, Path], name: str, dtype: str
) -> None:
    model = loaded(folders[name], offload="group", dtype=dtype)
    offload(model.card, model.pipeline, DEVICE)
    assert model.findings.only_full
    assert same(images_of(model), images_of(loaded(folders[name], dtype=dtype)))
    assert_offloaded(model)


def is_brought_layer_by_layer(part: torch.nn.Module) -> bool:
    layers = (HookRegistry.check_if_exists_or_initialize(layer) for layer in part.modules())
    return any(layer.get_hook("group_offloading") is not None for layer in layers)


@pytest.mark.parametrize(("dtype", "stays"), [("float32", False), ("bfloat16", False), ("float16", True)])
def test_a_vae_that_decodes_in_float32_stays_on_the_device(folders: dict[str, Path], dtype: str, stays: bool) -> None:
    model = loaded(folders["sdxl"], offload="group", dtype=dtype)
    pipeline = model.pipeline
    assert pipeline.vae.config.force_upcast
    offload(model.card, pipeline, DEVICE)
    assert is_brought_layer_by_layer(pipeline.unet)
    assert is_brought_layer_by_layer(pipeline.vae) != stays
    taken = sum(map(tensor_bytes, (*pipeline.vae.parameters(), *pipeline.vae.buffers())))
    assert bytes_on_device(model.card, pipeline) == (taken if stays else 0)
    assert (why_too_large(model.card, folders["sdxl"], taken // 2, on_cpu=False, image_bytes=0) is not None) == stays


@pytest.mark.parametrize(
    "how",
    ["group", pytest.param("model", marks=pytest.mark.skipif(DEVICE.type == "cpu", reason="diffusers asks for a GPU"))],
)
@pytest.mark.parametrize("name", ["sdxl", "flux"])
def test_a_lora_acts_on_offloaded_weights_and_leaves_no_trace(
    folders: dict[str, Path], tmp_path: Path, name: str, how: str
) -> None:
    lora = [Lora("l", str(tiny.save_lora(MAKERS[name], tmp_path / "lora.safetensors")), 1.0)]
    plain, offloaded = loaded(folders[name]), loaded(folders[name], offload=how)
    offload(offloaded.card, offloaded.pipeline, DEVICE)
    slots = offloaded.card.takes_slots
    for loras in (lora, []):
        wanted = images_of(plain.with_loras(loras), slots=slots)
        assert same(images_of(offloaded.with_loras(loras)), wanted)
    assert_offloaded(offloaded)


@pytest.mark.parametrize("name", MAKERS)
def test_components_that_take_turns_give_the_same_bytes(folders: dict[str, Path], name: str) -> None:
    model = loaded(folders[name], offload="model")
    offload(model.card, model.pipeline, DEVICE)
    assert not model.card.takes_slots
    plain = images_of(loaded(folders[name]), slots=False)
    for _ in range(2):
        assert same(images_of(model), plain)
    assert_offloaded(model)


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
    assert same(images_of(tiled, side=128), images_of(plain, side=128))
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
