"""LoRAs on tiny pipelines: they act, they fit, they come and go without a trace, and a replay has them too."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipelines.denoising.call import CallSettings, call_arguments
from pipelines.denoising.slots import Slots
from pipelines.lora import Lora
from pipelines.protocol import Item
from pipelines.worker.loader import LoadedModel
from pipelines.worker.loras import KEPT, LoraUnusable
from tests.support import tiny
from tests.support.company import assert_same_but_for_its_place
from tests.support.device import DEVICE
from tests.support.files import models_file
from tests.support.options import loaded, made_in, moving_weights
from tests.support.server import Server, StartServer
from tests.support.tiny_models import family

Maker = Callable[[], Any]
SETTINGS = CallSettings(64, 64, 3, 3.0)
FAMILIES: list[tuple[Maker, dict[str, Any]]] = [
    (tiny.unet_pipeline, {}),
    (tiny.sdxl_pipeline, {}),
    (tiny.sd3_pipeline, {}),
    (tiny.flux_pipeline, {}),
    (tiny.flux2_klein_pipeline, {}),
    (tiny.z_image_pipeline, {}),
    (tiny.qwen_image_pipeline, {"guidance_argument": "true_cfg_scale", "negative_prompt": " "}),
    # On a CPU these two give other bits if their weights have `requires_grad`: diffusers reads them with it, peft removes it.
    (tiny.krea2_pipeline, {}),
    (tiny.sana_pipeline, {}),
]
NAMES = ["unet", "sdxl", "sd3", "flux", "flux2-klein", "z-image", "qwen-image", "krea2", "sana"]


def item(number: int) -> Item:
    return Item(f"image-{number}", number, "marble warm", " ", "-")


def model_of(make: Maker, card: dict[str, Any], folder: Path) -> LoadedModel:
    """Save a model in a folder, and return it as it is loaded from there."""
    tiny.save(make(), folder)
    return loaded(folder, traced=DEVICE.type == "cpu", **card)


def images(model: LoadedModel, items: list[Item]) -> list[torch.Tensor]:
    """Return the images of a slot group of two slots."""
    return made_in(partial(Slots, model, family(model), SETTINGS, 2), items)


@pytest.mark.parametrize(("make", "card"), FAMILIES, ids=NAMES)
def test_loras_act_as_in_the_stock_pipeline_and_leave_no_trace(
    make: Maker, card: dict[str, Any], tmp_path: Path
) -> None:
    one, two = (
        Lora(f"lora-{seed}", str(tiny.save_lora(make, tmp_path / f"{seed}.safetensors", seed)), weight)
        for seed, weight in ((1, 0.8), (2, -0.5))
    )
    model = model_of(make, card, tmp_path / "model")
    both = [item(1), item(2)]
    plain = images(model, both)
    with_one = model.with_loras([one])
    of_one = images(with_one, both)
    of_two = images(model.with_loras([one, two]), both)
    assert not torch.equal(of_one[0], plain[0])
    assert not torch.equal(of_two[0], of_one[0])
    assert [(lora.name, lora.weight) for lora in with_one.applied] == [("lora-1", 0.8)]
    # The earlier set of LoRAs, and none, give their bits again.
    assert torch.equal(images(model.with_loras([one]), both)[1], of_one[1])
    assert torch.equal(images(model.with_loras([]), both)[0], plain[0])

    stock = make().to(DEVICE)
    stock.set_progress_bar_config(disable=True)
    stock.vae.enable_slicing()
    for lora in (one, two):
        stock.load_lora_weights(lora.file, adapter_name=lora.name)
    stock.set_adapters([one.name, two.name], [one.weight, two.weight])
    expected = stock(**call_arguments(model, SETTINGS, both)).images
    # Slots may encode a prompt at another place of a batch than the stock pipeline.
    assert_same_but_for_its_place(torch.stack(of_two), expected.float().cpu())


@pytest.mark.parametrize(("make", "card"), FAMILIES, ids=NAMES)
def test_a_lora_gives_its_bits_again_on_weights_that_were_moved(
    make: Maker, card: dict[str, Any], tmp_path: Path
) -> None:
    one, two = (
        Lora(f"lora-{seed}", str(tiny.save_lora(make, tmp_path / f"{seed}.safetensors", seed)), 0.8) for seed in (1, 2)
    )
    model = model_of(make, card, tmp_path / "model")
    both = [item(1), item(2)]
    before = images(model.with_loras([one]), both)
    with moving_weights(model):
        # The other LoRA is read beside weights that were moved.
        for _ in range(2):
            assert not torch.equal(images(model.with_loras([two]), both)[0], before[0])
            after = images(model.with_loras([one]), both)
            assert torch.equal(torch.stack(after), torch.stack(before))


def test_a_lora_of_another_model_is_refused_by_name_and_the_next_image_has_none(tmp_path: Path) -> None:
    sdxl = str(tiny.save_lora(tiny.sdxl_pipeline, tmp_path / "sdxl.safetensors"))
    model = model_of(tiny.unet_pipeline, {}, tmp_path / "model")
    plain = images(model, [item(1)])
    good = tiny.save_lora(tiny.unet_pipeline, tmp_path / "good.safetensors")
    left_over = tmp_path / "left-over.safetensors"
    save_file({**load_file(good), "unet.nowhere.lora_A.weight": torch.zeros(2, 8)}, left_over)
    for file in (sdxl, str(left_over), str(tmp_path / "missing.safetensors")):
        with pytest.raises(LoraUnusable, match=Path(file).name):
            model.with_loras([Lora("brand", file, 1.0)])
    assert torch.equal(images(model.with_loras([]), [item(1)])[0], plain[0])


def kohya_named(tensors: dict[str, torch.Tensor], blocks: dict[str, str]) -> dict[str, torch.Tensor]:
    """Return a UNet's LoRA with the names that kohya's trainer gives its weights, and these names for the blocks."""
    named = {}
    for key, tensor in tensors.items():
        layer, _, half = key.removesuffix(".weight").rpartition(".")
        layer = f"lora_{layer.replace('.', '_')}"
        for own, other in blocks.items():
            layer = layer.replace(own, other)
        named[f"{layer}.{'lora_down' if half == 'lora_A' else 'lora_up'}.weight"] = tensor.clone()
        named[f"{layer}.alpha"] = torch.tensor(2.0)
    return named


def test_an_sdxl_lora_acts_alike_with_any_names_of_its_blocks(tmp_path: Path) -> None:
    """Check the names of Stability's code and those of diffusers, and a file that has both, of which one half is unused."""
    other = {
        "down_blocks_1_attentions_0": "input_blocks_3_1",
        "mid_block_attentions_0": "middle_block_1",
        "up_blocks_0_attentions_0": "output_blocks_0_1",
        "up_blocks_0_attentions_1": "output_blocks_1_1",
    }
    file = tiny.save_lora(tiny.sdxl_pipeline, tmp_path / "peft.safetensors")
    tensors = {key: tensor for key, tensor in load_file(file).items() if key.startswith("unet.")}
    save_file(tensors, file)
    save_file(kohya_named(tensors, {}), tmp_path / "own.safetensors")
    save_file(kohya_named(tensors, other), tmp_path / "other.safetensors")
    save_file(kohya_named(tensors, {}) | kohya_named(tensors, other), tmp_path / "both.safetensors")
    model = model_of(tiny.sdxl_pipeline, {}, tmp_path / "model")
    plain = images(model, [item(1)])[0]
    expected = images(model.with_loras([Lora("peft", str(file), 1.0)]), [item(1)])[0]
    assert not torch.equal(expected, plain)
    for name in ("own", "other", "both"):
        named = model.with_loras([Lora(name, str(tmp_path / f"{name}.safetensors"), 1.0)])
        torch.testing.assert_close(images(named, [item(1)])[0], expected)


