"""Every model family that docs/reference/models.md names is loaded by its card, and its images are as promised."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from pipelines.denoising.batch import Denoised, ImageFailed, Outcome, Stepped
from pipelines.denoising.call import CallSettings, call_arguments
from pipelines.denoising.families import FAMILIES, family_of
from pipelines.guidance import follows_negative_prompts
from pipelines.protocol import Item
from pipelines.worker.loader import CannotLoad, LoadedModel, load
from server.models_file import Models, load_models
from server.operator.adding import add_model
from tests.support import tiny
from tests.support.company import assert_same_but_for_its_place, assert_same_in_company
from tests.support.device import DEVICE
from tests.support.model_matrix import ROWS, Row
from tests.support.options import difference, images_of, loaded
from tests.support.tiny_models import batch_of

STEPS = 3
#: The models whose pictures have an opacity.
OF_FOUR_CHANNELS = [row for row in ROWS if row.pipeline == "QwenImage21Pipeline"]
#: A size that is not square, and at which no model was trained.
WIDTH, HEIGHT = 64, 96
PROMPT = "marble warm"
#: In a whole batch prompts are padded to the longest, which may change bits.
COMPANY = {True: "wood cool red navy", False: "wood cool"}


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Row], Path]:
    """Return a function that makes a row's tiny model once, and gives its folder."""
    root = tmp_path_factory.mktemp("families")

    def folder(row: Row) -> Path:
        path = root / row.tiny
        if not path.exists():
            tiny.save(getattr(tiny, row.tiny)(), path)
        return path

    return folder


@pytest.fixture(scope="module", params=ROWS, ids=[row.id for row in ROWS])
def row(request: pytest.FixtureRequest) -> Row:
    found: Row = request.param
    return found


@pytest.fixture(scope="module")
def models(row: Row, saved: Callable[[Row], Path], tmp_path_factory: pytest.TempPathFactory) -> Models:
    """Return a models.toml with the row's card, as it is loaded."""
    card = {
        "folder": str(saved(row)),
        "licence": "-",
        "tiers": ["0.5K"],
        "steps": STEPS,
        "multiple_of": row.tiny_multiple,
        **row.card,
    }
    file = tmp_path_factory.mktemp("toml") / "models.toml"
    lines = ['default_model = "tiny"', "[models.tiny]", *(f"{name} = {_toml(value)}" for name, value in card.items())]
    file.write_text("\n".join(lines))
    return load_models(file)


@pytest.fixture(scope="module")
def model(models: Models) -> LoadedModel:
    loaded = load(models.models["tiny"], traced=False)
    loaded.pipeline.to(DEVICE)
    return loaded


class Run:
    """A batch of two places, opened as the server would, and its outcomes."""

    def __init__(self, model: LoadedModel, *items: Item) -> None:
        self.images: dict[str, torch.Tensor] = {}
        self.steps: dict[str, list[int]] = {}
        settings = CallSettings(WIDTH, HEIGHT, STEPS, model.card.sampling.guidance)
        self.batch = batch_of(model, settings, self._watch)
        for item in items:
            self.batch.enter(item)

    def to_its_end(self) -> dict[str, torch.Tensor]:
        while len(self.batch):
            self.batch.tick()
        return self.images

    def _watch(self, outcome: Outcome) -> None:
        match outcome:
            case Stepped(item=item, step=step):
                self.steps.setdefault(item.image_id, []).append(step)
            case Denoised(item=item, image=image, finite=finite):
                assert finite
                self.images[item.image_id] = image
            case ImageFailed(error=error):
                raise error


def item(model: LoadedModel, number: int, negative: str = "") -> Item:
    words = [part for part in (model.card.wording.negative_prompt, negative) if part]
    prompt = PROMPT if number else COMPANY[family_of(model.pipeline) is not None]
    return Item(f"image-{number}", 100 + number, prompt, ", ".join(words), "-")


@pytest.fixture(scope="module")
def alone(model: LoadedModel) -> torch.Tensor:
    """Return the image of number 1, made alone."""
    return Run(model, item(model, 1)).to_its_end()["image-1"]


def test_it_is_loaded_by_its_card(row: Row, models: Models, model: LoadedModel) -> None:
    assert models.problems == []
    assert type(model.pipeline).__name__ == row.pipeline
    assert (family_of(model.pipeline) is not None) == row.slots
    assert follows_negative_prompts(models.models["tiny"]) == row.negative_prompt


def test_an_image_has_its_size_and_is_a_picture(alone: torch.Tensor) -> None:
    assert alone.shape == (3, HEIGHT, WIDTH)
    assert float(alone.std()) > 0


def test_an_image_in_company_is_the_image_alone(model: LoadedModel, alone: torch.Tensor) -> None:
    run = Run(model, item(model, 1), item(model, 0))
    images = run.to_its_end()
    assert run.steps == {"image-0": [1, 2, 3], "image-1": [1, 2, 3]}
    assert_same_in_company(run.batch, images["image-1"], alone)
    assert not torch.equal(images["image-0"], alone)


