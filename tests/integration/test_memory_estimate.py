"""The memory that a model will take, read from the headers of its files; a model that is too large is refused unread."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from pipelines.failure_reason import FailureReason
from pipelines.memory_estimate import component_bytes, least_of_an_image, most_at_once, size_for_people, why_too_large
from pipelines.protocol import (
    Evicted,
    Generate,
    Generated,
    Item,
    Load,
    Loaded,
    LoadFailed,
    Measured,
    Pin,
    Started,
    Unload,
)
from pipelines.worker.loader import CannotLoad, TooLarge, load
from pipelines.worker.memory_options import bytes_on_device, tensor_bytes
from pipelines.worker.model_cache import ModelCache
from tests.support import tiny
from tests.support.gguf_file import save_as_gguf
from tests.support.gpu_process import GpuProcess
from tests.support.ldm import save_as_one_file
from tests.support.options import MAKERS, card_of, save_all


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return save_all(MAKERS, tmp_path_factory.mktemp("models"))


def taken(pipeline: Any) -> dict[str, int]:
    """Return the bytes of each component's parameters and buffers."""
    return {
        name: sum(tensor_bytes(tensor) for tensor in (*part.parameters(), *part.buffers()))
        for name, part in pipeline.components.items()
        if isinstance(part, torch.nn.Module)
    }


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", MAKERS)
def test_the_headers_tell_what_a_model_takes(folders: dict[str, Path], name: str, dtype: str) -> None:
    card = card_of(folders[name], dtype=dtype)
    told = component_bytes(card, folders[name])
    assert told == pytest.approx(taken(load(card, traced=False).pipeline), rel=0.02, abs=256)
    assert list(told.values()) == sorted(told.values(), reverse=True)


@pytest.mark.parametrize(
    "options", [{"quantization": "int8"}, {"quantization": "float8"}, {"layerwise_casting": True}], ids=str
)
@pytest.mark.parametrize("name", MAKERS)
def test_the_headers_tell_what_narrow_weights_take(
    folders: dict[str, Path], name: str, options: dict[str, Any]
) -> None:
    card = card_of(folders[name], dtype="bfloat16", **options)
    told = component_bytes(card, folders[name])
    assert told == pytest.approx(taken(load(card, traced=False).pipeline), rel=0.1, abs=256)


