"""Images that enter and leave the denoiser at any step are those of the stock pipeline, bit for bit."""

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from diffusers import DiffusionPipeline, HeunDiscreteScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.denoising.call import Broke, Denoised, Outcome, Size, Stepped, call_arguments
from pipelines.denoising.slots import Slots, fits
from pipelines.denoising.traced_calls import Recordings
from pipelines.denoising.whole_batch import WholeBatch
from pipelines.model_card import ModelCard
from pipelines.protocol import Item
from pipelines.worker.loader import LoadedModel, load
from pipelines.worker.torch_errors import is_fatal, is_out_of_memory
from server.models_file import load_models
from tests.support import tiny

ROOT = Path(__file__).parent.parent.parent
STEPS = 4
SHAPE = 4
PROMPTS = ("marble warm", "wood cool red", "navy", "")
Maker = Callable[[], Any]


def model_of(make: Maker) -> LoadedModel:
    pipeline = make()
    pipeline.set_progress_bar_config(disable=True)
    pipeline.vae.enable_slicing()
    card = ModelCard(name="tiny", folder="-", licence="-", tiers=("0.5K",), steps=STEPS, guidance=3.0)
    return LoadedModel(card, "-", pipeline)


@pytest.fixture(scope="module", params=["unet", "sdxl", "sd3", "flux"])
def model(request: pytest.FixtureRequest) -> LoadedModel:
    """One tiny pipeline of each kind of denoiser."""
    return model_of(getattr(tiny, f"{request.param}_pipeline"))


SIZE = Size(64, 64, STEPS, 3.0)


#: Those whose prompts may be of any length.
OTHER_FAMILIES: list[tuple[Maker, dict[str, Any]]] = [
    (tiny.flux2_klein_pipeline, {"guidance": 1.0}),
    (tiny.z_image_pipeline, {"guidance": 0.0}),
    (tiny.z_image_pipeline, {"guidance": 3.0}),
    (tiny.qwen_image_pipeline, {"guidance": 4.0, "guidance_argument": "true_cfg_scale", "negative_prompt": " "}),
]
OTHER_NAMES = ["flux2-klein", "z-image-turbo", "z-image", "qwen-image"]


def item(number: int) -> Item:
    return Item(f"job-{number}", 1000 + number, PROMPTS[number % len(PROMPTS)], "", "-")


def stock(model: LoadedModel, size: Size, items: list[Item]) -> torch.Tensor:
    with torch.inference_mode():
        images: torch.Tensor = model.pipeline(**call_arguments(model, size, items)).images
    return images


class Run:
    """Drives slots and keeps what comes of them."""

    def __init__(self, model: LoadedModel, size: Size = SIZE, shape: int = SHAPE) -> None:
        self.images: dict[str, torch.Tensor] = {}
        self.steps: dict[str, list[int]] = {}
        self.broken: dict[str, Exception] = {}
        self.slots = Slots(model, size, shape, self.watch)

    def watch(self, outcome: Outcome) -> None:
        match outcome:
            case Stepped(item=made, step=step):
                self.steps.setdefault(made.job_id, []).append(step)
            case Denoised(item=made, image=image):
                self.images[made.job_id] = image
            case Broke(item=made, error=error):
                self.broken[made.job_id] = error

    def all(self, waiting: list[Item], pauses: list[int]) -> None:
        """Let each enter as soon as a slot is free and as many ticks have passed as its pause says."""
        waiting, pauses = list(waiting), list(pauses)
        while waiting or len(self.slots):
            while waiting and self.slots.free and not pauses[0]:
                self.slots.enter(waiting.pop(0))
                pauses.pop(0)
            if pauses:
                pauses[0] = max(0, pauses[0] - 1)
            self.slots.tick()


@settings(max_examples=8, deadline=None, database=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), min_size=1, max_size=7, unique_by=lambda pair: pair[0])
)
def test_slots_equal_the_stock_pipeline(model: LoadedModel, queue: list[tuple[int, int]]) -> None:
    """Whatever the order, the neighbours and the moment of entry."""
    items = [item(number) for number, _ in queue]
    run = Run(model)
    run.all(items, [pause for _, pause in queue])
    assert run.broken == {}
    for made in items:
        # The same shape in the stock call: this image among copies of another.
        expected = stock(model, SIZE, [item(99), made, item(98), item(97)])[1]
        assert torch.equal(run.images[made.job_id], expected)
        assert run.steps[made.job_id] == list(range(1, STEPS + 1))


