"""Every family with every option that a CPU can show: the option acts, or the card is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderDC, AutoencoderKL

from pipelines.worker.loader import CannotLoad, LoadedModel
from pipelines.worker.memory_options import denoiser_of, offload, tensor_bytes
from tests.support import tiny
from tests.support.device import DEVICE
from tests.support.model_matrix import ROWS
from tests.support.options import (
    MATH,
    assert_offloaded,
    difference,
    images_of,
    kernels_of_attention,
    loaded,
    moving_weights,
    same,
)

TINY = sorted({row.tiny for row in ROWS})
#: The families whose denoisers let diffusers choose what computes attention; below, those made of convolutions.
ATTENTION = {"flux", "flux2", "flux2_klein", "z_image", "qwen_image", "krea2", "kandinsky5", "chroma", "longcat_image"}
CONVOLUTIONS = {"unet", "sdxl"}
#: The families whose denoisers name the blocks that repeat in them.
COMPILED = ATTENTION | CONVOLUTIONS | {"qwen_image21"}


@pytest.fixture(scope="module", params=TINY)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def make(family: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., LoadedModel]:
    """Return a function that loads the family's tiny model with options on its card."""
    folder: Path = tmp_path_factory.mktemp("models") / family
    pipeline = getattr(tiny, family)()
    if isinstance(pipeline.vae, AutoencoderKL):
        # This is the width of its tiles, which must be whole latents.
        pipeline.vae.register_to_config(sample_size=128)
    tiny.save(pipeline, folder)
    row = next(row for row in ROWS if row.tiny == family)
    # The multiples of tiny models differ from those of real ones.
    card: dict[str, Any] = {**row.card, "multiple_of": max(32, row.tiny_multiple)}
    return lambda **options: loaded(folder, **{**card, **options})


@pytest.fixture(scope="module")
def plain(make: Callable[..., LoadedModel]) -> LoadedModel:
    return make()


@pytest.fixture(scope="module")
def images(plain: LoadedModel) -> list[torch.Tensor]:
    return images_of(plain)


def held(model: LoadedModel) -> int:
    return sum(map(tensor_bytes, denoiser_of(model.pipeline).parameters()))


@pytest.mark.parametrize(
    "options", [{"quantization": "int8"}, {"quantization": "float8"}, {"layerwise_casting": True}], ids=str
)
def test_narrow_weights_take_less(
    make: Callable[..., LoadedModel], plain: LoadedModel, images: list[torch.Tensor], options: dict[str, Any]
) -> None:
    narrow = make(**options)
    assert held(narrow) < held(plain)
    made = images_of(narrow)
    assert all(torch.isfinite(image).all() for image in made)
    assert difference(made, images) > 0


@pytest.mark.parametrize("how", ["model", "group"])
def test_offloaded_weights_make_the_same_picture(
    make: Callable[..., LoadedModel], plain: LoadedModel, how: str
) -> None:
    model = make(offload=how, max_batch=1)
    offload(model.card, model.pipeline, DEVICE)
    made, wanted = images_of(model), images_of(plain, slots=model.card.takes_slots)
    if how == "group":
        assert difference(made, wanted) == 0
    else:
        # On a CPU an offloaded component lies at other addresses, on which last bits depend: docs/decisions/weights.md.
        assert difference(made, wanted) < 1e-5
    assert_offloaded(model)


def test_weights_that_were_moved_make_the_same_picture(
    make: Callable[..., LoadedModel], images: list[torch.Tensor]
) -> None:
    model = make()
    for _ in range(2):
        with moving_weights(model):
            assert difference(images_of(model), images) == 0


def test_attention_is_chosen_or_refused(
    make: Callable[..., LoadedModel], images: list[torch.Tensor], family: str
) -> None:
    if family.removesuffix("_pipeline") not in ATTENTION:
        with pytest.raises(CannotLoad, match="remove the key"):
            make(attention="_native_math")
        return
    chosen = make(attention="_native_math")
    with kernels_of_attention(chosen) as kernels:
        made = images_of(chosen)
    assert kernels == {MATH}
    assert difference(made, images) < 0.01


def test_convolutions_are_laid_out_or_it_is_refused(
    make: Callable[..., LoadedModel], images: list[torch.Tensor], family: str
) -> None:
    if family.removesuffix("_pipeline") not in CONVOLUTIONS:
        with pytest.raises(CannotLoad, match="remove the key"):
            make(channels_last=True)
        return
    laid_out = make(channels_last=True)
    assert laid_out.pipeline.unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    assert difference(images_of(laid_out), images) < 1e-4


def test_a_vae_decodes_large_images_in_tiles(make: Callable[..., LoadedModel]) -> None:
    plain, tiled = make(max_batch=1), make(max_batch=1, vae_tiling=True)
    side = 1024 if isinstance(plain.pipeline.vae, AutoencoderDC) else 512
    whole, in_tiles = (images_of(model, "marble warm", side=side, steps=1) for model in (plain, tiled))
    assert in_tiles[0].shape == whole[0].shape
    assert torch.isfinite(in_tiles[0]).all()
    assert difference(in_tiles, whole) > 0


def test_blocks_are_compiled_or_it_is_refused(
    make: Callable[..., LoadedModel], images: list[torch.Tensor], family: str
) -> None:
    if family.removesuffix("_pipeline") not in COMPILED:
        with pytest.raises(CannotLoad, match="names no blocks to compile; remove the key"):
            make(compile=True)
        return
    compiled = make(compile=True)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    # What is compiled is the same without the compiler behind torch's own, which takes long.
    with torch.compiler.set_stance(force_backend="eager"):
        made = images_of(compiled)
        frames = torch._dynamo.utils.counters["frames"]["ok"]
        again = images_of(compiled)
    assert 0 < frames == torch._dynamo.utils.counters["frames"]["ok"]
    assert not torch._dynamo.utils.counters["graph_break"]
    assert same(made, images)
    assert same(again, images)
