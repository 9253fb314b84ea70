"""The LoRAs of one loaded model. Each is read once, and then switched on and off beside the weights, which stay the same."""

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from diffusers.loaders import StableDiffusionXLLoraLoaderMixin

from pipelines.denoising.joining import Findings
from pipelines.denoising.traced_calls import TracedCalls
from pipelines.lora import AppliedLora, Lora
from pipelines.worker.components import modules_of
from pipelines.worker.memory_options import widened
from pipelines.worker.torch_errors import is_out_of_memory

log = logging.getLogger(__name__)

#: How many LoRAs stay in memory with a model. The least recently used one makes room for another.
KEPT = 8
#: How many keys a message names.
_NAMED = 3


class LoraUnusable(Exception):
    """A LoRA cannot be applied to the model; the message names its file and says why."""


class Loras:
    """The adapters of a diffusers pipeline, switched by peft, and the findings about the denoiser with each set of them."""

    def __init__(self, pipeline: Any, *, traced: bool, only_full: bool = False) -> None:
        """Take the pipeline; if `traced`, its denoiser calls may be traced; `only_full` is as for Findings."""
        self._pipeline, self._traced, self._only_full = pipeline, traced, only_full
        #: The adapters in the pipeline, least recently used first.
        self._adapters: OrderedDict[str, None] = OrderedDict()
        #: The findings by the names and weights of the adapters that are on.
        self._findings: OrderedDict[tuple[tuple[str, float], ...], Findings] = OrderedDict()
        self._freeze()

    def apply(self, loras: Sequence[Lora]) -> tuple[Findings, tuple[AppliedLora, ...]]:
        """Let exactly these LoRAs act from the next call on; return the findings with them, and the LoRAs for a recipe.

        Raises LoraUnusable, and torch's error if memory runs out. No LoRA acts then.
        """
        applied = tuple(AppliedLora(lora.name, lora.weight, _digest(lora)) for lora in loras)
        names = [_adapter_name(lora) for lora in applied]
        if self._adapters:
            self._pipeline.disable_lora()
        for lora, name in zip(loras, names, strict=True):
            if name not in self._adapters:
                self._make_room(beside=names)
                self._read(lora, name)
            self._adapters[name] = None
            self._adapters.move_to_end(name)
        if names:
            self._pipeline.enable_lora()
            self._pipeline.set_adapters(names, [lora.weight for lora in loras])
            self._freeze()
        return self._findings_of(tuple(zip(names, (lora.weight for lora in loras), strict=True))), applied

    def _freeze(self) -> None:
        """Take `requires_grad` from all weights.

        torch chooses the kernel of some products by it, and peft sets it, so the last bits of an image would depend on
        earlier LoRAs.
        """
        for part in modules_of(self._pipeline):
            part.requires_grad_(False)

    def _read(self, lora: Lora, name: str) -> None:
        if not hasattr(self._pipeline, "load_lora_weights"):
            raise LoraUnusable(f"{type(self._pipeline).__name__} takes no LoRA, so {lora.name} cannot be applied")
        try:
            # SDXL is read with its configuration: of a file that names each block in two ways, one half is left out then.
            is_sdxl = isinstance(self._pipeline, StableDiffusionXLLoraLoaderMixin)
            config = {"unet_config": self._pipeline.unet.config} if is_sdxl else {}
            found = self._pipeline.lora_state_dict(lora.file, use_safetensors=True, **config)
            wanted: dict[str, Any] = found[0] if isinstance(found, tuple) else found
            with widened(self._pipeline):
                # Otherwise peft would replace a method of torch.nn.Module meanwhile, also for a thread that builds a model.
                self._pipeline.load_lora_weights(
                    lora.file, adapter_name=name, use_safetensors=True, low_cpu_mem_usage=False
                )
        except Exception as error:
            self._forget(name)
            if is_out_of_memory(error):
                raise
            raise LoraUnusable(
                f"The LoRA {lora.name} does not fit {type(self._pipeline).__name__}: {lora.file}"
                f" ({type(error).__name__}: {error})"
            ) from error
        taken = sum(f".{name}." in key for part in modules_of(self._pipeline) for key, _ in part.named_parameters())
        if taken < len(wanted):
            # diffusers leaves out keys that have no place in the model, and only warns.
            self._forget(name)
            log.error("%s: of %d keys, %d have a place in the model: %s", lora.file, len(wanted), taken, sorted(wanted))
            raise LoraUnusable(
                f"The LoRA {lora.name} does not fit {type(self._pipeline).__name__}: of the {len(wanted)} weights in"
                f" {lora.file}, such as {', '.join(sorted(wanted)[:_NAMED])}, only {taken} have a place in the model"
            )

    def _make_room(self, beside: Sequence[str]) -> None:
        while len(self._adapters) >= KEPT:
            oldest = next((name for name in self._adapters if name not in beside), None)
            if oldest is None:
                return
            self._forget(oldest)

    def _forget(self, name: str) -> None:
        """Take an adapter out of the pipeline, even if it is only half read."""
        if any(name in getattr(part, "peft_config", {}) for part in modules_of(self._pipeline)):
            self._pipeline.delete_adapters(name)
        self._adapters.pop(name, None)
        self._findings = OrderedDict(
            (applied, findings)
            for applied, findings in self._findings.items()
            if name not in [adapter for adapter, _ in applied]
        )

    def _findings_of(self, applied: tuple[tuple[str, float], ...]) -> Findings:
        """Return the findings with a set of LoRAs. Those of the last KEPT sets are kept, and always those without LoRAs."""
        if applied not in self._findings:
            self._findings[applied] = Findings(TracedCalls() if self._traced else None, only_full=self._only_full)
        self._findings.move_to_end(applied)
        sets = [key for key in self._findings if key]
        if len(sets) > KEPT:
            del self._findings[sets[0]]
        return self._findings[applied]


def _adapter_name(lora: AppliedLora) -> str:
    """Return the name of an adapter. torch uses it as the name of a module, so it has no dots."""
    return hashlib.sha256(f"{lora.name} {lora.digest}".encode()).hexdigest()[:16]


def _digest(lora: Lora) -> str:
    path = Path(lora.file)
    try:
        status = path.stat()
        return _digest_of(path, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise LoraUnusable(f"The LoRA {lora.name} cannot be read: {error}") from error


@cache
def _digest_of(path: Path, size: int, mtime_ns: int) -> str:
    """Return the digest of a file. Size and time are there for the cache: a file that changed is digested again."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