@pytest.mark.parametrize(
    ("make", "card"),
    [*((getattr(tiny, f"{kind}_pipeline"), {}) for kind in ("unet", "sdxl", "sd3", "flux")), *OTHER_FAMILIES],
    ids=["unet", "sdxl", "sd3", "flux", *OTHER_NAMES],
)
def test_recorded_calls_equal_the_stock_pipeline(
    make: Maker, card: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.denoising.traced_calls.RECORDED_FROM", 0)
    model = model_of(make)
    model = LoadedModel(msgspec.structs.replace(model.card, **card), "-", model.pipeline, recordings=Recordings())
    size = Size(64, 64, STEPS, model.card.guidance)

    def asked(number: int) -> Item:
        return Item(f"job-{number}", 1000 + number, PROMPTS[0], model.card.negative_prompt, "-")

    queue = [asked(number) for number in range(8)]
    beside = [asked(number) for number in (11, 12, 13)]
    expected = {made.job_id: stock(model, size, [beside[0], made, *beside[1:]])[1] for made in queue}
    run = Run(model, size)
    live = 1
    for _ in range(10):
        if live == 0:
            break
        live = 0
        run.images.clear()

        def count(*_: Any) -> None:
            nonlocal live
            live += 1

        hook = run.slots._denoiser.register_forward_hook(count)
        run.all(queue, [0, 0, 0, 0, 3, 0, 2, 1])
        hook.remove()
        assert run.broken == {}
        assert [job_id for job_id, image in expected.items() if not torch.equal(run.images[job_id], image)] == []
    assert model.recordings is not None
    assert len(model.recordings) > 0
    assert live == 0


@pytest.mark.parametrize(
    ("make", "card"),
    OTHER_FAMILIES,
    ids=OTHER_NAMES,
)
def test_slots_equal_the_stock_pipeline_for_prompts_of_any_length(make: Maker, card: dict[str, Any]) -> None:
    """The stock pipelines pad the prompts of a batch to the longest; here each is run as among its equals."""
    model = model_of(make)
    model = msgspec.structs.replace(model, card=msgspec.structs.replace(model.card, **card))
    size = Size(64, 64, STEPS, model.card.guidance)

    def asked(number: int, prompt: int) -> Item:
        return Item(f"job-{number}", 1000 + number, PROMPTS[prompt], model.card.negative_prompt, "-")

    queue = [asked(1, 0), asked(2, 2), asked(3, 0), asked(4, 1), asked(5, 2)]
    run = Run(model, size)
    run.all(queue, [0, 1, 0, 2, 0])
    assert run.broken == {}
    for made in queue:
        beside = [msgspec.structs.replace(made, seed=seed) for seed in (1, 2, 3)]
        assert torch.equal(run.images[made.job_id], stock(model, size, [beside[0], made, *beside[1:]])[1])


@pytest.mark.parametrize(
    ("make", "card", "calls_a_step"),
    [
        (tiny.unet_pipeline, {}, 1),
        # Its denoiser pads prompts to 32 tokens each; Qwen-Image's would need a mask, and so other bits.
        (tiny.z_image_pipeline, {"guidance": 0.0}, 1),
        (tiny.qwen_image_pipeline, {"guidance": 1.0, "guidance_argument": "true_cfg_scale"}, 4),
    ],
    ids=["unet", "z-image-turbo", "qwen-image"],
)
def test_prompts_of_any_length_have_the_step_they_take_measured(
    make: Maker, card: dict[str, Any], calls_a_step: int
) -> None:
    model = model_of(make)
    model = msgspec.structs.replace(model, card=msgspec.structs.replace(model.card, **card))
    size = Size(64, 64, STEPS, model.card.guidance)
    queue = [item(number) for number in range(SHAPE)]
    for made in queue:
        # Each length by itself, so that nothing is left to compare.
        Run(model, size).all([made], [0])
    Run(model, size).all(queue, [0] * SHAPE)
    run = Run(model, size)
    calls = 0

    def count(*_: Any) -> None:
        nonlocal calls
        calls += 1

    hook = run.slots._denoiser.register_forward_hook(count)
    run.all([*queue, *(msgspec.structs.replace(made, job_id=f"{made.job_id}-more") for made in queue)], [0] * 2 * SHAPE)
    hook.remove()
    assert run.broken == {}
    assert calls == 2 * STEPS * calls_a_step
    assert run.slots.seconds_per_step is not None
    assert run.slots.seconds_per_step >= 0.5 * calls_a_step * min(min(times) for times in model.times.values())


def test_a_whole_batch_equals_the_stock_pipeline(model: LoadedModel) -> None:
    made: dict[str, torch.Tensor] = {}

    def watch(outcome: Outcome) -> None:
        if isinstance(outcome, Denoised):
            made[outcome.item.job_id] = outcome.image

    batch = WholeBatch(model, SIZE, SHAPE, watch)
    for number in (1, 2):
        batch.enter(item(number))
    batch.tick()
    expected = stock(model, SIZE, [item(1), item(2), item(5), item(6)])
    assert [torch.equal(made[f"job-{number}"], expected[number - 1]) for number in (1, 2)] == [True, True]


def test_one_that_leaves_does_not_disturb_the_others(model: LoadedModel) -> None:
    run = Run(model)
    for number in (1, 2):
        run.slots.enter(item(number))
    run.slots.tick()
    assert run.slots.leave("job-1")
    assert not run.slots.leave("job-1")
    run.all([], [])
    assert torch.equal(run.images["job-2"], stock(model, SIZE, [item(2), item(1), item(1), item(3)])[0])
    assert "job-1" not in run.images


def test_one_that_breaks_does_not_break_the_others() -> None:
    model = model_of(tiny.unet_pipeline)
    run = Run(model)
    run.slots.enter(item(1))
    # Without a prompt the stock pipeline itself refuses.
    run.slots.enter(Item("bad", 1, None, "", "-"))  # type: ignore[arg-type]
    run.all([], [])
    assert isinstance(run.broken["bad"], (TypeError, ValueError))
    assert torch.equal(run.images["job-1"], stock(model, SIZE, [item(1), item(2), item(2), item(3)])[0])


@settings(max_examples=2, deadline=None, database=None)
@given(st.lists(st.integers(0, 2), min_size=2, max_size=5))
def test_the_shipped_model_gives_the_same_bytes_in_any_company(shipped: LoadedModel, pauses: list[int]) -> None:
    size = Size(512, 512, 2, 2.0)
    prompts = [
        "marble warm r1-12 g1-8 b1-3 r2-none g2-none b2-none r3-none g3-none b3-none",
        "beach bright r1-3 g1-8 b1-30 r2-9 g2-9 b2-9 r3-none g3-none b3-none",
    ]
    items = [Item(f"job-{index}", index, prompts[index % 2], "", "-") for index in range(len(pauses))]
    together = Run(shipped, size, 4)
    together.all(items, pauses)
    for made in items:
        alone = Run(shipped, size, 4)
        alone.all([made], [0])
        assert torch.equal(together.images[made.job_id], alone.images[made.job_id])


def test_few_images_run_at_the_smallest_shape_of_the_same_bits() -> None:
    model = model_of(tiny.unet_pipeline)
    first, second = Run(model), Run(model)
    # What is found of the shapes is kept with the model: the second run knows it from its first step on.
    first.all([item(1)], [0])
    seen = []
    hook = model.pipeline.unet.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    second.all([item(1)], [0])
    hook.remove()
    smallest = min((smaller for (smaller, _, _), layers in model.padding.items() if layers is not None), default=SHAPE)
    # Guidance doubles the rows.
    assert seen == [2 * smallest] * STEPS
    assert torch.equal(second.images["job-1"], stock(model, SIZE, [item(1), item(2), item(2), item(3)])[0])


@pytest.mark.parametrize(
    ("seconds", "images", "best"),
    [
        ({}, 1, 2),
        ({}, 3, 4),
        ({2: 1.0, 4: 1.1}, 3, 4),
        ({2: 1.0, 4: 1.8}, 3, 2),
        ({2: 1.0, 4: 1.8}, 4, 4),
        ({2: 1.0, 4: 0.5}, 1, 2),
    ],
    ids=["smallest", "smallest for three", "cheap padding", "two, then one", "all four", "never more than needed"],
)
def test_a_call_takes_the_shape_with_most_images_a_second(seconds: dict[int, float], images: int, best: int) -> None:
    slots = Run(model_of(tiny.unet_pipeline)).slots
    slots.model.times.update({(shape, SHAPE, "like"): deque([9.0, time, time, 9.0]) for shape, time in seconds.items()})
    assert slots._best([2, 4], images, "like") == best


def test_times_are_taken_again_where_slots_open_anew() -> None:
    model = model_of(tiny.unet_pipeline)
    Run(model).all([item(number) for number in range(SHAPE)], [0] * SHAPE)
    for times in model.times.values():
        times.extend([9.0] * 4)
    run = Run(model)
    run.all([item(number) for number in range(SHAPE)], [0] * SHAPE)
    assert run.slots.seconds_per_step is not None
    assert run.slots.seconds_per_step < 9


def test_a_pipeline_with_an_unknown_denoiser_does_not_fit() -> None:
    pipeline = tiny.unet_pipeline()
    assert fits(pipeline)
    pipeline.unet = torch.nn.Identity()
    assert not fits(pipeline)


@pytest.mark.parametrize("kind", [Slots, WholeBatch])
def test_a_scheduler_of_second_order_takes_two_calls_a_step(kind: type[Slots | WholeBatch]) -> None:
    model = model_of(tiny.sdxl_pipeline)
    model.pipeline.scheduler = HeunDiscreteScheduler.from_config(model.pipeline.scheduler.config)
    outcomes: list[Outcome] = []
    slots = kind(model, SIZE, 1, outcomes.append)
    slots.enter(item(1))
    while len(slots):
        slots.tick()
    assert [outcome.step for outcome in outcomes if isinstance(outcome, Stepped)] == [1, 2, 3, 4]
    (made,) = (outcome for outcome in outcomes if isinstance(outcome, Denoised))
    assert torch.equal(made.image, stock(model, SIZE, [item(1)])[0])


def test_a_model_is_as_it_was_after_a_decoder_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """In float16 the stock SDXL decodes in float32, and leaves its VAE so where that fails."""
    model = model_of(tiny.sdxl_pipeline)
    model.pipeline.to(torch.float16)
    model = msgspec.structs.replace(model, card=msgspec.structs.replace(model.card, dtype="float16"))
    with monkeypatch.context() as patch:
        patch.setattr(model.pipeline.vae, "decode", _no_memory)
        broken = Run(model, shape=1)
        broken.all([item(1)], [0])
    assert isinstance(broken.broken["job-1"], torch.OutOfMemoryError)
    assert model.pipeline.vae.dtype == torch.float32
    model.restore()
    run = Run(model, shape=1)
    run.all([item(1)], [0])
    assert (run.broken, list(run.images)) == ({}, ["job-1"])


def _no_memory(*_: Any, **__: Any) -> Any:
    raise torch.OutOfMemoryError("CUDA out of memory")


def test_a_lost_device_is_not_one_image_s_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*_: Any, **__: Any) -> Any:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    model = model_of(tiny.unet_pipeline)
    monkeypatch.setattr(model.pipeline.vae, "decode", fault)
    with pytest.raises(torch.AcceleratorError):
        Run(model, shape=1).all([item(1)], [0])