def test_a_checkpoint_in_one_file_is_told_by_component(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    folder, file = tiny_folders["good"], tmp_path / "model.safetensors"
    pipeline = load(card_of(folder), traced=False).pipeline
    save_as_one_file(pipeline, file)
    card = card_of(folder, file=str(file))
    assert component_bytes(card, folder) == pytest.approx(taken(pipeline), rel=0.02, abs=256)
    # Without a folder, the file alone gives the same sum.
    assert sum(component_bytes(card, None).values()) == sum(component_bytes(card, folder).values())


def test_weights_of_a_gguf_file_stay_as_narrow_as_they_are(folders: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "flux.gguf"
    save_as_gguf(tiny.flux_pipeline().transformer, file)
    plain = card_of(folders["flux"], dtype="bfloat16")
    card = card_of(folders["flux"], file=str(file), dtype="bfloat16")
    told = component_bytes(card, folders["flux"])
    assert told == pytest.approx(taken(load(card, traced=False).pipeline), rel=0.02, abs=256)
    assert told["transformer"] < 0.8 * component_bytes(plain, folders["flux"])["transformer"]


def test_a_file_that_cannot_be_told_is_left_to_who_reads_it(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_folders["good"], tmp_path / "m")
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    header = json.dumps({"w": {"dtype": "F32"}}).encode()
    weights.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(CannotLoad, match="has a damaged header; copy it again"):
        ModelCache(torch.device("cpu"), None, lambda _: None).load(card_of(folder))


def test_what_is_too_large_is_told_with_what_would_do(folders: dict[str, Path]) -> None:
    folder = folders["z-image"]
    card = card_of(folder, name="z")
    image = least_of_an_image(card, folder)
    needed = sum(component_bytes(card, folder).values()) + image
    assert why_too_large(card, folder, needed, on_cpu=True) is None
    told = why_too_large(card, folder, needed - 2**19, on_cpu=True) or ""
    assert told.startswith(f"z is too large by 0.5 MiB: it takes {size_for_people(needed)} (")
    assert f", at least {size_for_people(image)} for an image) and there is room for" in told
    assert f"{size_for_people(needed - 2**19)}; write on its card " in told
    assert f'dtype = "bfloat16" ({size_for_people(needed // 2)})' in told
    assert "no option of its card would do" in (why_too_large(card, folder, 1, on_cpu=True) or "")


def test_casting_layers_is_a_way_out_without_any_package(folders: dict[str, Path]) -> None:
    folder = folders["flux"]
    narrow = card_of(folder, layerwise_casting=True)
    cast = sum(component_bytes(narrow, folder).values()) + least_of_an_image(narrow, folder)
    told = why_too_large(card_of(folder), folder, cast, on_cpu=True) or ""
    assert f"layerwise_casting = true ({size_for_people(cast)})" in told


@pytest.mark.parametrize(
    ("option", "value", "on_cpu"),
    [
        ("dtype", "bfloat16", True),
        ("quantization", "int8", True),
        ("layerwise_casting", True, True),
        ("offload", "model", False),
        ("offload", "group", False),
    ],
)
def test_a_way_out_that_is_told_makes_the_model_fit_once_it_is_taken(
    folders: dict[str, Path], option: str, value: Any, on_cpu: bool
) -> None:
    folder = folders["flux"]
    taken = card_of(folder, **{option: value})
    image = least_of_an_image(card_of(folder), folder)
    room = most_at_once(component_bytes(taken, folder), taken, ()) + image
    told = why_too_large(card_of(folder), folder, room, on_cpu=on_cpu) or ""
    assert f"{option} = {json.dumps(value)}" in told
    assert why_too_large(taken, folder, room, on_cpu=on_cpu) is None
    # On a CPU there is nowhere to take weights from.
    assert ("offload" in told) != on_cpu


@pytest.mark.parametrize(
    ("name", "image", "room", "on_cpu", "told"),
    [
        ("z-image", 0, 410_000, True, 'dtype = "bfloat16" and quantization = "int8"'),
        ("qwen-image", 0, 216_000, True, 'dtype = "bfloat16" and layerwise_casting = true'),
        ("qwen-image", 150_000, 110_000, False, 'dtype = "bfloat16" and offload = "model"'),
        ("qwen-image", 150_000, 80_000, False, 'dtype = "bfloat16" and offload = "group"'),
    ],
)
def test_two_options_are_told_if_none_would_do_alone(
    folders: dict[str, Path], name: str, image: int, room: int, on_cpu: bool, told: str
) -> None:
    folder = folders[name]
    message = why_too_large(card_of(folder), folder, room, on_cpu=on_cpu, image_bytes=image) or ""
    assert f"; write on its card {told} (" in message
    assert message.count(" = ") == 2
    taken = {key: json.loads(value) for key, value in (option.split(" = ") for option in told.split(" and "))}
    # Numbers of half the width take half the memory.
    assert why_too_large(card_of(folder, **taken), folder, room, on_cpu=on_cpu, image_bytes=image // 2) is None


def test_what_an_image_was_measured_to_take_has_to_fit_too(folders: dict[str, Path]) -> None:
    folder = folders["flux"]
    card = card_of(folder, name="flux")
    weights = sum(component_bytes(card, folder).values())
    room = weights + 2**30
    assert why_too_large(card, folder, room, on_cpu=True, image_bytes=2**30) is None
    told = why_too_large(card, folder, room, on_cpu=True, image_bytes=2**30 + 2**29) or ""
    assert told.startswith("flux is too large by 0.5 GiB")
    assert ", 1.5 GiB for an image)" in told
    # Numbers of half the width take half the memory.
    assert 'dtype = "bfloat16"' in told
    # The bytes measured for an image with offloaded weights include the weights.
    offloaded = card_of(folder, offload="group")
    assert why_too_large(offloaded, folder, 2**30, on_cpu=False, image_bytes=2**30) is None


def test_the_least_of_an_image_is_told_of_its_smallest_tier(folders: dict[str, Path]) -> None:
    folder = folders["sdxl"]
    channels = json.loads((folder / "vae" / "config.json").read_text())["block_out_channels"][0]
    card = card_of(folder, tiers=("1K", "0.5K"), dtype="bfloat16")
    assert least_of_an_image(card, folder) == 2 * channels * 512 * 512 * 2
    assert least_of_an_image(card_of(folder, vae_tiling=True), folder) == 0
    assert least_of_an_image(card, folder / "unet") == 0


def test_a_gpu_process_measures_what_images_take_and_keeps_room_for_it(
    folders: dict[str, Path], tmp_path: Path, preloaded_worker: Path
) -> None:
    card = card_of(folders["sdxl"], name="fits")
    side, size = 256, card.limits.allowed_batch_sizes[0]

    def image(name: str) -> Generate:
        item = Item(name, 1, "marble warm", "", str(tmp_path / f"{name}.png"), deliver_flawed=True)
        return Generate(card, side, side, 3, 3.0, size, item)

    with GpuProcess(tmp_path, memory_gib=1, preloaded=preloaded_worker) as process:
        process.wait(Started)
        process.send(image("a"))
        process.wait(Generated)
        # The steps after an image was decoded report what decoding took.
        process.send(image("b"), image("c"))
        process.wait(Generated, lambda report: report.image_id == "c")
        found = [report.working_bytes for report in process.of(Measured) if report.working_bytes is not None]
        assert found
        # Decoding takes at least the input and the output of the VAE's last layer.
        assert 2 * 4 * side * side * 4 <= found[-1] < 2**29
        process.send(Unload("fits"), Load(card, image_bytes=2**30))
        failed = process.wait(LoadFailed)
        assert failed.reason is FailureReason.OUT_OF_MEMORY
        assert "1.0 GiB for an image" in failed.message
        process.send(Load(card, image_bytes=found[-1]))
        process.wait(Loaded)


def test_pinned_models_leave_less_room(folders: dict[str, Path]) -> None:
    small, large = card_of(folders["sdxl"], name="small"), card_of(folders["z-image"], name="large")
    sizes = [sum(component_bytes(card, Path(card.weights.folder or "")).values()) for card in (small, large)]
    evicted: list[str] = []
    cache = ModelCache(torch.device("cpu"), sum(sizes) - 1, evicted.append)
    cache.pin(["small"])
    # An image is said to take nothing, so the weights alone count.
    cache.load(small, 0)
    cache.prefetch(large, 0)
    with pytest.raises(TooLarge, match="large is too large by"):
        cache.load(large, 0)
    assert evicted == []
    cache.prefetch(large, 0)
    # A model that was too large when it was prefetched may fit later.
    cache.pin([])
    assert bytes_on_device(large, cache.load(large, 0).pipeline) == pytest.approx(sizes[1], rel=0.02, abs=256)
    assert evicted == ["small"]


def test_a_gpu_process_refuses_unread_what_cannot_fit_and_goes_on(
    folders: dict[str, Path], tmp_path: Path, preloaded_worker: Path
) -> None:
    huge = tmp_path / "huge"
    tiny.unet_pipeline().save_pretrained(huge, safe_serialization=True)
    weights = huge / "unet" / "diffusion_pytorch_model.safetensors"
    size = 2**30
    header = json.dumps({"w": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}).encode()
    with weights.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        # The file is sparse: nobody could read as much into 400 MiB.
        file.truncate(8 + len(header) + size)
    with GpuProcess(tmp_path, memory_gib=0.4, preloaded=preloaded_worker) as process:
        process.wait(Started)
        fits = card_of(folders["sdxl"], name="fits")
        process.send(Pin(("fits",)), Load(fits), Load(card_of(huge, name="huge")))
        failed = process.wait(LoadFailed)
        assert (failed.model, failed.reason) == ("huge", FailureReason.OUT_OF_MEMORY)
        assert "huge is too large by 0.6 GiB: it takes 1.0 GiB (unet 1.0 GiB" in failed.message
        assert [report.model for report in process.of(Loaded)] == ["fits"]
        assert process.of(Evicted) == []
