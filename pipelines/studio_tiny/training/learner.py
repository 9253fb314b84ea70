"""The learner, by which every stage of the training follows the gradient of its loss, at a pace."""

import time
from collections.abc import Iterator, Sequence

import msgspec
import torch
from torch import Tensor

from pipelines.studio_tiny.training.muon import Muon

#: Steps between two looks at the loss, each of which waits for the GPU.
LOOK = 50


class Stage(msgspec.Struct, frozen=True):
    """A stage of the training."""

    name: str
    steps: int
    batch: int
    lr: float
    #: The stage ends after this many minutes if it has not come to its last step.
    minutes: float


class Learner:
    """A module and its optimizers: Muon for hidden weights, AdamW for biases, norms and the weights named in `outer`.

    `outer` has parts of the names of the embeddings and of the first and last layers. The learning rate is a tensor on the
    device, so that a captured step reads its present value.
    """

    def __init__(self, model: torch.nn.Module, lr: float, outer: Sequence[str], target: torch.device) -> None:
        hidden: list[Tensor] = []
        others: list[Tensor] = []
        for name, weight in model.named_parameters():
            (others if weight.ndim < 2 or any(part in name for part in outer) else hidden).append(weight)
        self._model, self._lr = model, lr
        self._rate = torch.zeros((), device=target)
        self.muon = Muon(hidden, self._rate)
        self.adam = torch.optim.AdamW(
            others, self._rate, betas=(0.9, 0.99), weight_decay=0.01, capturable=target.type == "cuda"
        )

    def pace(self, part: float) -> None:
        """Learn at this part of the full rate from now on."""
        self._rate.fill_(self._lr * part)

    def steps(self, progress: "Progress", start: int, *, warm: int, cool: float) -> Iterator[int]:
        """Yield the number of each step from `start` to the end of a stage, at the pace of `warm` and `cool`."""
        step = start
        while (done := progress.at(step)) < 1:
            self.pace(pace(done, step, warm, cool))
            yield step
            step += 1

    def step(self, loss: Tensor) -> None:
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
        for optimizer in (self.muon, self.adam):
            optimizer.step()
            optimizer.zero_grad()


class Progress:
    """The progress of a stage: by steps, or by minutes if these end first. `before` is the seconds of earlier runs."""

    def __init__(self, steps: int, minutes: float, before: float) -> None:
        self._steps, self._seconds, self._before = steps, minutes * 60, before
        self.begin()

    def begin(self) -> None:
        """Count this run's seconds from now on."""
        self._began = time.monotonic() - self._before

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def at(self, step: int) -> float:
        """Return how far the stage is at a step: 0 at its start, and 1 or more at its end."""
        return max(step / self._steps, self.seconds / self._seconds)


class Running:
    """A running mean in a tensor on the device: of all values at first, later mostly of the last 1 / `least`."""

    def __init__(self, shape: tuple[int, ...], least: float, target: torch.device) -> None:
        self.value = torch.zeros(shape, device=target)
        self._seen, self._least = torch.zeros((), device=target), least

    def add(self, value: Tensor) -> None:
        with torch.no_grad():
            self._seen += 1
            self.value.lerp_(value, torch.clamp(1 / self._seen, min=self._least))


def pace(progress: float, step: int, warm: int, cool: float) -> float:
    """Return the part of the full rate: it rises over `warm` steps, stays, and falls to 2 % over the last part `cool`."""
    return min(1.0, (step + 1) / warm, max(0.02, (1 - progress) / cool))
