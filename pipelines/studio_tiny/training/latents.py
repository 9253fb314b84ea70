"""Latents of the pictures, encoded once, and batches of them."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from pipelines.studio_tiny.training import parts
from pipelines.studio_tiny.training.device import autocast, device
from pipelines.studio_tiny.training.pictures import read_shard

#: The smallest part of a picture's side that is kept when the picture is enlarged.
_LEAST_PART = 0.78
#: How many pictures are encoded at once.
_TOGETHER = 8


class _Group:
    """Latents of one size and their tokens. Added ones are joined to the others when the next batch is drawn."""

    def __init__(self) -> None:
        self.values: list[Tensor] = []
        self.tokens: list[Tensor] = []
        self.pictures = 0

    def add(self, values: Tensor, tokens: Tensor) -> None:
        self.values.append(values)
        self.tokens.append(tokens)
        self.pictures += len(values)

    def draw(self, places: Tensor) -> tuple[Tensor, Tensor]:
        if len(self.values) > 1:
            self.values, self.tokens = [torch.cat(self.values)], [torch.cat(self.tokens)]
        return self.values[0][places], self.tokens[0][places]


class Pictures(msgspec.Struct, frozen=True):
    """The pictures of a shard that is not encoded yet."""

    #: The file for their latents.
    path: Path
    pixels: NDArray[np.uint8]
    prompts: list[str]


class Encoded(msgspec.Struct, frozen=True):
    values: Tensor
    tokens: Tensor


class Pool:
    """All latents so far, by size, in the device's memory. Latents may be added between two batches.

    If `enlarged` is not 1, a part of each picture, drawn by `seed`, is made that many times as high and wide as the whole
    picture, so that the pictures of one set have different layouts.
    """

    def __init__(self, folder: Path, vae: Any, enlarged: int = 1, seed: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._vae, self._enlarged, self._seed = folder, vae, enlarged, seed
        self._tokenizer = parts.tokenizer()
        self._groups: dict[tuple[int, ...], _Group] = {}
        self.pictures = 0

    def read(self, shard: Path) -> Pictures | Encoded:
        """Read a shard's latents if they are on disk, or else its pictures. This may run in any thread."""
        stored = self._folder / f"{shard.stem}.pt"
        if stored.exists():
            return Encoded(**torch.load(stored))
        found = read_shard(shard)
        pixels = found.stacked()
        if self._enlarged != 1:
            rng = np.random.default_rng((self._seed, int(shard.stem)))
            pixels = np.stack([enlarge(picture, self._enlarged, rng) for picture in pixels])
        return Pictures(stored, pixels, found.prompts)

    def add(self, found: Pictures | Encoded) -> None:
        """Add a shard; encode it and keep its latents on disk, unless that was done."""
        if isinstance(found, Pictures):
            found = self._encoded(found)
        values, tokens = found.values.to(device()), found.tokens.to(device())
        self._groups.setdefault(tuple(values.shape[1:]), _Group()).add(values, tokens)
        self.pictures += len(values)

    def draw(self, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return a batch of one size: latents (count, channels, height, width) and tokens (count, words)."""
        groups = list(self._groups.values())
        shares = np.array([group.pictures for group in groups], float)
        group = groups[int(rng.choice(len(groups), p=shares / shares.sum()))]
        return group.draw(torch.from_numpy(rng.integers(group.pictures, size=count)).to(device()))

    def _encoded(self, pictures: Pictures) -> Encoded:
        values = []
        for pixels in torch.from_numpy(pictures.pixels).split(_TOGETHER):
            batch = pixels.to(device()).permute(0, 3, 1, 2).float() / 127.5 - 1
            with torch.no_grad(), autocast(batch.device):
                latents = self._vae.encode(batch.contiguous(memory_format=torch.channels_last)).latents
            values.append(latents.half().cpu())
        encoded = Encoded(torch.cat(values), tokenize(self._tokenizer, pictures.prompts))
        partial = pictures.path.with_suffix(".partial")
        torch.save(msgspec.structs.asdict(encoded), partial)
        partial.replace(pictures.path)
        return encoded


def enlarge(pixels: NDArray[np.uint8], times: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return a part of a picture (height, width, 3), enlarged to `times` times the height and width of the whole picture."""
    height, width = pixels.shape[:2]
    part = rng.uniform(_LEAST_PART, 1)
    left, top = rng.uniform(0, 1 - part, 2) * (width, height)
    box = (left, top, left + part * width, top + part * height)
    whole = Image.fromarray(pixels)
    return np.asarray(whole.resize((width * times, height * times), Image.Resampling.BICUBIC, box))


def tokenize(tokenizer: Any, prompts: list[str]) -> Tensor:
    """Return the token ids (prompts, words) of prompts, as the pipeline makes them."""
    tokens: Tensor = tokenizer(
        prompts, padding="max_length", max_length=parts.PROMPT_LENGTH, truncation=True, return_tensors="pt"
    ).input_ids
    return tokens
