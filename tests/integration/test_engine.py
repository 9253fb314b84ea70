"""Exact seeds, replays, edits of models.toml while the server runs, and memory that runs out."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pipelines.recipe import CHUNK
from tests.support import tiny
from tests.support.files import models_file
from tests.support.server import Server, StartServer, wait_for


def png(server: Server, job_id: str) -> bytes:
    job = server.finished(job_id)
    assert job["status"] == "SUCCESS", job["latest_event"]
    response = server.client.get(job["result"][0]["image_url"])
    assert response.status_code == 200
    return response.content


@pytest.fixture(scope="module")
def toml(tiny_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a models file of this module's own, which its tests edit."""
    return models_file(
        tmp_path_factory.mktemp("toml") / "models.toml", {"good": tiny_folders["good"]}, reproducible="true"
    )


@pytest.fixture(scope="module")
def engine(start_server: StartServer, toml: Path) -> Server:
    return start_server(toml)


@pytest.fixture
def edited(engine: Server, toml: Path) -> Iterator[Path]:
    """Yield the models file, and put it back as it was."""
    before = toml.read_text()
    yield toml
    toml.write_text(before)
    wait_for(lambda: names(engine) == ["good"] and engine.client.get("/readyz").json()["models_file_error"] is None)


def names(server: Server) -> list[str]:
    return [model["name"] for model in server.client.get("/v1/models").json()["models"]]


def test_a_seed_gives_the_same_bytes_alone_in_company_and_after_a_restart(engine: Server) -> None:
    alone = png(engine, engine.submit(seed=11))
    crowd = [engine.submit(seed=seed, mood=mood) for seed, mood in [(1, "cool"), (11, "warm"), (3, "x"), (11, "warm")]]
    crowd += [engine.submit(seed=11), engine.submit(seed=12)]
    images = [png(engine, job_id) for job_id in crowd]
    assert images[1] == images[3] == images[4] == alone
    assert images[5] != alone
    engine.stop()
    engine.start()
    assert png(engine, engine.submit(seed=11)) == alone


def test_a_replay_is_identical_and_says_what_differs(engine: Server, edited: Path, tmp_path: Path) -> None:
    image = tmp_path / "image.png"
    image.write_bytes(png(engine, engine.submit(seed=21)))
    told = engine.backlot("replay", str(image))
    assert (told.returncode, told.stdout.strip()) == (0, "identical"), told.stderr
    rewritten = tmp_path / "rewritten.png"
    with Image.open(image) as opened:
        info = PngInfo()
        info.add_itxt(CHUNK, opened.info[CHUNK])
        opened.save(rewritten, pnginfo=info, compress_level=0)
    told = engine.backlot("replay", str(rewritten))
    assert told.returncode == 1
    assert (
        told.stdout.strip()
        == "not identical: the pixels and the recipe are the same, but the file was written in another way"
    )
    with Image.open(image) as opened:
        opened.crop((0, 0, 256, 256)).save(tmp_path / "cropped.png", pnginfo=info)
        opened.convert("L").save(tmp_path / "grey.png", pnginfo=info)
    (tmp_path / "short.png").write_bytes(image.read_bytes()[:5000])
    for name, told_of_it in (
        ("cropped", "is 256 × 256 RGB, and its recipe makes 512 × 512 RGB"),
        ("grey", "is 512 × 512 L"),
        ("short", "is not a whole PNG"),
    ):
        refused = engine.backlot("replay", str(tmp_path / f"{name}.png"))
        assert refused.returncode == 1
        assert told_of_it in refused.stderr
        assert "Traceback" not in refused.stderr
    edited.write_text(edited.read_text().replace("steps = 3", 'steps = 3\nscheduler = "EulerDiscreteScheduler"'))
    other = engine.backlot("replay", str(image), "--json")
    assert other.returncode == 1
    answer = json.loads(other.stdout)
    assert answer["identical"] is False
    assert answer["values_different"] > 0
    assert set(answer["changes"]) == {"scheduler", "settings"}
    plain = tmp_path / "plain.txt"
    assert "there is no file" in engine.backlot("replay", str(plain)).stderr


