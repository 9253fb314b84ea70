"""Images that enter and leave a batch at any step are those of the stock pipeline, bit for bit."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
import torch
from diffusers import AutoencoderKL, DiffusionPipeline, HeunDiscreteScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.denoising.batch import Batch, Denoised, ImageFailed, Outcome, Stepped, Watch
from pipelines.denoising.call import CallSettings, call_arguments, opaque
from pipelines.denoising.families import family_of
from pipelines.denoising.joining import TIMED
from pipelines.denoising.slots import Slots
from pipelines.denoising.traced_calls import TracedCalls
from pipelines.denoising.whole_batch import WholeBatch
from pipelines.protocol import Item
from pipelines.worker.loader import LoadedModel, load
from server.models_file import load_models
from tests.support import tiny
from tests.support.device import DEVICE, on_cpu_only
from tests.support.server import ROOT
from tests.support.tiny_models import (
    FAMILIES,
    NAMES,
    OTHER_FAMILIES,
    OTHER_NAMES,
    SETTINGS,
    STEPS,
    Maker,
    family,
    item,
    model_of,
)

BATCH_SIZE = 4


@pytest.fixture(scope="module", params=FAMILIES, ids=NAMES)
def model(request: pytest.FixtureRequest) -> LoadedModel:
    """Load a tiny pipeline of each kind of denoiser."""
    return model_of(request.param)


def stock(model: LoadedModel, settings: CallSettings, items: list[Item]) -> torch.Tensor:
    """Return the images that the stock pipeline makes of these in one call, on the CPU."""
    with torch.inference_mode():
        images: torch.Tensor = model.pipeline(**call_arguments(model, settings, items)).images
    return opaque(images.cpu())


class CallCounter:
    """A count of how often a model's denoiser runs, and with how many rows."""

    def __init__(self, model: LoadedModel) -> None:
        self.rows: list[int] = []
        self._denoiser = getattr(model.pipeline, family(model).attribute)

    def __enter__(self) -> list[int]:
        self._hook = self._denoiser.register_forward_hook(self._count, with_kwargs=True)
        return self.rows

    def __exit__(self, *_: object) -> None:
        self._hook.remove()

    def _count(self, _: Any, arguments: tuple[Any, ...], keywords: dict[str, Any], __: Any) -> None:
        self.rows.append(len(arguments[0] if arguments else keywords["hidden_states"]))


class Run:
    """Slots, driven to their end, and their outcomes."""

    def __init__(self, model: LoadedModel, settings: CallSettings = SETTINGS, batch_size: int = BATCH_SIZE) -> None:
        self.images: dict[str, torch.Tensor] = {}
        self.steps: dict[str, list[int]] = {}
        self.failed: dict[str, Exception] = {}
        self.slots = Slots(model, family(model), settings, batch_size, self.watch)

    def watch(self, outcome: Outcome) -> None:
        match outcome:
            case Stepped(item=made, step=step):
                self.steps.setdefault(made.image_id, []).append(step)
            case Denoised(item=made, image=image):
                self.images[made.image_id] = image
            case ImageFailed(item=made, error=error):
                self.failed[made.image_id] = error

    def all(self, waiting: list[Item], pauses: list[int] | None = None) -> None:
        """Let each image enter once a slot is free and its pause, in ticks, is over."""
        waiting, pauses = list(waiting), list(pauses or [0] * len(waiting))
        while waiting or len(self.slots):
            while waiting and self.slots.free and not pauses[0]:
                self.slots.enter(waiting.pop(0))
                pauses.pop(0)
            if pauses:
                pauses[0] = max(0, pauses[0] - 1)
            self.slots.tick()


@settings(max_examples=8, database=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), min_size=1, max_size=7, unique_by=lambda pair: pair[0])
)
def test_slots_equal_the_stock_pipeline(model: LoadedModel, queue: list[tuple[int, int]]) -> None:
    """Check this for any order, any neighbours and any moment of entry."""
    items = [item(number) for number, _ in queue]
    run = Run(model)
    run.all(items, [pause for _, pause in queue])
    assert run.failed == {}
    for made in items:
        # The stock call has the same batch size: this image is among three others.
        expected = stock(model, SETTINGS, [item(99), made, item(98), item(97)])[1]
        assert torch.equal(run.images[made.image_id], expected)
        assert run.steps[made.image_id] == list(range(1, STEPS + 1))


