"""The reports of a real GPU process: images that share slots, memory that runs out, calls that fail, cancels."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from diffusers import UNet2DConditionModel
from PIL import Image
from safetensors.torch import save_file

from pipelines.failure_reason import FailureReason, Fault
from pipelines.lora import Lora
from pipelines.model_card import ModelCard
from pipelines.protocol import (
    BatchFailed,
    Cancel,
    Cancelled,
    Evicted,
    Failed,
    Generate,
    Generated,
    Item,
    Load,
    Loaded,
    LoadFailed,
    Measured,
    MemoryUsed,
    Pin,
    Restarted,
    Started,
    Step,
    Steps,
    Unload,
)
from tests.support import tiny
from tests.support.gpu_process import GpuProcess


def card(name: str, folder: Path, **fields: Any) -> ModelCard:
    values = {"licence": "-", "tiers": ("0.5K",), "steps": 3, "guidance": 2.0, "max_batch": 64, **fields}
    return ModelCard.from_flat(name=name, folder=str(folder), **values)


@pytest.fixture
def process(tmp_path: Path, preloaded_worker: Path) -> Iterator[GpuProcess]:
    with GpuProcess(tmp_path, preloaded=preloaded_worker) as started:
        started.wait(Started)
        yield started


class Orders:
    """Orders for images of one size, each under its own name."""

    def __init__(self, folder: Path, side: int = 64) -> None:
        self._folder, self._side = folder, side

    def __call__(self, of: ModelCard, image_id: str, batch_size: int = 4, **order: Any) -> Generate:
        item = Item(image_id, 1, "marble warm", "", str(self._folder / f"{image_id}.png"), deliver_flawed=True)
        steps = order.pop("steps", of.sampling.steps)
        return Generate(of, self._side, self._side, steps, of.sampling.guidance, batch_size, item, **order)


@pytest.fixture
def image(tmp_path: Path) -> Orders:
    return Orders(tmp_path)


def generated(process: GpuProcess, *image_ids: str) -> dict[str, Generated]:
    """Wait until these are generated; return their reports by name."""
    missing = set(image_ids) - {report.image_id for report in process.of(Generated)}
    while missing:
        missing.discard(process.wait(Generated).image_id)
    return {report.image_id: report for report in process.of(Generated)}


def steps_of(process: GpuProcess) -> list[Step]:
    return [step for report in process.of(Steps) for step in report.done]


def test_images_share_slots_and_one_that_is_isolated_does_not(
    process: GpuProcess, image: Orders, tiny_folders: dict[str, Path]
) -> None:
    good = card("good", tiny_folders["good"], steps=20)
    process.send(image(good, "a"), image(good, "b"), image(good, "c", isolated=True), image(good, "d"))
    generated(process, "a", "b", "c", "d")
    order = [step.image_id for step in steps_of(process)]
    # The first two share slots and so take turns; the isolated one has all calls of its steps to itself.
    assert order[:40].count("a") == order[:40].count("b") == 20
    assert order[40:] == ["c"] * 20 + ["d"] * 20
    calls = {name: [step.call for step in steps_of(process) if step.image_id == name] for name in "abcd"}
    # The first image may have begun before the second was ordered.
    assert len(set(calls["a"]) & set(calls["b"])) >= 10
    assert calls["a"] == sorted(set(calls["a"]))
    assert not set(calls["c"]) & set(calls["d"])


def test_an_image_of_a_whole_batch_is_the_same_beside_one_with_a_negative_prompt(
    process: GpuProcess, image: Orders, tmp_path: Path
) -> None:
    """Check it with FLUX.1, which would guide both by a second call if one of them has a negative prompt."""
    tiny.flux_pipeline().save_pretrained(tmp_path / "flux", safe_serialization=True)
    fields = {"arguments": {"true_cfg_scale": 4.0}, "multiple_of": 32, "slots": False}
    flux = card("flux", tmp_path / "flux", pipeline="FluxPipeline", **fields)

    def order(name: str, negative: str) -> Generate:
        made = image(flux, name, 2)
        return msgspec.structs.replace(made, item=msgspec.structs.replace(made.item, negative_prompt=negative))

    process.send(order("alone", ""), order("guided", "red"), order("beside", ""), order("too", "red"))
    generated(process, "alone", "guided", "beside", "too")
    pictures = {name: Image.open(tmp_path / f"{name}.png").tobytes() for name in ("alone", "guided", "beside", "too")}
    assert pictures["alone"] == pictures["beside"]
    assert pictures["guided"] == pictures["too"] != pictures["alone"]


def test_a_model_is_unloaded_and_loaded_again(
    process: GpuProcess, image: Orders, tiny_folders: dict[str, Path]
) -> None:
    good = card("good", tiny_folders["good"], steps=200)
    process.send(image(good, "a", 1), Unload("good"))
    process.wait(Steps)
    process.send(Unload("good"))
    generated(process, "a")
    assert process.of(Evicted) == []
    process.send(Unload("good"), Unload("good"))
    assert process.wait(Evicted).model == "good"
    # Each unload tells what memory is taken now.
    process.wait(MemoryUsed)
    process.wait(MemoryUsed)
    process.send(Load(good))
    assert process.wait(Loaded).weight_bytes > 100_000
    assert len(process.of(Evicted)) == 1


def test_a_cancel_reaches_an_image_that_waits_and_one_in_a_slot(
    process: GpuProcess, image: Orders, tiny_folders: dict[str, Path]
) -> None:
    good = card("good", tiny_folders["good"], steps=900)
    process.send(image(good, "running", 1), image(good, "waiting", 1), image(good, "other", 1, steps=3))
    process.wait(Steps)
    process.send(Cancel("waiting"), Cancel("running"), Cancel("unknown"))
    assert process.wait(Cancelled).image_id == "waiting"
    assert process.wait(Cancelled).image_id == "running"
    generated(process, "other")
    assert len(process.of(Cancelled)) == 2


@pytest.mark.parametrize("slots", [True, False], ids=["slots", "whole batches"])
def test_an_image_that_was_dropped_runs_again_beside_others(
    process: GpuProcess, image: Orders, tiny_folders: dict[str, Path], tmp_path: Path, slots: bool
) -> None:
    good = card("good", tiny_folders["good"], slots=slots)
    process.send(image(good, "a", 1, steps=900))
    process.wait(Steps)
    process.send(Cancel("a"))
    assert process.wait(Cancelled).image_id == "a"
    before = len(steps_of(process))
    process.send(*(image(good, name, 4) for name in "abcd"))
    found = generated(process, *"abcd")
    assert {report.recipe.batch_size for report in found.values()} == {4}
    # The image takes all of its steps again, and has the picture of the others, since it has their seed.
    assert [step.step for step in steps_of(process)[before:] if step.image_id == "a"] == [1, 2, 3]
    pictures = {Image.open(tmp_path / f"{name}.png").tobytes() for name in "abcd"}
    assert len(pictures) == 1
    assert len(process.of(Cancelled)) == 1


@pytest.mark.parametrize("slots", [True, False], ids=["slots", "whole batches"])
def test_a_denoiser_call_that_fails_loses_only_the_images_in_slots(
    process: GpuProcess, image: Orders, tiny_folders: dict[str, Path], tmp_path: Path, slots: bool
) -> None:
    pipeline = tiny.unet_pipeline()
    # This denoiser takes wider text than its text encoder gives.
    pipeline.register_modules(unet=UNet2DConditionModel.from_config(pipeline.unet.config, cross_attention_dim=24))
    pipeline.save_pretrained(tmp_path / "broken", safe_serialization=True)
    broken = card("broken", tmp_path / "broken", slots=slots)
    good = card("good", tiny_folders["good"])
    # The first image gives the others time to arrive together.
    process.send(image(good, "first", steps=100))
    process.wait(Steps)
    process.send(image(broken, "a", 2), image(broken, "b", 2), image(broken, "c", 2), image(good, "d"))
    failed = process.wait(BatchFailed)
    assert (failed.reason, failed.image_ids, failed.model) == (FailureReason.PIPELINE_ERROR, ("a", "b"), "broken")
    assert "RuntimeError" in failed.message
    assert process.wait(BatchFailed).image_ids == ("c",)
    generated(process, "d")


def test_an_error_of_torch_in_the_middle_of_an_image_fails_that_image_alone(
    process: GpuProcess, image: Orders, tiny_folders: dict[str, Path]
) -> None:
    """Let torch raise an error in an image's coroutine: the scheduler has no alpha for the first of 1,000 steps."""
    good = card("good", tiny_folders["good"])
    process.send(image(good, "before", steps=100))
    process.wait(Steps)
    process.send(image(good, "a", steps=1000), image(good, "b", steps=1000), image(good, "after"))
    for image_id in ("a", "b"):
        failed = process.wait(Failed)
        assert (failed.image_id, failed.reason) == (image_id, FailureReason.PIPELINE_ERROR)
        assert "IndexError" in failed.message
    generated(process, "before", "after")