def test_an_image_can_be_seen_before_it_is_done(model: LoadedModel) -> None:
    seen: list[torch.Tensor | None] = []
    done: list[Denoised] = []

    def watch(outcome: Outcome) -> None:
        if isinstance(outcome, Stepped):
            seen.append(outcome.forecast())
        if isinstance(outcome, Denoised):
            done.append(outcome)

    settings = CallSettings(WIDTH, HEIGHT, STEPS, model.card.sampling.guidance)
    batch = batch_of(model, settings, watch)
    batch.enter(item(model, 1))
    while len(batch):
        batch.tick()
    assert done[0].latents is not None
    model.colors.learn(done[0].latents, done[0].image)
    assert seen[1] is not None
    picture = model.colors.picture(seen[1], WIDTH, HEIGHT)
    assert picture is not None
    assert picture.shape[0] * WIDTH == picture.shape[1] * HEIGHT
    assert 0 <= picture.min() <= picture.max() <= 1


def test_an_image_at_another_place_of_its_batch_is_the_same(model: LoadedModel, alone: torch.Tensor) -> None:
    images = Run(model, item(model, 0), item(model, 1)).to_its_end()
    assert_same_but_for_its_place(images["image-1"], alone)


def test_an_image_that_is_cancelled_does_not_disturb_the_other(model: LoadedModel, alone: torch.Tensor) -> None:
    run = Run(model, item(model, 1), item(model, 0))
    run.batch.tick()
    assert run.batch.leave("image-0")
    images = run.to_its_end()
    assert list(images) == ["image-1"]
    assert_same_in_company(run.batch, images["image-1"], alone)


@pytest.mark.parametrize("row", OF_FOUR_CHANNELS, ids=lambda row: row.id, indirect=True)
def test_a_picture_that_is_not_opaque_lies_on_white(model: LoadedModel, alone: torch.Tensor) -> None:
    settings = CallSettings(WIDTH, HEIGHT, STEPS, model.card.sampling.guidance)
    arguments = call_arguments(model, settings, [item(model, 1)])
    with torch.inference_mode():
        image = model.pipeline(**arguments).images[0].float().cpu()
    colors, opacity = image[:3], image[3]
    assert 0 < float(opacity.mean()) < 1
    torch.testing.assert_close(alone, colors * opacity + 1 - opacity)


def test_a_prompt_is_read_and_a_negative_prompt_only_if_it_is_promised(
    row: Row, model: LoadedModel, alone: torch.Tensor
) -> None:
    other = msgspec.structs.replace(item(model, 1), prompt="navy red")
    assert not torch.equal(Run(model, other).to_its_end()["image-1"], alone)
    negative = Run(model, item(model, 1, negative="navy red")).to_its_end()["image-1"]
    assert torch.equal(negative, alone) != row.negative_prompt


def test_guidance_changes_the_image_unless_there_is_none(row: Row, model: LoadedModel, alone: torch.Tensor) -> None:
    if row.guidance == "none":
        return
    stronger = msgspec.structs.replace(model.card.sampling, guidance=5.0)
    guided = msgspec.structs.replace(model, card=msgspec.structs.replace(model.card, sampling=stronger))
    assert not torch.equal(Run(guided, item(guided, 1)).to_its_end()["image-1"], alone)


def test_a_size_that_it_would_round_is_refused(row: Row, models: Models) -> None:
    card = models.models["tiny"]
    half = row.tiny_multiple // 2
    limits = msgspec.structs.replace(card.limits, multiple_of=half)
    with pytest.raises(CannotLoad, match=rf"multiple_of = {half}: \w+ makes multiples of {row.tiny_multiple} only"):
        load(msgspec.structs.replace(card, limits=limits), traced=False)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_toml(inner)}" for name, inner in value.items()) + " }"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def test_a_card_is_made_of_its_folder(row: Row, saved: Callable[[Row], Path], tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    added = add_model(path, str(saved(row)), None, None)
    card = load_models(path).models[added.name]
    assert type(load(card, traced=False).pipeline).__name__ == row.pipeline
    assert card.limits.multiple_of % row.tiny_multiple == 0


@pytest.mark.parametrize("slots", [True, False])
def test_sizes_that_a_card_tells_sdxl_act(tmp_path: Path, slots: bool) -> None:
    """Check that they act though TOML has arrays and the pipeline takes tuples."""
    tiny.save(tiny.sdxl_pipeline(), tmp_path / "sdxl")
    told = {"original_size": [32, 48], "crops_coords_top_left": [8, 0]}
    one, other = (
        images_of(loaded(tmp_path / "sdxl", slots=slots, arguments=arguments), "marble warm")
        for arguments in ({}, told)
    )
    assert difference(one, other) > 0


def test_every_denoiser_that_slots_know_is_tried() -> None:
    tried = {
        type(getattr(pipeline, family.attribute)).__name__
        for row in ROWS
        if row.slots
        for pipeline in [getattr(tiny, row.tiny)()]
        if (family := family_of(pipeline)) is not None
    }
    assert tried == set(FAMILIES)
