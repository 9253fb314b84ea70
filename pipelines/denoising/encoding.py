"""Text encoders in slots: the prompts of images that enter together are encoded in one call of the batch size.

Like a denoiser, a text encoder gives a prompt the same bits at one place of a batch whatever the other prompts are. At
another place some devices give it other bits, and they do so sooner with 77 tokens, or any other number, than with the powers
of two of pictures. An image would then depend on the images that entered with it. So the first prompt of a kind is encoded as
a whole batch of itself. If it has the same bits at all places, prompts of this kind are encoded together from then on; if
not, each is encoded by itself.
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
    #: Calls of equal signature differ only in the numbers in their tokens.
    signature: Hashable


class TextEncoder:
    """A stand-in for a text encoder in a slot's pipeline. It gives its calls to `encode`, which returns their results."""

    def __init__(self, name: str, module: Any, encode: Callable[[EncoderCall], Any]) -> None:
        self._name, self._module, self._encode = name, module, encode

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        tokens = arguments[0] if arguments else keywords["input_ids"]
        # Many encoders leave out a mask that hides nothing, and then compute in another way. So only calls with equal masks,
        # and equal other tensors, are joined.
        others = [_digest(tensor) for tensor in tensors((arguments, keywords)) if tensor is not tokens]
        like = (self._name, signature(arguments), signature(keywords), *others)
        return self._encode(EncoderCall(self._module, arguments, keywords, len(tokens), like))


class JointEncoders:
    """The text encoders of a model, for a slot group of `batch_size` slots."""

    def __init__(self, batch_size: int, findings: Findings) -> None:
        self._batch_size, self._findings = batch_size, findings

    def encode(self, calls: Sequence[EncoderCall]) -> list[Callable[[], Any]]:
        """Encode the first of these calls, at least one; return for each encoded one a function that returns its result.

        All calls have the same signature, and there are at most as many as slots. Call each function in its image's own
        coroutine, since it raises what the encoder raises if its prompt cannot be encoded. Raises torch's error if memory
        runs out or the device is lost.
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
    """Return an argument for the whole batch. Positions in time, height and width (3, rows, tokens) join at their rows."""
    first = values[0]
    if isinstance(first, torch.Tensor) and first.ndim == 3 and first.shape[:2] == (3, rows):
        return torch.cat(values, dim=1)
    return join(values, rows)


def _digest(tensor: torch.Tensor) -> bytes:
    """Return a digest of a tensor's bits."""
    return hashlib.sha256(tensor.reshape(-1).cpu().contiguous().view(torch.uint8).numpy()).digest()


def _same_at_all_places(result: Any, batch_size: int, rows: int) -> bool:
    """Return whether a batch of repetitions of one prompt holds the same numbers throughout."""
    return all(
        len(tensor) == batch_size * rows and bool((tensor.unflatten(0, (batch_size, rows)) == tensor[:rows]).all())
        for tensor in tensors(result)
    )
