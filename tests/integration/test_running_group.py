"""A slot group may stay open for months, so it keeps nothing of images that left their slots."""

import sys
from pathlib import Path

import numpy as np
import pytest

from pipelines.model_card import ModelCard
from pipelines.output.image_writer import ImageWriter
from pipelines.protocol import Failed, Generate, Generated, Item, Report, Steps
from pipelines.worker.loader import LoadedModel
from pipelines.worker.recipes import Machine
from pipelines.worker.running_group import GroupKey, RunningGroup
from tests.support import tiny
from tests.support.device import DEVICE
from tests.support.server import wait_for
from tests.support.tiny_models import SETTINGS, model_of


def group_of(model: LoadedModel, reports: list[Report]) -> RunningGroup:
    """Return a running group of two slots that adds its reports to this list."""
    return RunningGroup(
        GroupKey(model.card, SETTINGS, 2),
        model,
        Machine(DEVICE, "a device", {}),
        ImageWriter(reports.append),
        reports.append,
        isolated=False,
    )


def test_an_error_of_the_writer_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    item = Item("image", 1, "marble", "", "-", preview_path=str(tmp_path / "image.webp"))
    reports: list[Report] = []
    ImageWriter(reports.append).preview(item, np.zeros((8, 8, 7), np.float32), 1, 4)
    wait_for(lambda: "The image writer failed" in caplog.text)


@pytest.mark.parametrize("slots", [True, False], ids=["slots", "a whole batch"])
def test_nothing_is_kept_of_an_image_that_left_its_slot(slots: bool, tmp_path: Path) -> None:
    model = model_of(tiny.unet_pipeline, slots=slots, preview=1)
    reports: list[Report] = []
    group = group_of(model, reports)
    orders = [order_of(model.card, name, tmp_path) for name in ("made", "cancelled")]
    before = [sys.getrefcount(order) for order in orders]
    group.enter(orders[0])
    group.enter(orders[1])
    group.tick()
    assert group.leave("cancelled")
    while len(group):
        group.tick()
    wait_for(lambda: any(isinstance(report, Generated | Failed) for report in reports))
    assert [sys.getrefcount(order) for order in orders] == before


def test_no_step_is_told_of_an_image_that_left_its_slot(tmp_path: Path) -> None:
    """Check that no report follows an image that left, since it may run elsewhere by then."""
    model = model_of(tiny.unet_pipeline)
    reports: list[Report] = []
    group = group_of(model, reports)
    for name in ("made", "taken back"):
        group.enter(order_of(model.card, name, tmp_path))
    # The first step is reported at once; those that follow soon are reported together.
    group.tick()
    group.tick()
    assert group.leave("taken back")
    left = len(reports)
    while len(group):
        group.tick()
    told = [step.image_id for report in reports[left:] if isinstance(report, Steps) for step in report.done]
    assert set(told) == {"made"}


def order_of(card: ModelCard, name: str, folder: Path) -> Generate:
    item = Item(name, 1, "marble warm", "", str(folder / f"{name}.png"), preview_path=str(folder / f"{name}.webp"))
    return Generate(card, SETTINGS.width, SETTINGS.height, SETTINGS.steps, SETTINGS.guidance, 2, item)
