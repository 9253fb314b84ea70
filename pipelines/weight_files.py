"""The weight files of a diffusers folder: which ones a component is read from, and what is wrong with them as files.

Everything here reads file names, sizes and headers only, and needs no torch.
"""

import hashlib
import json
import struct
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated

import msgspec

#: What a folder of diffusers, and one of transformers, calls the weights of a component.
_STEMS = ("diffusion_pytorch_model", "model")
#: The same for weights that are pickled.
_PICKLED_STEMS = ("diffusion_pytorch_model", "pytorch_model")
#: How files with pickled weights end.
PICKLES = (".bin", ".ckpt", ".pt", ".pth")
#: What is said of pickled weights that a card does not allow.
PICKLES_RUN_CODE = (
    "pickles can run code: convert it to safetensors, or write pickle = true if you trust its maker (backlot models add"
    " takes --pickle)"
)
#: How a Git LFS pointer begins, which stands in for a file that was never downloaded.
_LFS_POINTER = b"version https://git-lfs"
#: safetensors itself refuses a longer header.
_LONGEST_HEADER = 100_000_000

_Count = Annotated[int, msgspec.Meta(ge=0)]


class BadWeights(Exception):
    """A component cannot be read from its files; the message names the file and the way out."""


class TensorHeader(msgspec.Struct, frozen=True):
    """One tensor, as the header of its file tells of it. https://github.com/huggingface/safetensors#format"""

    #: By safetensors' name: `F32`, `BF16`, `F8_E4M3` …; by GGUF's, such as `Q4_K`, in a file of that kind.
    dtype: str
    shape: tuple[_Count, ...]
    #: Its first byte after the header, and the one after its last.
    data_offsets: tuple[_Count, _Count]


_TENSORS = msgspec.json.Decoder(TensorHeader)


class WeightFiles(msgspec.Struct, frozen=True):
    """The files that one component is read from."""

    files: tuple[Path, ...]
    #: The variant that was found: the wanted one, or None if the component has only plain files.
    variant: str | None
    #: Key → file name, if the weights are in several files.
    index: dict[str, str]

    @property
    def pickled(self) -> bool:
        return self.files[0].name.endswith(PICKLES)

    def holding(self, key: str) -> str:
        """Return the name of the file that holds a key, or should; of all files if none of them is known to."""
        return self.index.get(key) or ", ".join(path.name for path in self.files)


def weight_files(component: Path, variant: str | None, *, pickle: bool = False) -> WeightFiles:
    """Return the files that diffusers would read a component from. Raises BadWeights if they are not whole.

    A component without files of the variant is read from its plain files, as diffusers does; one without safetensors is read
    from pickled weights, if `pickle` allows that.
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
    """The file that a component's weights are found by: the weights themselves, or an index of shards."""

    name: str
    variant: str | None

    @property
    def is_index(self) -> bool:
        return self.name.endswith(".json")


def find_weights(names: Collection[str], variant: str | None, *, pickle: bool) -> FoundWeights | None:
    """Return what a component is read from among these files of it, as diffusers chooses; None if there is nothing.

    Pickled weights count if `pickle` says so and nothing is safetensors.
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
    """Return key → file name of an index of shards. Raises BadWeights."""
    try:
        index = json.loads(path.read_bytes())["weight_map"]
        return {str(key): str(file) for key, file in index.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadWeights(f"{_place(path)} is not an index of shards ({error!r}); copy it again") from error


def check_file(path: Path) -> None:
    """Raise BadWeights if a file of weights is not there, or, if it is safetensors, is not as long as its header says."""
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


def read_gguf(path: Path) -> dict[str, TensorHeader]:
    """Return each tensor of a GGUF file by its key. Raises BadWeights and OSError."""
    # Imported here, since most models need no NumPy to be looked at.
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
    """Return what is wrong with a component in whose files nothing was found."""
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
    """Return a file's name with its component's folder, which tells it from those of the other components."""
    return f"{path.parent.name}/{path.name}"


def files_of(folder: Path) -> Iterator[Path]:
    """Yield every file below a folder in a fixed order, through links to folders too; hidden files do not count.

    A file is yielded itself. Raises OSError if a part of it cannot be examined.
    """
    if folder.is_file():
        yield folder
        return
    yield from sorted(_walk(folder, frozenset()))


def _walk(folder: Path, above: frozenset[tuple[int, int]]) -> Iterator[Path]:
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        # A link to a folder above this one: everything in it was seen.
        return
    for path in folder.iterdir():
        if path.is_dir():
            yield from _walk(path, above | {here})
        elif path.is_file() and not path.name.startswith("."):
            yield path


def stamp_of(*places: Path) -> str:
    """Return 16 hex digits that change if a file, or one below a folder, is written, replaced, added or removed.

    Copying them changes the digits too. Raises OSError.
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
