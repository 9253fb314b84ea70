"""The files that count as a model's, and how a change of them is noticed."""

import os
from pathlib import Path

from pipelines.weight_files import files_of, stamp_of
from tests.support.weights import bare_folder


def test_files_behind_links_count_and_hidden_ones_do_not(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "m", tmp_path / "elsewhere"
    for made in (folder, elsewhere):
        made.mkdir()
    (elsewhere / "b").write_text("b")
    (folder / "unet").symlink_to(elsewhere)
    (folder / "unet" / "again").symlink_to(folder)
    (folder / ".hidden").write_text("h")
    os.mkfifo(folder / "pipe")
    assert list(files_of(folder)) == [folder / "unet" / "b"]


def test_a_stamp_changes_with_every_kind_of_change(tmp_path: Path) -> None:
    folder = bare_folder(tmp_path / "m")
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    stamps = [stamp_of(folder)]
    assert stamp_of(folder) == stamps[0]
    before = weights.stat()
    with weights.open("r+b") as file:
        # The file is written in place, with the same size, and its time is put back, as rsync does.
        file.seek(-1, os.SEEK_END)
        file.write(b"x")
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    stamps.append(stamp_of(folder))
    copy = weights.with_suffix(".copy")
    copy.write_bytes(weights.read_bytes())
    stamps.append(stamp_of(folder))
    copy.replace(weights)
    stamps.append(stamp_of(folder))
    weights.unlink()
    stamps.append(stamp_of(folder))
    assert len(set(stamps)) == len(stamps)