@pytest.mark.parametrize(
    ("error", "memory", "fatal"),
    [
        (MemoryError(), True, False),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True, False),
        (RuntimeError("CUDA error: out of memory"), True, False),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True, False),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), True, False),
        (torch.AcceleratorError("CUDA error: device-side assert triggered"), False, True),
        (RuntimeError("CUDA error: unspecified launch failure"), False, True),
        (ValueError("a prompt is missing"), False, False),
    ],
)
def test_what_an_error_means(error: Exception, memory: bool, fatal: bool) -> None:
    assert (is_out_of_memory(error), is_fatal(error)) == (memory, fatal)


def test_long_calls_are_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.denoising.traced_calls.RECORDED_FROM", 0)
    monkeypatch.setattr("pipelines.denoising.slots._SHORT", 0.0)
    model = model_of(tiny.unet_pipeline)
    model = LoadedModel(model.card, "-", model.pipeline, recordings=Recordings())
    Run(model).all([item(number) for number in range(8)], [0] * 8)
    assert model.recordings is not None
    assert len(model.recordings) == 0


@pytest.fixture(scope="module")
def shipped() -> LoadedModel:
    return load(load_models(ROOT / "models.toml").models["studio-tiny"])


def test_a_stock_pipeline_is_what_is_loaded(shipped: LoadedModel) -> None:
    assert isinstance(shipped.pipeline, DiffusionPipeline)
    assert len(shipped.revision) == 16
