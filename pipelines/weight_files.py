"""The weight files of a diffusers folder: which of them a component is read from, and whether they are whole.

This module reads only file names, sizes and headers, and needs no torch.
"""

import hashlib
import json
import struct
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import msgspec

#: The names that diffusers and transformers give to files with weights.
_STEMS = ("diffusion_pytorch_model", "model")
#: The names that they give to files with pickled weights.
_PICKLED_STEMS = ("diffusion_pytorch_model", "pytorch_model")
#: Endings of the names of files with pickled weights.
PICKLES = (".bin", ".ckpt", ".pt", ".pth")
#: The advice of messages about pickled weights that a card does not allow.
PICKLES_RUN_CODE = (
    "pickles can run code: convert it to safetensors, or write pickle = true if you trust its maker (backlot models add"
    " takes --pickle)"
)
#: The beginning of a Git LFS pointer, which stands in for a file that was never downloaded.
_LFS_POINTER = b"version https://git-lfs"
#: Bytes of a header; the safetensors library refuses a longer one.
_LONGEST_HEADER = 100_000_000

_Count = Annotated[int, msgspec.Meta(ge=0)]


class BadWeights(Exception):
    """A component cannot be read from its files; the message names the file and the way out."""


class TensorHeader(msgspec.Struct, frozen=True):
    """One tensor, as the header of its file describes it. https://github.com/huggingface/safetensors#format"""

    #: A name of safetensors, such as `F32`, `BF16` or `F8_E4M3`; in a GGUF file one of GGUF's, such as `Q4_K`.
    dtype: str
    shape: tuple[_Count, ...]
    #: The places at which its bytes begin and end, counted from the end of the header; the end is not included.
    data_offsets: tuple[_Count, _Count]


_TENSORS = msgspec.json.Decoder(TensorHeader)


class WeightFiles(msgspec.Struct, frozen=True):
    """The files that one component is read from."""

    files: tuple[Path, ...]
    #: The wanted variant, or None if the component has only plain files.
    variant: str | None
    #: The name of the file that holds each key; empty if the weights are in one file.
    index: dict[str, str]

    @property
    def pickled(self) -> bool:
        return self.files[0].name.endswith(PICKLES)

    def holding(self, key: str) -> str:
        """Return the name of the file that the index names for a key; the names of all files if it names none."""
        return self.index.get(key) or ", ".join(path.name for path in self.files)


def weight_files(component: Path, variant: str | None, *, pickle: bool = False) -> WeightFiles:
    """Return the files that diffusers would read a component from. Raises BadWeights if they are not whole.

    If the component has no files of the variant, its plain files are read, as diffusers does. If it has no safetensors, its
    pickled weights are read, if `pickle` allows it.
    """
    names = {path.name for path in component.iterdir()}
    found = find_weights(names, variant, pickle=pickle)
    if found is None:
        raise BadWeights(why_no_weights(component.name, names, variant))
    index = read_index(component / found.name) if found.is_index else {}
    files = tuple(component / file for file in sorted(set(index.values()) or {found.name}))
    for file in files:
        check_file(file)
    return WeightFiles(files, found.variant, index)


class FoundWeights(msgspec.Struct, frozen=True):
    """The file by which a component's weights are found: the weights themselves, or an index of shards."""

    name: str
    variant: str | None

    @property
    def is_index(self) -> bool:
        return self.name.endswith(".json")


def find_weights(names: Collection[str], variant: str | None, *, pickle: bool) -> FoundWeights | None:
    """Return which of these files a component is read from, as diffusers chooses; None if none holds weights.

    Pickled weights are chosen only if `pickle` allows it and there are no safetensors.
    """
    for wanted in dict.fromkeys((variant, None)):
        for stem in _STEMS:
            single = f"{stem}.{wanted}.safetensors" if wanted else f"{stem}.safetensors"
            indices = [f"{stem}.safetensors.index.{wanted}.json"] if wanted else []
            indices.append(f"{single}.index.json")
            # If there are both, diffusers reads the shards and transformers the single file.
            for name in [single, *indices] if stem == "model" else [*indices, single]:
                if name in names:
                    return FoundWeights(name, wanted)
    if not pickle:
        return None
    for wanted in dict.fromkeys((variant, None)):
        for stem in _PICKLED_STEMS:
            single = f"{stem}.{wanted}.bin" if wanted else f"{stem}.bin"
            for name in (single, f"{stem}.bin.index.json"):
                if name in names:
                    return FoundWeights(name, wanted)
    return None


