"""Latents of the pictures, encoded once, and batches of them."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipelines.studio_tiny.training import parts
from pipelines.studio_tiny.training.device import autocast, device
from pipelines.studio_tiny.training.pictures import read_shard


class Pool:
    """All latents so far, kept in memory by size; it may grow while it is drawn from."""

    def __init__(self, folder: Path, vae: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._vae = folder, vae
        self._tokenizer = parts.tokenizer()
        self._groups: dict[tuple[int, ...], list[tuple[Tensor, Tensor]]] = {}
        self.pictures = 0

    def add(self, shard: Path) -> None:
        """Encode a shard unless that was done before, and take it in."""
        stored = self._folder / f"{shard.stem}.pt"
        if stored.exists():
            kept = torch.load(stored)
        else:
            kept = self._encoded(shard)
            partial = stored.with_suffix(".partial")
            torch.save(kept, partial)
            partial.replace(stored)
        values, tokens = kept["values"], kept["tokens"]
        self._groups.setdefault(tuple(values.shape[1:]), []).append((values, tokens))
        self.pictures += len(values)

    def draw(self, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return a batch of one size: latents (count, channels, height, width) and tokens (count, words)."""
        groups = list(self._groups.values())
        shares = np.array([len(group) for group in groups], float)
        group = groups[int(rng.choice(len(groups), p=shares / shares.sum()))]
        picked = [(int(rng.integers(len(group))), int(rng.integers(len(group[0][0])))) for _ in range(count)]
        values = torch.stack([group[shard][0][index] for shard, index in picked])
        return values, torch.stack([group[shard][1][index] for shard, index in picked])

    def _encoded(self, path: Path) -> dict[str, Tensor]:
        shard, target = read_shard(path), device()
        encoded = []
        for start in range(0, len(shard.files), 8):
            pixels = np.stack([shard.pixels(index) for index in range(start, min(start + 8, len(shard.files)))])
            batch = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(target).float() / 127.5 - 1
            with torch.no_grad(), autocast(target):
                latents = self._vae.encode(batch.contiguous(memory_format=torch.channels_last)).latents
            encoded.append(latents.half().cpu())
        return {"values": torch.cat(encoded), "tokens": tokenize(self._tokenizer, shard.prompts)}


def tokenize(tokenizer: Any, prompts: list[str]) -> Tensor:
    """Return (prompts, words) token ids, as the pipeline makes them."""
    tokens: Tensor = tokenizer(
        prompts, padding="max_length", max_length=parts.PROMPT_LENGTH, truncation=True, return_tensors="pt"
    ).input_ids
    return tokens
