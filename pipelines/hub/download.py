"""The download of a model into the hub's cache, which goes on at the byte at which an earlier one was cut off.

huggingface_hub begins each file anew if its process was ended, which loses hours of a large one. So this module fetches the
large files, into the places in which the cache keeps them, and huggingface_hub does the rest.
"""

import fcntl
import glob
import hashlib
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import httpx2
import msgspec
from huggingface_hub import HfApi, constants, get_session, hf_hub_download, hf_hub_url, snapshot_download
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]

from pipelines.checks.call import problems_of_kind
from pipelines.checks.files import problems_of_classes
from pipelines.hub.wanted import NotNeeded, wanted_files
from pipelines.model_index import read_model_index
from pipelines.parts_of_file import held_components
from pipelines.weight_files import read_index

log = logging.getLogger(__name__)

#: Seconds in which the hub must answer which files a model has.
_ANSWER_S = 10.0
#: Files that are downloaded at once.
_AT_ONCE = 4
#: Give up after more than this many connections in a row that bring nothing.
_TRIES_IN_VAIN = 5
#: Seconds between two connections.
_PAUSE_S = 1.0


class Damaged(Exception):
    """A file has other bytes than the hub promised."""


class File(msgspec.Struct, frozen=True):
    """A file of a hub's model."""

    name: str
    bytes: int
    #: The SHA-256 of a large file's bytes, and its name in the cache; None for a small file.
    digest: str | None


class Download(msgspec.Struct, frozen=True):
    """A model's files at one commit, and their download into the cache."""

    hub: str
    revision: str | None
    commit: str
    files: tuple[File, ...]

    @property
    def total_bytes(self) -> int:
        return sum(file.bytes for file in self.files)

    @property
    def done_bytes(self) -> int:
        """Return how many bytes are on this box, including those of earlier downloads and of another one that runs now."""
        return sum(self._on_disk(file) for file in self.files)

    def run(self) -> Path:
        """Download what is missing and return the folder. Raises what huggingface_hub raises, Damaged and OSError."""
        large = [file for file in self.files if file.digest is not None]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(self._fetch, large))
        patterns = [glob.escape(file.name) for file in self.files]
        return Path(snapshot_download(self.hub, revision=self.revision, allow_patterns=patterns))

    @property
    def _cache(self) -> Path:
        return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=self.hub, repo_type="model")

    def _places(self, file: File) -> tuple[Path, Path]:
        """Return the path at which the cache keeps a large file, and its path until it is whole."""
        blob = self._cache / "blobs" / str(file.digest)
        return blob, blob.with_name(f"{file.digest}.incomplete")

    def _on_disk(self, file: File) -> int:
        places = [self._cache / "snapshots" / self.commit / file.name, *(self._places(file) if file.digest else ())]
        for place in places:
            try:
                size: int = place.stat().st_size
                return min(size, file.bytes)
            except OSError:
                continue
        return 0

    def _fetch(self, file: File) -> None:
        """Download the rest of a large file, once no other process does."""
        blob, part = self._places(file)
        part.parent.mkdir(parents=True, exist_ok=True)
        if blob.exists():
            return
        with part.open("ab") as opened:
            fcntl.flock(opened, fcntl.LOCK_EX)
            if blob.exists():
                # Another process has just finished it.
                return
            if opened.tell() > file.bytes:
                opened.truncate(0)
            _receive(hf_hub_url(self.hub, file.name, revision=self.commit), opened, file.bytes)
            with part.open("rb") as written:
                digest = hashlib.file_digest(written, "sha256").hexdigest()
            if digest != file.digest:
                part.unlink()
                raise Damaged(f"{file.name} arrived with other bytes than the hub promised; it is downloaded anew")
            part.replace(blob)


def _receive(url: str, file: BinaryIO, size: int) -> None:
    """Append the bytes that a file lacks. If the connection breaks or falls silent, connect again.

    Raises the error of the connection after more than _TRIES_IN_VAIN in a row that brought nothing.
    """
    in_vain = 0
    while (start := file.tell()) < size:
        headers = {**build_hf_headers(), "Accept-Encoding": "identity", "Range": f"bytes={start}-"}
        try:
            with get_session().stream(
                "GET", url, headers=headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT
            ) as response:
                hf_raise_for_status(response)
                if response.status_code != httpx2.codes.PARTIAL_CONTENT:
                    # The hub does not serve parts of this file, and begins it anew.
                    file.truncate(0)
                for chunk in response.iter_raw():
                    file.write(chunk)
                    # If the process is ended, bytes that were not written must be downloaded again.
                    file.flush()
            if file.tell() == start:
                raise OSError(f"the hub sent nothing of {url}")
        except httpx2.TransportError as error:
            in_vain = 0 if file.tell() > start else in_vain + 1
            if in_vain > _TRIES_IN_VAIN:
                raise
            log.warning("%s broke off at %d of %d bytes (%s); it goes on", url, file.tell(), size, type(error).__name__)
            time.sleep(_PAUSE_S)


def plan(hub: str, revision: str | None, variant: str | None, file: Path | None, *, pickle: bool) -> Download:
    """Return the download of a model's needed files; `pickle` and `file`, a checkpoint in one file, are the card's.

    Weights that the file holds are not needed. Raises what huggingface_hub raises, NotNeeded, BadWeights, and OSError if the
    file cannot be read.
    """
    info = HfApi().model_info(hub, revision=revision, files_metadata=True, timeout=_ANSWER_S)
    commit = str(info.sha)
    known = {
        sibling.rfilename: File(
            sibling.rfilename, sibling.size or 0, None if sibling.lfs is None else sibling.lfs.sha256
        )
        for sibling in info.siblings or ()
    }
    if "model_index.json" not in known:
        raise NotNeeded("it is no diffusers model: it has no model_index.json")
    index = read_model_index(Path(hf_hub_download(hub, "model_index.json", revision=commit)).parent)
    if problems := [*problems_of_kind("model_index.json", index.pipeline), *problems_of_classes(index)]:
        raise NotNeeded("; ".join(problems))
    held = () if file is None else held_components(file, index.components)
    wanted = wanted_files(known, index.components, variant, pickle=pickle, held=held)
    names = [*wanted.files, *_shards(hub, commit, wanted.indices)]
    lacking = [name for name in names if name not in known]
    if lacking:
        raise NotNeeded(f"the hub lacks {', '.join(lacking[:3])}, which an index names")
    return Download(hub, revision, commit, tuple(known[name] for name in dict.fromkeys(names)))


def _shards(hub: str, commit: str, indices: Sequence[str]) -> list[str]:
    """Return the shards that these indices name, after downloading the indices."""
    return [
        f"{name.rpartition('/')[0]}/{shard}"
        for name in indices
        for shard in sorted(set(read_index(Path(hf_hub_download(hub, name, revision=commit))).values()))
    ]
