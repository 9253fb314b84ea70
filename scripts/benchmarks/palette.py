"""How near images come to colours that their prompts do not name, as they are generated and with `palette = "match"`.

Scenes and moods of the shipped model and of a tiny SDXL pipeline, without colours; then one to three random colours each.
"""

import io
import random
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import numpy as np
from PIL import Image

from benchmarks.server import succeeded
from pipelines.colors import Rgb
from pipelines.output.measurement import evaluate
from pipelines.output.palette import match
from pipelines.output.png import Pixels
from pipelines.studio_tiny.vocabulary import MOODS, SCENES
from tests.support.server import ROOT, Server
from tests.support.tiny import sdxl_pipeline

IMAGES = 60
MODELS = """
default_model = "studio-tiny"

[models.studio-tiny]
folder = "{weights}"
licence = "Apache-2.0"
tiers = ["0.5K"]
multiple_of = 32
steps = 16
guidance = 2.0
vocabulary = "studio-tiny"
max_batch = 4

[models.tiny-sdxl]
folder = "{sdxl}"
licence = "made for tests"
tiers = ["0.5K"]
multiple_of = 32
steps = 3
guidance = 2.0
max_batch = 4
"""


def main() -> None:
    with TemporaryDirectory(prefix="backlot-bench-") as name:
        folder = Path(name)
        sdxl_pipeline().save_pretrained(folder / "sdxl")
        models = folder / "models.toml"
        models.write_text(MODELS.format(weights=ROOT / "pipelines/studio_tiny/weights", sdxl=folder / "sdxl"))
        server = Server(folder / "data", models, BACKLOT_LOG_LEVEL="ERROR")
        server.start()
        try:
            server.backlot("clients", "grant", "studio", "100000")
            for model in ("studio-tiny", "tiny-sdxl"):
                _measure(model, _images(server, model))
        finally:
            server.stop()


def _images(server: Server, model: str) -> list[Pixels]:
    draw = random.Random(1)
    jobs = [
        server.submit(
            scene_type=draw.choice(list(SCENES)),
            mood=draw.choice(list(MOODS)),
            dominant_colors=[],
            image_model=model,
            seed=1000 + index,
        )
        for index in range(IMAGES)
    ]
    links = [succeeded(server, job)["result"][0]["image_url"] for job in jobs]
    return [np.asarray(Image.open(io.BytesIO(httpx.get(link).content)).convert("RGB")) for link in links]


def _measure(model: str, images: Sequence[Pixels]) -> None:
    draw = random.Random(7)
    before, after, seconds = [], [], []
    for index, pixels in enumerate(images):
        colors: list[Rgb] = [
            (draw.randrange(256), draw.randrange(256), draw.randrange(256)) for _ in range(1 + index % 3)
        ]
        started = time.process_time()
        matched = match(pixels, colors)
        seconds.append(time.process_time() - started)
        before += [color.delta_e for color in evaluate(pixels, colors).palette]
        after += [color.delta_e for color in evaluate(matched, colors).palette]
    print(f"{model}, {len(images)} images, {len(before)} colours: CIEDE2000 to the nearest dominant colour")
    for label, distances in (("as generated", before), ("matched", after)):
        print(
            f"  {label:12} median {statistics.median(distances):5.2f}, 90th percentile {np.percentile(distances, 90):5.2f}"
        )
    print(f"  matching takes {statistics.median(seconds) * 1000:.0f} ms of one core an image at {len(images[0])}²")
