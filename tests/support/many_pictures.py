"""A catalogue with thousands of pictures, written directly into a ledger: no server could make as many in a test."""

from pathlib import Path

import msgspec
from PIL import Image

from server.ledger import jobs
from server.ledger.artifacts import ArtifactKind
from server.ledger.catalog import EntryType, NewImage, Result
from server.ledger.connection import connect, transaction
from tests.support.ledger import PLAN, new_job, row

SIZES = [(512, 512), (640, 384), (416, 608)]
COLORS = [(190, 170, 150), (90, 110, 140), (120, 130, 110), (60, 60, 66)]


def add_pictures(data: Path, client: str, count: int) -> None:
    """Add pictures of three shapes and four colours to a client's catalogue, twelve files in all."""
    paths = [_picture(data / "images", index) for index in range(len(SIZES) * len(COLORS))]
    connection = connect(data / "backlot.db")
    with transaction(connection):
        client_id = connection.execute("SELECT id FROM clients WHERE name = ?", (client,)).fetchone()["id"]
        first = connection.execute("SELECT count(*) FROM jobs").fetchone()[0]
        for number in range(count):
            accepted, _ = jobs.add(connection, new_job(client_id, cost=0), "x", row(first + number), None)
            image = _image(f"Picture {number + 1}", paths[number % len(paths)], number)
            jobs.succeed(connection, accepted.job_id, Result([image], "done"))
    connection.close()


def _picture(images: Path, index: int) -> str:
    path = Path("many") / f"{index}.png"
    (images / path).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZES[index % len(SIZES)], COLORS[index % len(COLORS)]).save(images / path)
    return str(path)


def _image(name: str, path: str, number: int) -> NewImage:
    width, height = SIZES[number % len(SIZES)]
    generation = msgspec.to_builtins(PLAN.generations[0])
    spec = {"display_name": name, "scene_type": "marble", "mood": "warm", "dominant_colors": [], "metadata": {}}
    return NewImage(
        path=path,
        kind=ArtifactKind.CATALOG_IMAGE,
        label=name,
        meta={**generation, "width": width, "height": height, "seed": number},
        entry_type=EntryType.BACKGROUND,
        spec=spec,
        description=name,
    )