@on_cpu_only
@pytest.mark.parametrize(
    ("make", "card"), [*((make, {}) for make in FAMILIES), *OTHER_FAMILIES], ids=[*NAMES, *OTHER_NAMES]
)
def test_traced_calls_equal_the_stock_pipeline(make: Maker, card: dict[str, Any]) -> None:
    traced = TracedCalls(plain_calls=0)
    model = model_of(make, traced, **card)
    settings = CallSettings(64, 64, STEPS, model.card.sampling.guidance)
    negative = model.card.wording.negative_prompt
    queue = [item(number, 0, negative) for number in range(8)]
    beside = [item(number, 0, negative) for number in (11, 12, 13)]
    expected = {made.image_id: stock(model, settings, [beside[0], made, *beside[1:]])[1] for made in queue}
    run = Run(model, settings)
    for _ in range(10):
        run.images.clear()
        with CallCounter(model) as python_calls:
            run.all(queue, [0, 0, 0, 0, 3, 0, 2, 1])
        assert run.failed == {}
        assert [image_id for image_id, image in expected.items() if not torch.equal(run.images[image_id], image)] == []
        if not python_calls:
            break
    assert python_calls == []
    assert len(traced) > 0


@pytest.mark.parametrize(
    ("make", "card"),
    [
        *OTHER_FAMILIES,
        (
            tiny.qwen_image21_pipeline,
            {"guidance": 4.0, "guidance_argument": "true_cfg_scale", "negative_prompt": " "},
        ),
    ],
    ids=[*OTHER_NAMES, "qwen-image-2.1"],
)
def test_slots_equal_the_stock_pipeline_for_prompts_of_any_length(make: Maker, card: dict[str, Any]) -> None:
    """Compare each with a call of equal lengths, since the stock pipelines pad a batch's prompts to the longest."""
    model = model_of(make, **card)
    settings = CallSettings(64, 64, STEPS, model.card.sampling.guidance)
    queue = [
        item(number, prompt, model.card.wording.negative_prompt)
        for number, prompt in [(1, 0), (2, 2), (3, 0), (4, 1), (5, 2)]
    ]
    run = Run(model, settings)
    run.all(queue, [0, 1, 0, 2, 0])
    assert run.failed == {}
    for made in queue:
        beside = [msgspec.structs.replace(made, seed=seed) for seed in (1, 2, 3)]
        assert torch.equal(run.images[made.image_id], stock(model, settings, [beside[0], made, *beside[1:]])[1])


@pytest.mark.parametrize(
    ("make", "card", "calls_a_step"),
    [
        (tiny.unet_pipeline, {}, 1),
        # Z-Image's denoiser pads prompts to 32 tokens each; Qwen-Image's would need a mask, which gives other bits.
        (tiny.z_image_pipeline, {"guidance": 0.0}, 1),
        (tiny.qwen_image_pipeline, {"guidance": 1.0, "guidance_argument": "true_cfg_scale"}, 4),
    ],
    ids=["unet", "z-image-turbo", "qwen-image"],
)
def test_the_step_that_prompts_of_any_length_take_is_measured(
    make: Maker, card: dict[str, Any], calls_a_step: int
) -> None:
    model = model_of(make, **card)
    settings = CallSettings(64, 64, STEPS, model.card.sampling.guidance)
    queue = [item(number) for number in range(BATCH_SIZE)]
    for made in queue:
        # Each length runs by itself first, so that no comparison is left to be made.
        Run(model, settings).all([made])
    Run(model, settings).all(queue)
    run = Run(model, settings)
    with CallCounter(model) as calls:
        run.all([*queue, *(msgspec.structs.replace(made, image_id=f"{made.image_id}-again") for made in queue)])
    assert run.failed == {}
    assert len(calls) == 2 * STEPS * calls_a_step
    assert run.slots.seconds_per_step is not None
    # A device on which no smaller call gives the same bits has timed none.
    smaller = [seconds for kind in model.findings.padding if (seconds := model.findings.seconds(kind)) is not None]
    assert smaller or DEVICE.type != "cpu"
    assert run.slots.seconds_per_step >= 0.5 * calls_a_step * min(smaller, default=0.0)


def test_an_image_that_leaves_does_not_disturb_the_others(model: LoadedModel) -> None:
    run = Run(model)
    for number in (1, 2):
        run.slots.enter(item(number))
    run.slots.tick()
    assert run.slots.leave("image-1")
    assert not run.slots.leave("image-1")
    run.all([])
    assert torch.equal(run.images["image-2"], stock(model, SETTINGS, [item(2), item(1), item(1), item(3)])[0])
    assert "image-1" not in run.images