def test_a_model_that_cannot_be_loaded_is_tried_once_for_all_its_images(
    process: GpuProcess, image: Orders, tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    gone, good = card("gone", tmp_path / "gone"), card("good", tiny_folders["good"])
    process.send(image(good, "first", steps=20), image(gone, "a"), image(good, "b"), image(gone, "c"))
    failed = process.wait(LoadFailed)
    assert (failed.model, failed.reason, failed.image_ids) == ("gone", FailureReason.MODEL_LOAD_FAILED, ("a", "c"))
    generated(process, "b")
    assert len(process.of(LoadFailed)) == 1


# ── memory ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def hungry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a model with large latents: 64 slots at 512 × 512 do not fit into 400 MiB, some fewer do."""
    folder = tmp_path_factory.mktemp("hungry") / "model"
    tiny.unet_pipeline(vae_levels=3).save_pretrained(folder, safe_serialization=True)
    return folder


@pytest.fixture
def small_process(tmp_path: Path, preloaded_worker: Path) -> Iterator[GpuProcess]:
    with GpuProcess(tmp_path, memory_gib=0.4, preloaded=preloaded_worker) as started:
        started.wait(Started)
        yield started


def test_memory_that_runs_out_halves_the_slots_and_loses_no_image(
    small_process: GpuProcess, hungry: Path, tmp_path: Path
) -> None:
    image = Orders(tmp_path, side=512)
    model = card("hungry", hungry, steps=2)
    names = ("a", "b", "c")
    small_process.send(*(image(model, name, 64) for name in names))
    restarted = small_process.wait(Restarted)
    assert (restarted.batch_size, restarted.previous_batch_size, restarted.evicted) == (32, 64, False)
    # Memory may run out before the last of them has its slot.
    assert restarted.image_ids == names[: len(restarted.image_ids)]
    assert restarted.reason is FailureReason.OUT_OF_MEMORY
    # An order that was sent before the server heard of it shares the smaller slots.
    small_process.send(image(model, "late", 64))
    made = generated(small_process, *names, "late")
    fits = min(report.batch_size for report in small_process.of(Restarted))
    assert {report.recipe.batch_size for report in made.values()} == {fits}
    assert small_process.of(Failed) == []
    too_large = [report.batch_size for report in small_process.of(Measured) if report.seconds_per_step is None]
    assert too_large == [report.previous_batch_size for report in small_process.of(Restarted)]


def test_memory_that_runs_out_evicts_idle_models_first_but_no_pinned_one(
    small_process: GpuProcess, hungry: Path, tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    image = Orders(tmp_path, side=512)
    idle, pinned = card("idle", tiny_folders["good"]), card("pinned", tiny_folders["flat"])
    small_process.send(Pin(("pinned",)), Load(idle), Load(pinned))
    small_process.wait(Loaded, lambda report: report.model == "pinned")
    small_process.send(image(card("hungry", hungry, steps=1), "a", 64))
    first = small_process.wait(Restarted)
    assert (first.evicted, first.batch_size, first.previous_batch_size) == (True, 64, 64)
    assert "idle" in first.message
    # There is nothing left to evict, so the second time fewer slots must do.
    assert small_process.wait(Restarted).evicted is False
    generated(small_process, "a")
    assert [report.model for report in small_process.of(Evicted)] == ["idle"]


def test_a_lora_for_which_there_is_no_memory_evicts_idle_models(
    small_process: GpuProcess, tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    large = tiny.unet_pipeline()
    # The encoder takes 160 MB. The LoRA has 77 MB, and takes several times as much while it is read.
    large.text_encoder.resize_token_embeddings(2_500_000, mean_resizing=False)
    large.save_pretrained(tmp_path / "idle", safe_serialization=True)
    layer, rank = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q", 600_000
    weights = {f"{layer}.lora_A.weight": torch.zeros(rank, 16), f"{layer}.lora_B.weight": torch.zeros(16, rank)}
    save_file(weights, tmp_path / "lora.safetensors")
    small_process.send(Load(card("idle", tmp_path / "idle")))
    small_process.wait(Loaded)
    good = card("good", tiny_folders["good"], steps=1)
    small_process.send(Orders(tmp_path)(good, "a", 1, loras=(Lora("large", str(tmp_path / "lora.safetensors"), 1.0),)))
    generated(small_process, "a")
    assert [report.model for report in small_process.of(Evicted)] == ["idle"]


def test_a_reproducible_model_never_runs_in_fewer_slots(
    small_process: GpuProcess, hungry: Path, tmp_path: Path
) -> None:
    image = Orders(tmp_path, side=512)
    exact = card("exact", hungry, steps=1, reproducible=True)
    small_process.send(image(exact, "a", 64), image(exact, "b", 64))
    for name in ("a", "b"):
        failed = small_process.wait(Failed)
        assert (failed.image_id, failed.reason, failed.fault) == (name, FailureReason.OUT_OF_MEMORY, Fault.MACHINE)
        assert "the 64 slots that reproducible = true pins exact to" in failed.message
    assert small_process.of(Restarted) == []


def test_an_image_that_does_not_fit_even_alone_fails_alone(
    small_process: GpuProcess, hungry: Path, tmp_path: Path
) -> None:
    model = card("hungry", hungry, steps=1)
    small_process.send(Orders(tmp_path, side=4096)(model, "large", 2), Orders(tmp_path)(model, "small", 2))
    restarted = small_process.wait(Restarted)
    assert (restarted.batch_size, restarted.previous_batch_size) == (1, 2)
    failed = small_process.wait(Failed)
    assert (failed.image_id, failed.reason) == ("large", FailureReason.OUT_OF_MEMORY)
    assert "4096 × 4096" in failed.message
    generated(small_process, "small")


# ── what is told ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_words_that_are_not_read_are_told_and_the_brand_s_are_kept(
    process: GpuProcess, image: Orders, tiny_folders: dict[str, Path]
) -> None:
    order = image(card("good", tiny_folders["good"]), "a")
    long = msgspec.structs.replace(order.item, prompt="marble " * 20 + "warm, navy wood", brand_words="navy wood")
    process.send(msgspec.structs.replace(order, item=long))
    report = generated(process, "a")["a"]
    assert report.recipe.prompt == "marble " * 10 + "marble, navy wood"
    assert report.prompt_cut == "marble " * 9 + "warm"


def test_a_safety_checker_is_named_as_the_cause_of_a_black_image(
    process: GpuProcess, image: Orders, tmp_path: Path
) -> None:
    tiny.checked_pipeline().save_pretrained(tmp_path / "checked", safe_serialization=True)
    order = image(card("checked", tmp_path / "checked"), "a")
    item = msgspec.structs.replace(order.item, deliver_flawed=False)
    process.send(msgspec.structs.replace(order, item=item))
    failed = process.wait(Failed)
    assert failed.reason is FailureReason.BLACK_IMAGE
    assert "the model's safety checker made it black" in failed.message
