"""Options of cards on a real server: each reaches its image, its recipe and its replay."""

from pathlib import Path

import pytest

from tests.support import tiny
from tests.support.files import models_file
from tests.support.server import StartServer

OPTIONS = {
    "narrow": 'quantization = "int8"',
    "cached": 'cache = { kind = "taylorseer", cache_interval = 2, disable_cache_before_step = 1 }',
}


@pytest.fixture(scope="module")
def flux(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "flux"
    tiny.flux_pipeline().save_pretrained(folder, safe_serialization=True)
    return folder


def test_lossy_options_are_in_the_recipe_and_replays_have_them(
    start_server: StartServer, flux: Path, tmp_path: Path
) -> None:
    path = tmp_path / "models.toml"
    plain = models_file(path, dict.fromkeys(("plain", *OPTIONS), flux), steps=6, max_batch=1).read_text()
    text = plain
    for name, option in OPTIONS.items():
        text = text.replace(f"[models.{name}]", f"[models.{name}]\n{option}")
    path.write_text(text)
    server = start_server(path)
    images, settings = {}, {}
    for name in ("plain", *OPTIONS):
        job = server.finished(server.submit(image_model=name, seed=7))
        images[name] = tmp_path / f"{name}.png"
        images[name].write_bytes(server.client.get(job["result"][0]["image_url"]).content)
        settings[name] = job["result"][0]["meta"]["settings"]
    assert len(set(settings.values())) == 3
    assert len({image.read_bytes() for image in images.values()}) == 3
    for name in OPTIONS:
        told = server.backlot("replay", str(images[name]))
        assert (told.returncode, told.stdout.strip()) == (0, "identical"), told.stderr
    # Without its option the card makes another image, and the replay says why.
    path.write_text(plain)
    for name in OPTIONS:
        told = server.backlot("replay", str(images[name]))
        difference, settings_then_and_now, meaning = told.stdout.splitlines()
        assert difference.startswith("not identical: ")
        assert settings_then_and_now.startswith(f"  settings: {settings[name]} then, ")
        assert OPTIONS[name].partition(" ")[0] in meaning