def test_more_loras_than_are_kept_follow_one_another(tmp_path: Path) -> None:
    file = tiny.save_lora(tiny.unet_pipeline, tmp_path / "lora.safetensors")
    model = model_of(tiny.unet_pipeline, {}, tmp_path / "model")
    first = images(model.with_loras([Lora("0", str(file), 1.0)]), [item(1)])[0]
    for number in range(1, KEPT + 2):
        assert torch.equal(images(model.with_loras([Lora(str(number), str(file), 1.0)]), [item(1)])[0], first)
    kept = {name for names in model.pipeline.get_list_adapters().values() for name in names}
    assert len(kept) == KEPT


@pytest.fixture(scope="module")
def server(
    start_server: StartServer, tiny_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Server:
    folder = tmp_path_factory.mktemp("loras")
    for seed in (1, 2):
        tiny.save_lora(tiny.unet_pipeline, folder / f"{seed}.safetensors", seed)
    tiny.save_lora(tiny.sdxl_pipeline, folder / "sdxl.safetensors")
    (folder / "torn.safetensors").write_bytes(b"torn")
    tables = """
        [loras.grain]
        file = "1.safetensors"
        models = ["good", "house"]
        prompt = "film grain"
        [loras.haze]
        file = "2.safetensors"
        models = ["good"]
        [loras.foreign]
        file = "sdxl.safetensors"
        models = ["good"]
        [loras.torn]
        file = "torn.safetensors"
        models = ["good"]
        [brands.acme.loras]
        haze = 0.5
        [models.house.loras]
        grain = 0.7
    """
    folders = {"good": tiny_folders["good"], "house": tiny_folders["good"]}
    return start_server(models_file(folder / "models.toml", folders, extra=tables, reproducible="true"))


def applied(server: Server, **spec: Any) -> tuple[list[tuple[str, float]], bytes]:
    """Return the LoRAs that a finished job tells, and its picture."""
    job = server.finished(server.submit(seed=5, **spec))
    assert job["status"] == "SUCCESS", job["latest_event"]
    [artifact] = job["result"]
    told = [(lora["name"], lora["weight"]) for lora in artifact["meta"].get("loras", [])]
    return told, server.client.get(artifact["image_url"]).content


def test_a_request_a_brand_and_a_card_bring_loras(server: Server, tmp_path: Path) -> None:
    none, plain = applied(server)
    asked, grained = applied(server, loras=[{"name": "grain"}])
    branded, hazy = applied(server, pilot_brand="acme", loras=[{"name": "grain", "weight": 0.3}])
    switched_off, as_plain = applied(server, pilot_brand="acme", loras=[{"name": "haze", "weight": 0}])
    of_card, _ = applied(server, image_model="house", pilot_brand="acme")
    assert (none, asked, switched_off) == ([], [("grain", 1.0)], [])
    assert branded == [("grain", 0.3), ("haze", 0.5)]
    assert of_card == [("grain", 0.7)]
    assert len({plain, grained, hazy}) == 3
    assert as_plain == plain

    image = tmp_path / "image.png"
    image.write_bytes(hazy)
    told = server.backlot("replay", str(image))
    assert (told.returncode, told.stdout.strip()) == (0, "identical"), told.stderr


def test_images_with_other_loras_that_are_asked_for_at_once_are_those_made_alone(server: Server) -> None:
    sets = [[], [{"name": "haze"}], [{"name": "haze", "weight": -1}], [{"name": "haze"}]]
    alone = [applied(server, loras=loras)[1] for loras in sets[:3]]
    assert len(set(alone)) == 3
    jobs = [server.finished(job) for job in [server.submit(seed=5, loras=loras) for loras in sets]]
    together = [server.client.get(job["result"][0]["image_url"]).content for job in jobs]
    assert together == [*alone, alone[1]]


def test_words_of_a_lora_are_in_the_prompt(server: Server) -> None:
    job = server.finished(server.submit(loras=[{"name": "grain"}]))
    assert job["result"][0]["meta"]["prompt"].endswith("film grain")


@pytest.mark.parametrize(
    ("loras", "said"),
    [
        ([{"name": "grian"}], "good has no LoRA 'grian'; it takes grain, haze, foreign, torn"),
        ([{"name": "grain"}, {"name": "grain"}], "grain is named twice; name it once"),
        ([{"name": "grain", "weight": 3}], "2"),
        ([{"name": "grain", "wieght": 1}], "wieght"),
        ([{"name": "torn"}], "cannot be used"),
        ([{"name": name} for name in ("grain", "haze", "foreign", "torn", "more")], "4"),
    ],
)
def test_loras_that_cannot_be_followed_are_refused(server: Server, loras: list[Any], said: str) -> None:
    before = server.client.get("/v1/credits").json()["balance"]
    answer = server.client.post("/v1/background-generator", json={"scene_type": "a", "mood": "b", "loras": loras})
    assert answer.status_code == 422
    assert said in answer.json()["detail"][0]["msg"]
    assert server.client.get("/v1/credits").json()["balance"] == before


def test_a_lora_that_does_not_fit_fails_its_job_with_a_refund_and_no_other(server: Server) -> None:
    foreign, good = server.submit(loras=[{"name": "foreign"}]), server.submit(seed=6)
    failed = server.finished(foreign)
    assert failed["latest_event"]["extra"]["reason"] == "lora_unusable"
    assert failed["latest_event"]["extra"]["refunded"] == 5
    assert "sdxl.safetensors" in failed["latest_event"]["message"]
    assert server.finished(good)["status"] == "SUCCESS"


def test_models_check_tells_a_lora_that_cannot_be_used(server: Server) -> None:
    told = server.backlot("models", "check")
    assert "[loras.torn]" in told.stdout + told.stderr
    assert [lora["name"] for lora in server.client.get("/v1/models").json()["models"][1]["loras"]] == ["grain"]
