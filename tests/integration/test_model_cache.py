"""The models in memory: which are evicted for which, and how one is read while another one works."""

import shutil
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from pipelines.lora import Lora
from pipelines.model_card import ModelCard
from pipelines.worker import components
from pipelines.worker.loader import CannotLoad, NoDevice, choose_device, load
from pipelines.worker.model_cache import ModelCache
from pipelines.worker.prefetch import Prefetch
from pipelines.worker.turns import computing
from server.models_file import load_models
from tests.support.files import models_file
from tests.support.tiny import save_lora, unet_pipeline


@pytest.fixture
def card(tiny_folders: dict[str, Path], tmp_path: Path) -> ModelCard:
    return load_models(models_file(tmp_path / "models.toml", {"good": tiny_folders["good"]})).models["good"]


def with_weights(card: ModelCard, **weights: Any) -> ModelCard:
    return msgspec.structs.replace(card, weights=msgspec.structs.replace(card.weights, **weights))


def test_models_share_memory_by_least_recent_use(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        shutil.copytree(tiny_folders["good"], tmp_path / name)
    path = models_file(tmp_path / "models.toml", {name: tmp_path / name for name in ("a", "b", "c")})
    a, b, c = load_models(path).models.values()
    evicted: list[str] = []
    # There is room for two of them: each has some 0.4 MB of weights, and an image is said to take nothing.
    cache = ModelCache(torch.device("cpu"), 1_400_000, evicted.append)
    cache.load(a, 0)
    cache.load(b, 0)
    assert evicted == []
    assert cache.get(a) is not None
    cache.prefetch(c, 0)
    cache.load(c, 0)
    assert evicted == ["b"]
    assert cache.get(b) is None
    assert cache.get(a) is not None


def test_a_pinned_model_stays(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    path = models_file(tmp_path / "models.toml", {"a": tiny_folders["good"], "b": tiny_folders["flat"]})
    a, b = load_models(path).models.values()
    evicted: list[str] = []
    # There is room for both, but not within the part that models may fill.
    cache = ModelCache(torch.device("cpu"), 1_000_000, evicted.append)
    cache.pin(["a", "b"])
    cache.load(a, 0)
    cache.load(b, 0)
    assert evicted == []
    assert cache.get(a) is not None


@pytest.mark.parametrize(("limit", "traced"), [(None, True), (2**40, False)], ids=["all memory", "a limit"])
def test_calls_are_traced_if_memory_is_not_short(
    tiny_folders: dict[str, Path], tmp_path: Path, limit: int | None, traced: bool
) -> None:
    card = load_models(models_file(tmp_path / "models.toml", {"a": tiny_folders["good"]})).models["a"]
    model = ModelCache(torch.device("cpu"), limit, lambda _: None).load(card)
    assert (model.findings.traced is not None) == traced


def test_an_edit_that_leaves_the_weights_does_not_load_them_again(card: ModelCard) -> None:
    evicted: list[str] = []
    cache = ModelCache(torch.device("cpu"), None, evicted.append)
    loaded = cache.load(card)
    edited = msgspec.structs.replace(card, sampling=msgspec.structs.replace(card.sampling, steps=7))
    again = cache.get(edited)
    assert again is not None
    assert again.card == edited
    assert again.pipeline is loaded.pipeline
    assert cache.get(with_weights(card, dtype="bfloat16")) is None
    assert evicted == []


def test_a_card_that_cannot_be_loaded_leaves_what_was_in_memory(card: ModelCard, tmp_path: Path) -> None:
    evicted: list[str] = []
    cache = ModelCache(torch.device("cpu"), None, evicted.append)
    cache.load(card)
    with pytest.raises(CannotLoad, match="could not be read"):
        cache.load(with_weights(card, folder=str(tmp_path)))
    assert evicted == []
    assert cache.get(card) is not None


def test_a_model_that_could_not_be_prefetched_is_read_when_it_is_wanted(card: ModelCard, tmp_path: Path) -> None:
    cache = ModelCache(torch.device("cpu"), None, lambda _: None)
    late = with_weights(card, folder=str(tmp_path / "late"))
    cache.prefetch(late)
    for thread in threading.enumerate():
        if thread.name == "prefetch-good":
            thread.join()
    assert card.weights.folder is not None
    shutil.copytree(card.weights.folder, tmp_path / "late")
    assert cache.load(late).card == late


def test_idle_models_can_be_evicted(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    path = models_file(tmp_path / "models.toml", dict.fromkeys(("a", "b", "c"), tiny_folders["good"]))
    a, b, c = load_models(path).models.values()
    evicted: list[str] = []
    cache = ModelCache(torch.device("cpu"), None, evicted.append)
    for one in (a, b, c):
        cache.load(one)
    cache.pin(["b"])
    assert cache.idle_beside(c) == ["a"]
    cache.evict(["a"])
    assert evicted == ["a"]
    assert cache.idle_beside(c) == []


def test_no_image_is_computed_under_another_models_default_dtype(card: ModelCard) -> None:
    cache = ModelCache(torch.device("cpu"), None, lambda _: None)
    seen = set()
    for _ in range(3):
        cache.prefetch(with_weights(card, dtype="bfloat16"))
        while any(thread.name == "prefetch-good" for thread in threading.enumerate()):
            with computing():
                seen |= {torch.get_default_dtype() for _ in range(1000)}
        cache.load(with_weights(card, dtype="float16"))
    assert seen == {torch.float32}
    assert torch.get_default_dtype() == torch.float32


def test_loras_are_read_while_another_model_is_built(card: ModelCard, tmp_path: Path) -> None:
    file = str(save_lora(unet_pipeline, tmp_path / "oak.safetensors"))
    register_parameter = torch.nn.Module.register_parameter
    model, number = load(card, traced=False), 0
    for _ in range(6):
        other = Prefetch(card, torch.device("cpu"), room=2**40, image_bytes=None, traced=False)
        while any(thread.name == "prefetch-good" for thread in threading.enumerate()):
            with computing():
                # By another name it is read anew.
                model.with_loras([Lora(f"oak-{number}", file, 1.0)])
            number += 1
        for made in (model, other.result()):
            assert not any(weights.is_meta for weights in made.pipeline.unet.parameters())
    assert number > 0
    assert torch.nn.Module.register_parameter is register_parameter


def test_a_prefetched_model_is_idle_on_a_cpu_and_is_not_prefetched_again(card: ModelCard) -> None:
    cache = ModelCache(torch.device("cpu"), None, lambda _: None)
    cache.load(card)
    other = msgspec.structs.replace(card, name="next")
    cache.prefetch(other)
    assert cache.idle_beside(card) == ["next"]
    cache.evict(["next"])
    cache.prefetch(other)
    assert cache.idle_beside(card) == []
    # Once the second model is loaded, a third may be prefetched beside it.
    cache.load(other)
    cache.prefetch(msgspec.structs.replace(card, name="third"))
    assert cache.idle_beside(other) == ["good", "third"]
    cache.load(msgspec.structs.replace(card, name="third"))


class NoLongerWanted(threading.Event):
    """Is set from the second look at it on."""

    looks = 0

    def is_set(self) -> bool:
        self.looks += 1
        return self.looks > 1


def test_a_model_that_is_no_longer_wanted_is_read_no_further(card: ModelCard) -> None:
    unwanted = NoLongerWanted()
    with pytest.raises(components.Unwanted):
        load(card, traced=False, unwanted=unwanted)
    assert unwanted.looks == 2


def test_a_prefetch_that_is_evicted_has_ended(card: ModelCard) -> None:
    cache = ModelCache(torch.device("cpu"), None, lambda _: None)
    cache.load(card)
    cache.prefetch(msgspec.structs.replace(card, name="next"))
    cache.evict(["next"])
    assert cache.idle_beside(card) == []
    assert not [thread for thread in threading.enumerate() if thread.name == "prefetch-next"]


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
def test_a_gpu_is_chosen_with_its_index(wanted: str, gpus: int, chosen: str | None) -> None:
    if chosen is None:
        with pytest.raises(NoDevice, match=f"the device {wanted} is a GPU"):
            choose_device(wanted, gpus)
    else:
        assert str(choose_device(wanted, gpus)) == chosen


def test_a_model_is_unloaded_when_asked_even_if_pinned(card: ModelCard) -> None:
    evicted: list[str] = []
    cache = ModelCache(torch.device("cpu"), None, evicted.append)
    cache.load(card)
    assert cache.bytes_of("good") > 0
    cache.pin(["good"])
    cache.unload("nothing")
    cache.unload("good")
    assert (evicted, cache.get(card)) == (["good"], None)
    cache.load(card)
    assert cache.get(card) is not None
