"""Models as people have them on disk: in other places, in parts, in one file, pickled, quantized."""

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchao.quantization
from diffusers import BitsAndBytesConfig, FluxTransformer2DModel, TorchAoConfig, UNet2DConditionModel
from huggingface_hub import try_to_load_from_cache
from safetensors.torch import load_file, save_file
from sdnq import SDNQConfig
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from pipelines.denoising.call import CallSettings, call_arguments
from pipelines.lora import Lora
from pipelines.model_card import ModelCard
from pipelines.protocol import Item
from pipelines.worker.loader import CannotLoad, LoadedModel, load
from pipelines.worker.loras import LoraUnusable
from pipelines.worker.memory_options import offload, tensor_bytes
from pipelines.worker.model_cache import ModelCache
from server.card_files import with_files
from tests.support import options, tiny
from tests.support.device import DEVICE
from tests.support.gguf_file import save_as_gguf
from tests.support.ldm import save_as_one_file

PARTS = ("unet", "vae", "text_encoder")


@pytest.fixture
def folder(tiny_folders: dict[str, Path], tmp_path: Path) -> Path:
    """Return a folder of a good model, to be rearranged."""
    return shutil.copytree(tiny_folders["good"], tmp_path / "model")


def card(**values: Any) -> ModelCard:
    shared = {"licence": "-", "tiers": ("0.5K",), "steps": 2, "guidance": 2.0, "multiple_of": 32}
    found, problems = with_files(ModelCard.from_flat(name="m", **{**shared, **values}), Path("/"))
    assert problems == []
    return found


def problems(**values: Any) -> str:
    shared = {"licence": "-", "tiers": ("0.5K",), "steps": 2, "guidance": 2.0, "multiple_of": 32}
    return "; ".join(with_files(ModelCard.from_flat(name="m", **{**shared, **values}), Path("/"))[1])


def loaded(**values: Any) -> LoadedModel:
    return load(card(**values), traced=False)


def image_of(model: LoadedModel) -> torch.Tensor:
    item = Item("-", 7, "marble warm", "", "-")
    with torch.inference_mode():
        made: torch.Tensor = model.pipeline(**call_arguments(model, CallSettings(64, 64, 2, 2.0), [item])).images
    return made


def same_weights(one: LoadedModel, other: LoadedModel, parts: Iterable[str] = PARTS) -> bool:
    return all(
        torch.equal(tensor, other.pipeline.components[part].state_dict()[key])
        for part in parts
        for key, tensor in one.pipeline.components[part].state_dict().items()
    )


def assert_lora_acts(model: LoadedModel, folder: Path, make: Callable[[], Any] = tiny.flux_pipeline) -> None:
    """Fail unless a LoRA of the model that `make` returns changes an image, and leaves nothing behind."""
    lora = Lora("l", str(tiny.save_lora(make, folder / "lora.safetensors")), 1.0)
    before = image_of(model)
    assert not torch.equal(image_of(model.with_loras([lora])), before)
    assert torch.equal(image_of(model.with_loras([])), before)


def test_a_folder_behind_links_with_spaces_and_letters_of_any_alphabet(folder: Path, tmp_path: Path) -> None:
    plain = loaded(folder=str(folder))
    store = tmp_path / "Weights, of Zoë 画"
    linked = tmp_path / "a model"
    linked.mkdir()
    shutil.copytree(folder, store)
    for entry in store.iterdir():
        if entry.name == "unet":
            # The hub's cache keeps files so: each is a link.
            (linked / "unet").mkdir()
            for file in entry.iterdir():
                (linked / "unet" / file.name).symlink_to(file)
        else:
            (linked / entry.name).symlink_to(entry)
    model = loaded(folder=str(linked))
    assert same_weights(model, plain)
    assert model.revision == plain.revision


def test_files_of_one_variant_only(folder: Path) -> None:
    plain = loaded(folder=str(folder))
    for part in PARTS:
        for file in (folder / part).glob("*.safetensors"):
            file.rename(file.with_suffix(".fp16.safetensors"))
    assert "set variant = 'fp16'" in problems(folder=str(folder))
    assert same_weights(loaded(folder=str(folder), variant="fp16"), plain)


def test_pickled_weights_are_read_only_if_the_card_says_so(folder: Path) -> None:
    plain = loaded(folder=str(folder))
    for part, name in (
        ("unet", "diffusion_pytorch_model"),
        ("vae", "diffusion_pytorch_model"),
        ("text_encoder", "model"),
    ):
        file = folder / part / f"{name}.safetensors"
        pickled = "pytorch_model.bin" if part == "text_encoder" else f"{name}.bin"
        torch.save(load_file(file), folder / part / pickled)
        file.unlink()
    told = problems(folder=str(folder))
    assert "only diffusion_pytorch_model.bin" in told
    assert "write pickle = true if you trust its maker" in told
    assert same_weights(loaded(folder=str(folder), pickle=True), plain)


