"""Which models are in memory, what makes room for what, and reading one beside another at work."""

import shutil
import threading
from pathlib import Path

import msgspec
import pytest
import torch

from pipelines.model_card import ModelCard
from pipelines.worker.default_dtype import computing
from pipelines.worker.loader import CannotLoad, NoDevice, choose_device
from pipelines.worker.model_cache import Residents
from server.models_file import load_models
from tests.support.files import models_file


@pytest.fixture
def card(tiny_folders: dict[str, Path], tmp_path: Path) -> ModelCard:
    return load_models(models_file(tmp_path / "models.toml", {"good": tiny_folders["good"]})).models["good"]


def test_models_share_memory_by_least_recent_use(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        shutil.copytree(tiny_folders["good"], tmp_path / name)
    path = models_file(tmp_path / "models.toml", {name: tmp_path / name for name in ("a", "b", "c")})
    a, b, c = load_models(path).models.values()
    evicted: list[str] = []
    # Room for two of them: each has some 0.4 MB of weights.
    residents = Residents(torch.device("cpu"), 1_400_000, evicted.append)
    residents.load(a)
    residents.load(b)
    assert evicted == []
    assert residents.get(a) is not None
    residents.read_ahead(c)
    residents.load(c)
    assert evicted == ["b"]
    assert residents.get(b) is None
    assert residents.get(a) is not None


def test_a_pinned_model_stays(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    path = models_file(tmp_path / "models.toml", {"a": tiny_folders["good"], "b": tiny_folders["flat"]})
    a, b = load_models(path).models.values()
    evicted: list[str] = []
    residents = Residents(torch.device("cpu"), 1, evicted.append)
    residents.pin(["a", "b"])
    residents.load(a)
    residents.load(b)
    assert evicted == []
    assert residents.get(a) is not None


@pytest.mark.parametrize(("limit", "recorded"), [(None, True), (2**40, False)], ids=["all memory", "a limit"])
def test_calls_are_recorded_where_memory_is_not_short(
    tiny_folders: dict[str, Path], tmp_path: Path, limit: int | None, recorded: bool
) -> None:
    card = load_models(models_file(tmp_path / "models.toml", {"a": tiny_folders["good"]})).models["a"]
    model = Residents(torch.device("cpu"), limit, lambda _: None).load(card)
    assert (model.recordings is not None) == recorded


def test_an_edit_that_leaves_the_weights_does_not_load_them_again(card: ModelCard) -> None:
    evicted: list[str] = []
    residents = Residents(torch.device("cpu"), None, evicted.append)
    loaded = residents.load(card)
    edited = msgspec.structs.replace(card, prompt="birch, {scene}", steps=7)
    again = residents.get(edited)
    assert again is not None
    assert again.card == edited
    assert again.pipeline is loaded.pipeline
    assert residents.get(msgspec.structs.replace(card, dtype="bfloat16")) is None
    assert evicted == []


def test_a_card_that_cannot_be_loaded_leaves_what_was_in_memory(card: ModelCard, tmp_path: Path) -> None:
    evicted: list[str] = []
    residents = Residents(torch.device("cpu"), None, evicted.append)
    residents.load(card)
    with pytest.raises(CannotLoad, match="could not be read"):
        residents.load(msgspec.structs.replace(card, folder=str(tmp_path)))
    assert evicted == []
    assert residents.get(card) is not None


def test_what_could_not_be_read_ahead_is_read_when_it_is_wanted(card: ModelCard, tmp_path: Path) -> None:
    residents = Residents(torch.device("cpu"), None, lambda _: None)
    late = msgspec.structs.replace(card, folder=str(tmp_path / "late"))
    residents.read_ahead(late)
    for thread in threading.enumerate():
        if thread.name == "reading-good":
            thread.join()
    assert card.folder is not None
    shutil.copytree(card.folder, tmp_path / "late")
    assert residents.load(late).card == late


def test_room_is_made_beside_a_model(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    path = models_file(tmp_path / "models.toml", dict.fromkeys(("a", "b", "c"), tiny_folders["good"]))
    a, b, c = load_models(path).models.values()
    evicted: list[str] = []
    residents = Residents(torch.device("cpu"), None, evicted.append)
    for one in (a, b, c):
        residents.load(one)
    residents.pin(["b"])
    assert residents.make_room_beside(c)
    assert evicted == ["a"]
    assert not residents.make_room_beside(c)


def test_no_image_is_computed_under_another_models_default_dtype(card: ModelCard) -> None:
    residents = Residents(torch.device("cpu"), None, lambda _: None)
    seen = set()
    for _ in range(3):
        residents.read_ahead(msgspec.structs.replace(card, dtype="bfloat16"))
        while any(thread.name == "reading-good" for thread in threading.enumerate()):
            with computing():
                seen |= {torch.get_default_dtype() for _ in range(1000)}
        residents.load(msgspec.structs.replace(card, dtype="float16"))
    assert seen == {torch.float32}
    assert torch.get_default_dtype() == torch.float32


def test_what_is_read_ahead_makes_room_on_a_cpu(card: ModelCard) -> None:
    residents = Residents(torch.device("cpu"), None, lambda _: None)
    residents.load(card)
    residents.read_ahead(msgspec.structs.replace(card, name="next"))
    assert residents.make_room_beside(card)
    assert not residents.make_room_beside(card)


@pytest.mark.parametrize(
    ("wanted", "gpus", "chosen"),
    [
        ("auto", 0, "cpu"),
        ("auto", 2, "cuda:0"),
        ("cpu", 2, "cpu"),
        ("cuda", 1, "cuda:0"),
        ("cuda:1", 2, "cuda:1"),
        ("cuda:1", 1, None),
        ("cuda", 0, None),
    ],
)
def test_a_gpu_is_chosen_with_its_index(
    wanted: str, gpus: int, chosen: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    if chosen is None:
        with pytest.raises(NoDevice, match=f"BACKLOT_DEVICE={wanted} names a GPU"):
            choose_device(wanted)
    else:
        assert str(choose_device(wanted)) == chosen
