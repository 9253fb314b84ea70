"""Text encoders in slots: the prompts of images that enter together are encoded in one call of the batch size.

As a denoiser does, a text encoder gives a prompt the same bits at one place of a batch whatever the other prompts are. At
other places some devices give it others, and 77 tokens, or any number, show that sooner than a picture's power of two. An
image would then depend on who entered with it. So the first prompt of a kind is encoded as a whole batch of itself. If it
has the same bits at all places, prompts of this kind are encoded together from then on; if not, each by itself.
"""

import hashlib
import logging
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any

import msgspec
import torch

from pipelines.denoising.joining import Findings
from pipelines.denoising.tensor_tree import join, part, signature, tensors
from pipelines.worker.torch_errors import is_fatal, is_out_of_memory

log = logging.getLogger(__name__)


class EncoderCall(msgspec.Struct, frozen=True):
    """One slot's call of a text encoder."""

    encoder: Any
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    rows: int
    #: Calls of equal signature differ in the numbers of their tokens alone.
    signature: Hashable


class TextEncoder:
    """Stands in for a text encoder in a slot's pipeline; `encode` is given its calls and returns their results."""

    def __init__(self, name: str, module: Any, encode: Callable[[EncoderCall], Any]) -> None:
        self._name, self._module, self._encode = name, module, encode

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        tokens = arguments[0] if arguments else keywords["input_ids"]
        # Many encoders do without a mask that hides nothing, and so compute in another way. Joined masks must not hide more.
        others = [_digest(tensor) for tensor in tensors((arguments, keywords)) if tensor is not tokens]
        like = (self._name, signature(arguments), signature(keywords), *others)
        return self._encode(EncoderCall(self._module, arguments, keywords, len(tokens), like))


class JointEncoders:
    """Runs the text encoders of a model for a slot group of `batch_size` slots."""

    def __init__(self, batch_size: int, findings: Findings) -> None:
        self._batch_size, self._findings = batch_size, findings

    def encode(self, calls: Sequence[EncoderCall]) -> list[Callable[[], Any]]:
        """Encode the first of these calls, at least one; return for each of them a function that returns its result.

        All calls have the same signature; they are at most as many as there are slots. The functions are to be called in the
        images' own coroutines: that of a prompt that cannot be encoded raises what the encoder raises. Raises torch's error
        if memory runs out or the device is lost.
        """
        kind, rows = (self._batch_size, calls[0].signature), calls[0].rows
        together = self._findings.encodes_together.get(kind)
        if together is False:
            return [partial(self.encode_alone, call) for call in calls]
        taking_part = calls if together else calls[:1]
        try:
            result = self._run(taking_part)
        except Exception as error:
            if is_fatal(error) or is_out_of_memory(error):
                raise
            log.warning("%s could not encode %d prompts: %s", type(calls[0].encoder).__name__, len(taking_part), error)
            return [partial(self.encode_alone, call) for call in taking_part]
        if together is None:
            self._findings.encodes_together[kind] = _same_at_all_places(result, self._batch_size, rows)
        return [partial(part, result, index * rows, rows) for index in range(len(taking_part))]

    def encode_alone(self, call: EncoderCall) -> Any:
        """Encode a prompt as a whole batch of itself."""
        return part(self._run([call]), 0, call.rows)

    def _run(self, calls: Sequence[EncoderCall]) -> Any:
        """Run the encoder once for these calls, padded to the batch size with repetitions of the first."""
        first = calls[0]
        all_calls = [*calls, *[first] * (self._batch_size - len(calls))]
        arguments = [
            _joined([call.arguments[index] for call in all_calls], first.rows) for index in range(len(first.arguments))
        ]
        keywords = {name: _joined([call.keywords[name] for call in all_calls], first.rows) for name in first.keywords}
        return first.encoder(*arguments, **keywords)


def _joined(values: list[Any], rows: int) -> Any:
    """Return an argument for the whole batch; positions in time, height and width are (3, rows, tokens)."""
    first = values[0]
    if isinstance(first, torch.Tensor) and first.ndim == 3 and first.shape[:2] == (3, rows):
        return torch.cat(values, dim=1)
    return join(values, rows)


def _digest(tensor: torch.Tensor) -> bytes:
    """Return what tells a tensor's bits from others of its shape and type."""
    return hashlib.sha256(tensor.reshape(-1).cpu().contiguous().view(torch.uint8).numpy()).digest()


def _same_at_all_places(result: Any, batch_size: int, rows: int) -> bool:
    """Return whether a batch of repetitions of one prompt holds the same numbers throughout."""
    return all(
        len(tensor) == batch_size * rows and bool((tensor.unflatten(0, (batch_size, rows)) == tensor[:rows]).all())
        for tensor in tensors(result)
    )
