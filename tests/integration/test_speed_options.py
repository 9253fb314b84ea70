"""Options of a card that make a denoiser faster: each acts on tiny pipelines of several families, or is refused with a reason."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import QwenImageTransformer2DModel

from pipelines.lora import Lora
from pipelines.step_cache import FirstBlock, MagCache, StepCache, TaylorSeer
from pipelines.worker.loader import CannotLoad, LoadedModel
from pipelines.worker.memory_options import denoiser_of
from pipelines.worker.model_cache import ModelCache
from tests.support import tiny
from tests.support.options import (
    MAKERS,
    MATH,
    card_of,
    difference,
    images_of,
    kernels_of_attention,
    loaded,
    same,
    save_all,
)

CPU = torch.device("cpu")


def deeper_qwen() -> Any:
    """Return a Qwen-Image of two blocks, of which a cache can leave out one."""
    pipeline = tiny.qwen_image_pipeline()
    torch.manual_seed(1)
    config = {**pipeline.transformer.config, "num_layers": 2}
    pipeline.transformer = QwenImageTransformer2DModel.from_config(config)
    return pipeline


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    makers = {**MAKERS, "qwen-image": deeper_qwen, "flux2-klein": tiny.flux2_klein_pipeline}
    return save_all(makers, tmp_path_factory.mktemp("models"))


# ── attention ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["flux", "z-image", "qwen-image", "flux2-klein"])
def test_the_card_chooses_what_computes_attention(folders: dict[str, Path], name: str) -> None:
    plain, chosen = loaded(folders[name]), loaded(folders[name], attention="_native_math")
    with kernels_of_attention(chosen) as kernels:
        made = images_of(chosen)
    assert kernels == {MATH}
    assert difference(made, images_of(plain)) < 0.01


def test_the_choice_of_one_model_is_not_that_of_the_next(folders: dict[str, Path]) -> None:
    before = images_of(loaded(folders["flux"]))
    loaded(folders["z-image"], attention="_native_math")
    assert same(images_of(loaded(folders["flux"])), before)


def test_attention_that_the_device_cannot_compute_is_refused(folders: dict[str, Path]) -> None:
    card = card_of(folders["flux"], attention="_native_cudnn")
    with pytest.raises(CannotLoad, match="attention = '_native_cudnn': cpu cannot compute it in float32"):
        ModelCache(CPU, None, lambda _: None).load(card)
    ModelCache(CPU, None, lambda _: None).load(card_of(folders["flux"], attention="_native_math"))


# ── layout ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_unet_s_convolutions_are_laid_out_for_them(folders: dict[str, Path]) -> None:
    plain, laid_out = loaded(folders["sdxl"]), loaded(folders["sdxl"], channels_last=True)
    weights = laid_out.pipeline.unet.conv_in.weight
    assert weights.is_contiguous(memory_format=torch.channels_last)
    assert not plain.pipeline.unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    assert difference(images_of(laid_out), images_of(plain)) < 1e-4


# ── compiled blocks ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "name",
    ["flux", pytest.param("sdxl", marks=pytest.mark.slow), pytest.param("z-image", marks=pytest.mark.slow)],
)
def test_blocks_are_compiled_once_for_a_size_and_give_the_same_bytes_each_time(
    folders: dict[str, Path], name: str
) -> None:
    plain, compiled = loaded(folders[name]), loaded(folders[name], compile=True)
    assert compiled.findings.only_full
    first, uncompiled = images_of(compiled), images_of(plain)
    # A GPU's libraries may give the very bits of blocks that are not compiled.
    assert difference(first, uncompiled) < 0.01
    with torch.compiler.set_stance("force_eager"):
        assert same(images_of(compiled), uncompiled)
    with torch.compiler.set_stance("fail_on_recompile"):
        assert same(images_of(compiled), first)
        # Another size would have to be compiled again.
        with pytest.raises(RuntimeError, match="fail_on_recompile"):
            images_of(compiled, side=256)
    # One image beside a free slot has the bits of the full batch.
    assert torch.equal(images_of(compiled, "marble warm", "wood cool")[0], first[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sdxl", "flux"])
def test_a_lora_acts_on_compiled_blocks_and_leaves_no_trace(
    folders: dict[str, Path], tmp_path: Path, name: str
) -> None:
    plain, compiled = loaded(folders[name]), loaded(folders[name], compile=True)
    before = images_of(compiled)
    lora = [Lora("l", str(tiny.save_lora(MAKERS[name], tmp_path / "lora.safetensors")), 1.0)]
    with_lora = images_of(compiled.with_loras(lora))
    assert difference(with_lora, before) > 0.01
    assert difference(with_lora, images_of(plain.with_loras(lora))) < 1e-4
    assert same(images_of(compiled.with_loras([])), before)


def test_compiled_code_that_is_too_much_is_forgotten(folders: dict[str, Path], tmp_path: Path) -> None:
    file = str(tiny.save_lora(MAKERS["flux"], tmp_path / "lora.safetensors"))
    plain, compiled = loaded(folders["flux"]), loaded(folders["flux"], compile=True)
    torch._dynamo.reset()
    # The test is about when code is made anew, so the compiler behind torch's own, which takes long, is left out.
    # torch itself undoes this: a monkeypatch cannot put its settings back.
    with torch.compiler.set_stance(force_backend="eager"):
        with torch._dynamo.config.patch(recompile_limit=2):
            for strength in (0.25, 0.5, 0.75, 1.0, 0.25):
                lora = [Lora("l", file, strength)]
                made, wanted = (images_of(model.with_loras(lora), steps=1) for model in (compiled, plain))
                assert difference(made, wanted) < 1e-4
        assert same(images_of(compiled.with_loras([]), steps=1), images_of(compiled.with_loras([]), steps=1))


@pytest.mark.slow
def test_quantized_blocks_are_compiled_too(folders: dict[str, Path]) -> None:
    options: dict[str, Any] = {"quantization": "int8", "dtype": "bfloat16"}
    plain, compiled = loaded(folders["flux"], **options), loaded(folders["flux"], compile=True, **options)
    assert difference(images_of(compiled), images_of(plain)) < 0.2


# ── step caches ──────────────────────────────────────────────────────────────────────────────────────────────────────

RATIOS = (1.0,) * 8
CACHES: list[tuple[str, StepCache]] = [
    ("flux", FirstBlock(threshold=1.0)),
    ("flux", TaylorSeer(cache_interval=3, disable_cache_before_step=2)),
    ("flux", MagCache(threshold=0.5)),
    ("qwen-image", FirstBlock(threshold=1.0)),
    ("qwen-image", TaylorSeer(cache_interval=3, disable_cache_before_step=2)),
    ("qwen-image", MagCache(threshold=0.5, mag_ratios=RATIOS)),
    ("flux2-klein", TaylorSeer(cache_interval=3, disable_cache_before_step=2)),
    ("flux2-klein", MagCache(threshold=0.5, mag_ratios=RATIOS)),
]


@contextmanager
def counted(model: LoadedModel) -> Iterator[list[str]]:
    """Yield the names of the denoiser's linear layers that were computed."""
    calls: list[str] = []
    hooks = [
        layer.register_forward_hook(lambda *_, name=name: calls.append(name))
        for name, layer in denoiser_of(model.pipeline).named_modules()
        if isinstance(layer, torch.nn.Linear)
    ]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