def read_index(path: Path) -> dict[str, str]:
    """Return the file name of each key in an index of shards. Raises BadWeights."""
    try:
        index = json.loads(path.read_bytes())["weight_map"]
        return {str(key): str(file) for key, file in index.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadWeights(f"{_place(path)} is not an index of shards ({error!r}); copy it again") from error


def check_file(path: Path) -> None:
    """Raise BadWeights if a file of weights is missing, is an LFS pointer, or has another length than its header says.

    The lengths of pickled and GGUF files are not checked.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(64)
            if start.startswith(_LFS_POINTER):
                raise BadWeights(
                    f"{_place(path)} is a Git LFS pointer, not the weights; run git lfs pull in the folder it came from"
                )
            if path.name.endswith(PICKLES):
                return
            if path.suffix == ".gguf":
                if not start.startswith(b"GGUF"):
                    raise BadWeights(f"{_place(path)} is no GGUF file, or is cut off ({size} bytes); copy it again")
                return
    except FileNotFoundError as error:
        raise BadWeights(f"{_place(path)} is missing, which its index names; copy it again") from error
    ends = [tensor.data_offsets[1] for tensor in read_header(path).values()]
    expected = 8 + struct.unpack("<Q", start[:8])[0] + max(ends, default=0)
    if size != expected:
        raise BadWeights(f"{_place(path)} has {size} bytes, and its header says {expected}; copy it again")
    if not ends:
        raise BadWeights(f"{_place(path)} holds no weights; copy it again")


def read_tensors(path: Path) -> Mapping[str, TensorHeader]:
    """Return each tensor of a checkpoint in one file by its key; none if it is pickled, since it then has no header.

    Raises BadWeights and OSError.
    """
    if path.suffix == ".gguf":
        return read_gguf(path)
    return read_header(path) if path.suffix == ".safetensors" else {}


def read_header(path: Path) -> dict[str, TensorHeader]:
    """Return each tensor of a safetensors file by its key. Raises BadWeights and OSError."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = struct.unpack("<Q", file.read(8))[0] if size >= 8 else 0
        if not 2 <= length <= min(size - 8, _LONGEST_HEADER):
            raise BadWeights(f"{_place(path)} is no safetensors file, or is cut off ({size} bytes); copy it again")
        text = file.read(length)
    try:
        tensors = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        tensors.pop("__metadata__", None)
        return {key: _TENSORS.decode(tensor) for key, tensor in tensors.items()}
    except ValueError as error:
        raise BadWeights(f"{_place(path)} has a damaged header; copy it again") from error


def read_gguf(path: Path) -> Mapping[str, TensorHeader]:
    """Return each tensor of a GGUF file by its key. Raises BadWeights and OSError."""
    status = path.stat()
    return _read_gguf(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=8)
def _read_gguf(path: Path, size: int, mtime_ns: int) -> Mapping[str, TensorHeader]:
    """Read a GGUF file, which takes long. Size and time are there for the cache: a file that changed is read again."""
    # gguf is imported here: it imports NumPy, which most models do not need to be checked.
    from gguf.gguf_reader import GGUFReader

    try:
        reader = GGUFReader(path)
    except OSError:
        raise
    except Exception as error:
        raise BadWeights(
            f"{_place(path)} has a damaged header ({type(error).__name__}: {error}); copy it again"
        ) from error
    found = {}
    for tensor in reader.tensors:
        shape = tuple(int(side) for side in reversed(tensor.shape))
        start = int(tensor.data_offset) - int(reader.data_offset)
        found[str(tensor.name)] = TensorHeader(tensor.tensor_type.name, shape, (start, start + int(tensor.n_bytes)))
    return found


def why_no_weights(component: str, files: Collection[str], variant: str | None) -> str:
    """Return what to tell of a component in whose files find_weights found nothing."""
    names = sorted(files)
    safe = [name for name in names if name.endswith(".safetensors")]
    others = sorted({part for name in safe for stem in _STEMS if (part := _variant_of(name, stem))})
    pickles = [name for name in names if name.endswith(PICKLES)]
    wanted = f"no safetensors weights of variant {variant!r}" if variant else "no safetensors weights"
    if others:
        found, way_out = f"only of variant {', '.join(others)}", f"set variant = {others[0]!r}"
    elif pickles:
        found, way_out = f"only {pickles[0]}", PICKLES_RUN_CODE
    else:
        found, way_out = f"only {', '.join(names[:3])}" if names else "an empty folder", "copy the weights into it"
    return f"{component} has {wanted}, {found}; {way_out}"


def _variant_of(name: str, stem: str) -> str | None:
    """Return `fp16` of `model.fp16.safetensors` and of `model.fp16-00001-of-00002.safetensors`."""
    if not name.startswith(f"{stem}."):
        return None
    variant = name.removeprefix(f"{stem}.").removesuffix("safetensors").rstrip(".").split("-")[0]
    return variant or None


def _place(path: Path) -> str:
    """Return a file's name with its component's folder, which tells it from the files of other components."""
    return f"{path.absolute().parent.name}/{path.name}"


def files_of(folder: Path) -> Iterator[Path]:
    """Yield every file below a folder in a fixed order, also through links to folders, but no hidden files.

    If `folder` is a file, it alone is yielded. Raises OSError if a part of the folder cannot be examined.
    """
    if folder.is_file():
        yield folder
        return
    yield from sorted(_walk(folder, frozenset()))


def _walk(folder: Path, above: frozenset[tuple[int, int]]) -> Iterator[Path]:
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        # A link led to a folder above this one, whose files are found anyway.
        return
    for path in folder.iterdir():
        if path.is_dir():
            yield from _walk(path, above | {here})
        elif path.is_file() and not path.name.startswith("."):
            yield path


def stamp_of(*places: Path) -> str:
    """Return 16 hex digits that change if one of these files, or a file below one of these folders, changes in any way.

    To write, replace, add, remove or copy a file counts as a change. Raises OSError.
    """
    digest = hashlib.sha256()
    for place in places:
        for path in files_of(place):
            status = path.stat()
            digest.update(
                f"{path.relative_to(place)}\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_ctime_ns}\0{status.st_ino}\0".encode(
                    errors="surrogateescape"
                )
            )
    return digest.hexdigest()[:16]
