"""Previews of images on their way: files of a running job, gone when it ends."""

import shutil
from pathlib import Path

from pipelines.output import whole_file
from server.jobs import Job


def preview_file(folder: Path, image_id: str) -> Path:
    """Return where the GPU process writes the previews of an image, one over the other."""
    return (folder / f"{image_id}.webp").absolute()


def remove(folder: Path, job: Job) -> None:
    """Remove the previews of a job that has ended."""
    for index in range(len(job.plan.generations)):
        whole_file.remove(preview_file(folder, job.image_id(index)))


def remove_all(folder: Path) -> None:
    """Remove what an earlier run of the server left: no image is on its way."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(exist_ok=True)