def test_a_new_model_serves_without_a_restart(engine: Server, edited: Path, tiny_folders: dict[str, Path]) -> None:
    process = engine.gpu_process()
    models_file(edited, {"good": tiny_folders["good"], "second": tiny_folders["flat"]}, reproducible="true")
    wait_for(lambda: names(engine) == ["good", "second"])
    job = engine.finished(engine.submit(image_model="second", on_technical_failure="deliver"))
    assert job["result"][0]["meta"]["model"] == "second"
    loaded = {model["name"]: model["loaded"] for model in engine.client.get("/v1/models").json()["models"]}
    assert loaded == {"good": True, "second": True}
    assert engine.gpu_process() == process


def test_whole_batches_give_the_pixels_of_slots(
    engine: Server, edited: Path, tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    good = tiny_folders["good"]
    models_file(edited, {"good": good, "whole": good}, reproducible="true")
    edited.write_text(edited.read_text().replace("[models.whole]", "[models.whole]\nslots = false"))
    wait_for(lambda: names(engine) == ["good", "whole"])
    pixels = []
    for model in ("good", "whole"):
        jobs = [engine.submit(image_model=model, seed=seed) for seed in (5, 6)]
        for job_id in jobs:
            (tmp_path / "image.png").write_bytes(png(engine, job_id))
            pixels.append(np.asarray(Image.open(tmp_path / "image.png")))
    assert np.array_equal(pixels[0], pixels[2])
    assert np.array_equal(pixels[1], pixels[3])


def test_a_bad_edit_changes_nothing_and_is_told(engine: Server, edited: Path) -> None:
    edited.write_text(edited.read_text().replace("steps = 3", "steps = 0"))
    wait_for(lambda: engine.client.get("/readyz").json()["models_file_error"] is not None)
    assert "steps = 0" in engine.client.get("/readyz").json()["models_file_error"]
    assert engine.client.get("/readyz").status_code == 200
    assert engine.backlot("models", "check").returncode == 1
    assert "has no effect, the models stay as they were" in (engine.data / "logs" / "server.log").read_text()
    assert engine.finished(engine.submit())["result"][0]["meta"]["steps"] == 3


def test_jobs_of_a_removed_model_fail_and_are_refunded_while_others_finish(
    engine: Server, edited: Path, tiny_folders: dict[str, Path]
) -> None:
    good = tiny_folders["good"]
    models_file(edited, {"good": good, "leaving": good}, reproducible="true", steps=900)
    wait_for(lambda: names(engine) == ["good", "leaving"])
    before = engine.credits()["balance"]
    running = engine.submit(seed=1)
    wait_for(lambda: engine.job(running)["progress"] > 0)
    waiting = [engine.submit(image_model="leaving", seed=seed, aspect_ratio="16:9") for seed in range(3)]
    models_file(edited, {"good": good}, reproducible="true")
    # The edit acts after a moment, while the first image still runs. One job may have been sent ahead already; it
    # finishes with the card it was sent with.
    ended = [engine.finished(job_id) for job_id in waiting]
    reasons = [job["latest_event"]["extra"].get("reason") for job in ended]
    assert reasons.count("model_removed") >= 2
    job = engine.finished(running)
    assert job["status"] == "SUCCESS"
    assert job["result"][0]["meta"]["steps"] == 900
    assert engine.credits()["balance"] == before - 5 * (1 + reasons.count(None))


def test_measured_sizes_are_listed_and_kept(engine: Server) -> None:
    # These are enough to fill the four slots for some steps.
    for job_id in [engine.submit() for _ in range(12)]:
        engine.finished(job_id)
    engine.stop()
    engine.start()
    (model,) = json.loads(engine.backlot("models", "list", "--json").stdout)
    measured = {(row["width"], row["height"], row["shape"]): row for row in model["measured"]}
    assert measured[(512, 512, 4)]["seconds_per_step"] > 0
    assert measured[(512, 512, 4)]["peak_bytes"] > 0
    assert "512x512 on 1 threads: 4 in" in engine.backlot("models", "list").stdout


def test_memory_that_runs_out_is_remembered_and_fails_nobody(
    start_server: StartServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Run 64 slots of a model with large latents in 400 MiB: they do not fit, fewer do."""
    folder = tmp_path_factory.mktemp("large")
    tiny.unet_pipeline(vae_levels=3).save_pretrained(folder / "model", safe_serialization=True)
    models = models_file(
        folder / "models.toml",
        dict.fromkeys(("large", "other", "exact"), folder / "model"),
        tiers=["0.5K", "4K"],
        max_batch=64,
        batch_shapes=[64],
        steps=1,
    )
    models.write_text(models.read_text().replace("[models.exact]", "[models.exact]\nreproducible = true"))
    server = start_server(models, BACKLOT_MEMORY_GIB="0.4")
    job = server.finished(server.submit())
    assert job["status"] == "SUCCESS", job["latest_event"]
    assert job["result"][0]["meta"]["batch_shape"] < 64
    events = server.client.get(f"/v1/jobs/{job['public_id']}/events").json()["events"]
    assert next(event["extra"]["reason"] for event in events if event["stage"] == "retrying") == "out_of_memory"
    listed = server.backlot("models", "list").stdout
    assert "512x512 on 1 threads, at most 0.4 GiB: " in listed
    assert "64 does not fit" in listed
    # Another model in memory is evicted before fewer slots are tried.
    job = server.finished(server.submit(image_model="other"))
    assert job["status"] == "SUCCESS", job["latest_event"]
    events = server.client.get(f"/v1/jobs/{job['public_id']}/events").json()["events"]
    told = [event["message"] for event in events if event["stage"] == "retrying"]
    assert told[:2] == [
        "Out of memory; large made room, and the image starts again",
        "Out of memory with 64 slots; the image starts again with 32",
    ]
    loaded = {model["name"]: model["loaded"] for model in server.client.get("/v1/models").json()["models"]}
    assert loaded == {"large": False, "other": True, "exact": False}
    # With a batch size that must always give the same bytes, fewer slots would not do.
    lost = server.finished(server.submit(image_model="exact"))
    assert lost["latest_event"]["extra"]["reason"] == "out_of_memory"
    assert "the 64 slots that reproducible = true pins exact to" in lost["latest_event"]["message"]
    # 4096 × 4096 does not fit even alone: that job fails, and the next one is served.
    lost = server.finished(server.submit(resolution="4K"))
    assert lost["latest_event"]["extra"]["reason"] == "out_of_memory"
    assert lost["latest_event"]["extra"]["refunded"] == 5
    assert server.finished(server.submit())["status"] == "SUCCESS"
    server.stop()


def test_an_edit_with_a_damaged_model_takes_up_the_rest(
    engine: Server, edited: Path, tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    damaged = shutil.copytree(tiny_folders["good"], tmp_path / "damaged")
    shutil.rmtree(damaged / "unet")
    models_file(edited, {"good": tiny_folders["good"], "damaged": damaged}, steps=4, reproducible="true")
    wait_for(lambda: names(engine) == ["good", "damaged"])
    ready = engine.client.get("/readyz")
    told = "unet: model_index.json names it, and there is no folder unet"
    assert ready.status_code == 200
    assert told in ready.json()["load_errors"]["damaged"]
    assert told in ready.json()["models_file_error"]
    assert told in (engine.data / "logs" / "server.log").read_text()
    checked = engine.backlot("models", "check")
    assert checked.returncode == 1
    assert "can be used, but not for damaged:" in checked.stderr
    assert told in json.loads(engine.backlot("models", "check", "--json").stdout)["problems"][0]
    assert engine.finished(engine.submit())["result"][0]["meta"]["steps"] == 4