@pytest.mark.parametrize(("name", "cache"), CACHES, ids=str)
def test_a_cache_leaves_out_work_and_forgets_it_between_images(
    folders: dict[str, Path], name: str, cache: StepCache
) -> None:
    options: dict[str, Any] = {"steps": 8, "max_batch": 1}
    plain, cached = loaded(folders[name], **options), loaded(folders[name], cache=cache, **options)
    assert not cached.card.takes_slots
    with counted(plain) as all_layers:
        before = images_of(plain, "marble warm", steps=8, slots=False)
    with counted(cached) as some_layers:
        first = images_of(cached, "marble warm", steps=8)
    assert len(some_layers) < len(all_layers)
    assert torch.isfinite(first[0]).all()
    assert difference(first, before) > 0
    # Neither another image nor a cancelled one leaves anything behind.
    images_of(cached, "wood cool", steps=8)
    images_of(cached, "wood cool", steps=8, leaving_after=5)
    assert same(images_of(cached, "marble warm", steps=8), first)


@pytest.mark.parametrize(("name", "cache"), [pair for pair in CACHES if not isinstance(pair[1], FirstBlock)], ids=str)
def test_a_cache_that_decides_by_steps_alone_heeds_no_neighbour(
    folders: dict[str, Path], name: str, cache: StepCache
) -> None:
    model = loaded(folders[name], cache=cache, steps=8)
    one, other = (images_of(model, "marble warm", words, steps=8) for words in ("wood cool", "cloth dark"))
    assert torch.equal(one[0], other[0])
    assert not torch.equal(one[1], other[1])


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("sdxl", {"cache": TaylorSeer()}, "it does not act on StableDiffusionXLPipeline; remove the key"),
        ("flux2-klein", {"cache": FirstBlock()}, "there it may be one of taylorseer, magcache"),
        ("flux2-klein", {"cache": MagCache()}, "needs mag_ratios of its own"),
        ("flux", {"cache": FirstBlock(), "max_batch": 4}, "write max_batch = 1 instead of 4"),
        ("flux", {"cache": FirstBlock(), "max_batch": 1, "compile": True}, "choose one of the two"),
        ("flux", {"channels_last": True}, "FluxTransformer2DModel is not made of convolutions"),
        ("sdxl", {"attention": "_native_math"}, "UNet2DConditionModel of diffusers computes attention in its own way"),
        ("flux", {"attention": "sage"}, "it needs sageattention; install it with"),
        ("flux", {"compile": True, "layerwise_casting": True}, "choose one of the two, or quantization"),
        ("flux", {"compile": True, "offload": "group"}, "compiled blocks cannot be offloaded"),
    ],
)
def test_what_cannot_act_is_refused(folders: dict[str, Path], name: str, options: dict[str, Any], told: str) -> None:
    with pytest.raises(CannotLoad, match=told):
        loaded(folders[name], **options)