def test_an_image_that_fails_does_not_fail_the_others() -> None:
    model = model_of(tiny.unet_pipeline)
    run = Run(model)
    run.slots.enter(item(1))
    # The stock pipeline itself refuses an image without a prompt.
    run.slots.enter(Item("bad", 1, None, "", "-"))  # type: ignore[arg-type]
    run.all([])
    assert isinstance(run.failed["bad"], TypeError | ValueError)
    assert torch.equal(run.images["image-1"], stock(model, SETTINGS, [item(1), item(2), item(2), item(3)])[0])


@contextmanager
def two_threads() -> Iterator[None]:
    """Compute with more than one thread, as a GPU process in use does: tests have one, which adds in one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@settings(max_examples=2, database=None)
@given(st.lists(st.integers(0, 2), min_size=2, max_size=5))
@two_threads()
def test_the_shipped_model_gives_the_same_bytes_in_any_company(shipped: LoadedModel, pauses: list[int]) -> None:
    settings = CallSettings(512, 512, 2, 2.0)
    prompts = [
        "marble warm r1-12 g1-8 b1-3 r2-none g2-none b2-none r3-none g3-none b3-none",
        "beach bright r1-3 g1-8 b1-30 r2-9 g2-9 b2-9 r3-none g3-none b3-none",
    ]
    items = [Item(f"image-{index}", index, prompts[index % 2], "", "-") for index in range(len(pauses))]
    together = Run(shipped, settings, 4)
    together.all(items, pauses)
    for made in items:
        alone = Run(shipped, settings, 4)
        alone.all([made])
        assert torch.equal(together.images[made.image_id], alone.images[made.image_id])


def test_few_images_run_at_the_smallest_size_of_the_same_bits() -> None:
    model = model_of(tiny.unet_pipeline)
    first, second = Run(model), Run(model)
    # The model keeps what is found out: the second run knows it from its first step on.
    first.all([item(1)])
    with CallCounter(model) as rows:
        second.all([item(1)])
    exact = [kind.size for kind, layers in model.findings.padding.items() if layers is not None]
    # Guidance doubles the rows.
    assert rows == [2 * min(exact, default=BATCH_SIZE)] * STEPS
    assert torch.equal(second.images["image-1"], stock(model, SETTINGS, [item(1), item(2), item(2), item(3)])[0])


def test_times_are_taken_again_once_slots_open_anew() -> None:
    model = model_of(tiny.unet_pipeline)
    queue = [item(number) for number in range(BATCH_SIZE)]
    Run(model).all(queue)
    for kind in model.findings.padding:
        for _ in range(TIMED):
            model.findings.note_seconds(msgspec.structs.replace(kind, size=BATCH_SIZE), 9.0)
    run = Run(model)
    run.all(queue)
    assert run.slots.seconds_per_step is not None
    assert run.slots.seconds_per_step < 9


def test_long_calls_are_not_traced() -> None:
    traced = TracedCalls(plain_calls=0, longest_s=0.0)
    Run(model_of(tiny.unet_pipeline, traced)).all([item(number) for number in range(8)])
    assert len(traced) == 0


def test_a_pipeline_with_an_unknown_denoiser_is_of_no_family() -> None:
    pipeline = tiny.unet_pipeline()
    assert family_of(pipeline) is not None
    pipeline.unet = torch.nn.Identity()
    assert family_of(pipeline) is None


# ── whole batches ────────────────────────────────────────────────────────────────────────────────────────────────────


def images_of(batch: Batch, outcomes: list[Outcome]) -> dict[str, torch.Tensor]:
    """Run a batch to its end, and return its images."""
    while len(batch):
        batch.tick()
    return {made.item.image_id: made.image for made in outcomes if isinstance(made, Denoised)}


def test_a_whole_batch_equals_the_stock_pipeline(model: LoadedModel) -> None:
    outcomes: list[Outcome] = []
    batch = WholeBatch(model, SETTINGS, BATCH_SIZE, outcomes.append)
    for number in (1, 2):
        batch.enter(item(number))
    batch.tick()
    # The batch pauses after each step, and takes no more images.
    assert [outcome.step for outcome in outcomes if isinstance(outcome, Stepped)] == [1, 1]
    assert (len(batch), batch.free) == (2, 0)
    images = images_of(batch, outcomes)
    expected = stock(model, SETTINGS, [item(1), item(2), item(5), item(6)])
    assert torch.equal(images["image-1"], expected[0])
    assert torch.equal(images["image-2"], expected[1])
    assert batch.seconds_per_step is not None
    assert batch.free == BATCH_SIZE


def test_an_image_that_leaves_a_whole_batch_does_not_disturb_the_others() -> None:
    model = model_of(tiny.unet_pipeline)
    outcomes: list[Outcome] = []
    batch = WholeBatch(model, SETTINGS, BATCH_SIZE, outcomes.append)
    for number in (1, 2, 3):
        batch.enter(item(number))
    assert batch.leave("image-3")
    batch.tick()
    assert batch.leave("image-1")
    assert not batch.leave("image-1")
    assert not batch.leave("image-3")
    images = images_of(batch, outcomes)
    assert list(images) == ["image-2"]
    assert torch.equal(images["image-2"], stock(model, SETTINGS, [item(1), item(2), item(5), item(6)])[1])


def test_a_whole_batch_ends_if_all_its_images_leave() -> None:
    batch = WholeBatch(model_of(tiny.unet_pipeline), SETTINGS, BATCH_SIZE, lambda _: None)
    for number in (1, 2):
        batch.enter(item(number))
    batch.tick()
    assert batch.leave("image-1")
    assert batch.leave("image-2")
    assert (len(batch), batch.free) == (0, BATCH_SIZE)


def test_a_whole_batch_that_is_cleared_gives_its_images_back() -> None:
    batch = WholeBatch(model_of(tiny.unet_pipeline), SETTINGS, BATCH_SIZE, lambda _: None)
    for number in (1, 2, 3):
        batch.enter(item(number))
    batch.tick()
    batch.leave("image-2")
    assert batch.clear() == [item(1), item(3)]
    assert len(batch) == 0


def in_slots(model: LoadedModel, watch: Watch) -> Batch:
    return Slots(model, family(model), SETTINGS, 1, watch)


def as_a_whole(model: LoadedModel, watch: Watch) -> Batch:
    return WholeBatch(model, SETTINGS, 1, watch)


@pytest.mark.parametrize("open_batch", [in_slots, as_a_whole])
def test_a_scheduler_of_second_order_takes_two_calls_a_step(open_batch: Callable[[LoadedModel, Watch], Batch]) -> None:
    model = model_of(tiny.sdxl_pipeline)
    model.pipeline.scheduler = HeunDiscreteScheduler.from_config(model.pipeline.scheduler.config)
    outcomes: list[Outcome] = []
    batch = open_batch(model, outcomes.append)
    batch.enter(item(1))
    images = images_of(batch, outcomes)
    assert [outcome.step for outcome in outcomes if isinstance(outcome, Stepped)] == [1, 2, 3, 4]
    assert torch.equal(images["image-1"], stock(model, SETTINGS, [item(1)])[0])


# ── failures ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class FailingVae(AutoencoderKL):  # type: ignore[misc]
    """A VAE that raises an error at its first decoding, and works from then on."""

    failure: Exception | None = None

    def decode(self, *arguments: Any, **keywords: Any) -> Any:
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        return super().decode(*arguments, **keywords)


def model_that_fails(make: Maker, failure: Exception, dtype: str = "float32") -> LoadedModel:
    model = model_of(make, dtype=dtype)
    vae = FailingVae.from_config(model.pipeline.vae.config)
    vae.load_state_dict(model.pipeline.vae.state_dict())
    vae.failure = failure
    model.pipeline.register_modules(vae=vae)
    model.pipeline.to(DEVICE, getattr(torch, dtype))
    return model


def test_a_model_is_as_it_was_after_a_decoder_that_failed() -> None:
    """Check this with SDXL in float16: its stock pipeline decodes in float32, and leaves its VAE so if that fails."""
    model = model_that_fails(tiny.sdxl_pipeline, torch.OutOfMemoryError("CUDA out of memory"), "float16")
    failing = Run(model, batch_size=1)
    with pytest.raises(torch.OutOfMemoryError):
        failing.all([item(1)])
    assert failing.slots.clear() == [item(1)]
    assert model.pipeline.vae.dtype == torch.float32
    model.restore()
    run = Run(model, batch_size=1)
    run.all([item(1)])
    assert (run.failed, list(run.images)) == ({}, ["image-1"])


def test_a_lost_device_is_not_one_image_s_failure() -> None:
    error = torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
    with pytest.raises(torch.AcceleratorError):
        Run(model_that_fails(tiny.unet_pipeline, error), batch_size=1).all([item(1)])


@pytest.fixture(scope="module")
def shipped() -> LoadedModel:
    model = load(load_models(ROOT / "models.toml").models["studio-tiny"], traced=False)
    model.pipeline.to(DEVICE)
    return model


def test_a_stock_pipeline_is_what_is_loaded(shipped: LoadedModel) -> None:
    assert isinstance(shipped.pipeline, DiffusionPipeline)
    assert len(shipped.revision) == 16