def test_a_part_that_the_pipeline_can_do_without(folder: Path) -> None:
    index = json.loads((folder / "model_index.json").read_text())
    index |= {
        "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
        "feature_extractor": ["transformers", "CLIPImageProcessor"],
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    model = loaded(folder=str(folder))
    assert model.pipeline.safety_checker is None
    assert torch.isfinite(image_of(model)).all()
    shutil.rmtree(folder / "vae")
    assert "vae: model_index.json names it, and there is no folder vae" in problems(folder=str(folder))


def test_a_whole_model_in_one_file_with_the_configuration_of_a_folder(folder: Path, tmp_path: Path) -> None:
    plain = loaded(folder=str(folder))
    file = tmp_path / "my model.safetensors"
    save_as_one_file(plain.pipeline, file)
    # The folder gives nothing but its configuration.
    for part in PARTS:
        for weights in (folder / part).glob("*.safetensors"):
            weights.unlink()
    model = loaded(folder=str(folder), file=str(file))
    assert same_weights(model, plain)
    assert torch.equal(image_of(model), image_of(plain))
    assert model.revision != plain.revision


def test_sdxl_in_one_file_with_the_configuration_of_a_folder(tmp_path: Path) -> None:
    pipeline = tiny.sdxl_pipeline()
    # Its encoders are told apart by their widths, which are not equal in SDXL.
    wider = {**pipeline.text_encoder_2.config.to_dict(), "hidden_size": 24, "projection_dim": 24}
    pipeline.text_encoder_2 = CLIPTextModelWithProjection(CLIPTextConfig(**wider)).eval()
    reads = {"cross_attention_dim": 16 + 24, "projection_class_embeddings_input_dim": 24 + 6 * 8}
    pipeline.unet = UNet2DConditionModel.from_config({**pipeline.unet.config, **reads})
    pipeline.save_pretrained(tmp_path / "sdxl")
    plain = loaded(folder=str(tmp_path / "sdxl"))
    save_as_one_file(plain.pipeline, tmp_path / "toon.safetensors")
    for weights in (tmp_path / "sdxl").rglob("*.safetensors"):
        weights.unlink()
    model = loaded(folder=str(tmp_path / "sdxl"), file=str(tmp_path / "toon.safetensors"))
    assert same_weights(model, plain, (*PARTS, "text_encoder_2"))
    assert torch.equal(image_of(model), image_of(plain))


@pytest.mark.skipif(
    isinstance(try_to_load_from_cache("stable-diffusion-v1-5/stable-diffusion-v1-5", "model_index.json"), str),
    reason="the configuration is on this box",
)
def test_a_file_without_its_configuration_says_what_is_missing(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_as_one_file(loaded(folder=str(tiny_folders["good"])).pipeline, file)
    with pytest.raises(CannotLoad, match=r"stable-diffusion-v1-5.* write beside file folder ="):
        loaded(file=str(file))


def test_a_file_that_lacks_weights_is_refused(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "part.safetensors"
    plain = loaded(folder=str(folder))
    save_as_one_file(plain.pipeline, file)
    weights = load_file(file)
    del weights["first_stage_model.decoder.conv_out.weight"]
    save_file(weights, file, {"format": "pt"})
    with pytest.raises(CannotLoad, match=r"part.safetensors lacks weights of vae"):
        loaded(folder=str(folder), file=str(file))


@pytest.mark.parametrize("make", [tiny.flux_pipeline, tiny.z_image_pipeline])
def test_a_denoiser_alone_as_gguf(tmp_path: Path, make: Callable[[], Any]) -> None:
    pipeline = make()
    folder, file = tmp_path / "model", tmp_path / "denoiser.gguf"
    pipeline.save_pretrained(folder, safe_serialization=True)
    save_as_gguf(pipeline.transformer, file)
    plain = loaded(folder=str(folder))
    # The folder's own denoiser may be missing.
    for weights in (folder / "transformer").glob("*.safetensors"):
        weights.unlink()
    model = loaded(folder=str(folder), file=str(file))
    others = [name for name in ("vae", "text_encoder", "text_encoder_2") if name in pipeline.components]
    assert same_weights(model, plain, others)
    before, after = image_of(plain), image_of(model)
    assert not torch.equal(after, before)
    assert float((after - before).abs().max()) < 0.05
    assert_lora_acts(model, tmp_path, make)


@pytest.mark.parametrize("kind", ["Int8WeightOnlyConfig", "Float8WeightOnlyConfig"])
def test_a_folder_that_torchao_quantized(tmp_path: Path, kind: str) -> None:
    pipeline = tiny.flux_pipeline()
    pipeline.save_pretrained(tmp_path / "flux", safe_serialization=True)
    quantized = FluxTransformer2DModel.from_pretrained(
        tmp_path / "flux" / "transformer",
        quantization_config=TorchAoConfig(getattr(torchao.quantization, kind)()),
        torch_dtype=torch.bfloat16,
    )
    quantized.save_pretrained(tmp_path / "flux" / "transformer", safe_serialization=True)
    model = loaded(folder=str(tmp_path / "flux"), dtype="bfloat16")
    layer = model.pipeline.transformer.transformer_blocks[0].attn.to_q
    assert type(layer.weight) is type(quantized.transformer_blocks[0].attn.to_q.weight)
    assert torch.equal(layer.weight.dequantize(), quantized.transformer_blocks[0].attn.to_q.weight.dequantize())
    before = image_of(model)
    for file in (tmp_path / "flux" / "transformer").glob("*.safetensors"):
        # The weights in memory are no longer those of the file.
        file.write_bytes(bytes(file.stat().st_size))
    assert torch.equal(image_of(model), before)
    assert_lora_acts(model, tmp_path)


@pytest.mark.parametrize(("kind", "dtype"), [("int8", torch.int8), ("uint4", torch.uint8)])
def test_a_folder_that_sdnq_quantized(tmp_path: Path, kind: str, dtype: torch.dtype) -> None:
    pipeline = tiny.flux_pipeline()
    pipeline.save_pretrained(tmp_path / "flux", safe_serialization=True)
    # SDNQ's default leaves layers as small as these unquantized.
    config = SDNQConfig(weights_dtype=kind, minimum_allowed_numel=64, minimum_allowed_channel_size=8)
    quantized = FluxTransformer2DModel.from_pretrained(
        tmp_path / "flux" / "transformer", quantization_config=config, torch_dtype=torch.bfloat16
    )
    quantized.save_pretrained(tmp_path / "flux" / "transformer", safe_serialization=True)
    model = loaded(folder=str(tmp_path / "flux"), dtype="bfloat16")
    layer = model.pipeline.transformer.transformer_blocks[0].attn.to_q
    assert layer.weight.dtype == dtype
    assert torch.equal(layer.weight, quantized.transformer_blocks[0].attn.to_q.weight)
    assert image_of(model).isfinite().all()
    if kind == "int8":
        assert_lora_acts(model, tmp_path)
        return
    # diffusers compares the shapes of FLUX.1's layers with the LoRA's, and packed ones have others.
    with pytest.raises(LoraUnusable, match=r"lora\.safetensors"):
        assert_lora_acts(model, tmp_path)


@pytest.mark.skipif(DEVICE.type != "cuda", reason="diffusers asks for a GPU")
@pytest.mark.parametrize(
    "how",
    [
        {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": torch.bfloat16},
        {"load_in_8bit": True},
    ],
    ids=["nf4", "int8"],
)
def test_a_folder_that_bitsandbytes_quantized(tmp_path: Path, how: dict[str, Any]) -> None:
    pytest.importorskip("bitsandbytes")
    folder = tmp_path / "flux"
    tiny.flux_pipeline().save_pretrained(folder, safe_serialization=True)
    plain = options.loaded(folder, dtype="bfloat16")
    quantized = FluxTransformer2DModel.from_pretrained(
        folder / "transformer", quantization_config=BitsAndBytesConfig(**how), torch_dtype=torch.bfloat16
    )
    quantized.save_pretrained(folder / "transformer", safe_serialization=True)
    model = ModelCache(DEVICE, None, lambda _: None).load(options.card_of(folder, dtype="bfloat16"))
    held, of_plain = (sum(map(tensor_bytes, one.pipeline.transformer.parameters())) for one in (model, plain))
    assert held < 0.6 * of_plain
    made = options.images_of(model)
    assert options.same(options.images_of(model), made)
    for where in ("model", "group"):
        offloaded = options.loaded(folder, dtype="bfloat16", offload=where)
        offload(offloaded.card, offloaded.pipeline, DEVICE)
        slots = offloaded.card.takes_slots
        assert options.same(options.images_of(offloaded), options.images_of(model, slots=slots))
        options.assert_offloaded(offloaded)


def test_quantized_weights_name_the_package_that_they_need(folder: Path) -> None:
    for method, told in (
        ("quanto", "needs optimum-quanto; install it with"),
        ("magic", "which diffusers does not know"),
    ):
        config = folder / "unet" / "config.json"
        values = json.loads(config.read_text())
        config.write_text(json.dumps({**values, "quantization_config": {"quant_method": method}}))
        assert told in problems(folder=str(folder))
