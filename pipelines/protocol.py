"""What the server and the GPU process say to each other: msgspec Structs, as msgpack, over one pipe.

    server → GPU process     Load, Pin, Enter, Cancel
    GPU process → server     Started, Loading, Loaded, LoadFailed, Evicted, Progress, Steps, Freed, Imaged, Failed, Cancelled,
                             Broke, Measured

Images travel as files; a message only names them.
"""

from typing import Literal

import msgspec

from pipelines.colors import Rgb
from pipelines.evaluation import Evaluation
from pipelines.model_card import ModelCard
from pipelines.recipe import Recipe

Stage = Literal["loading", "denoising", "decoding", "evaluating", "retrying"]

#: Who is to blame, which decides whether a retry takes the next seed (image) or the same one (machine).
Fault = Literal["image", "machine"]


class Item(msgspec.Struct, frozen=True):
    """One image of a batch."""

    job_id: str
    seed: int
    prompt: str
    negative_prompt: str
    #: Where the PNG goes, absolute; its folder is made where there is none.
    path: str
    colors: tuple[Rgb, ...] = ()
    evaluate: bool = False
    #: Write the image even where the technical checks find it unusable.
    deliver_flawed: bool = False


# ── server → GPU process ─────────────────────────────────────────────────────────────────────────────────────────


class Load(msgspec.Struct, frozen=True, tag=True):
    """Have this model in memory; while images are on their way, only read it ahead."""

    card: ModelCard


class Pin(msgspec.Struct, frozen=True, tag=True):
    """These models, and no others, never make room in memory."""

    models: tuple[str, ...]


class Enter(msgspec.Struct, frozen=True, tag=True):
    """Make this image in the next slot that frees.

    Slots are of one model, size and shape. An order for others waits until the present ones are empty, and all that
    follow it wait behind.
    """

    card: ModelCard
    width: int
    height: int
    steps: int
    guidance: float
    #: How many slots there are; the denoiser runs at this shape, or at one that gives the same bits.
    shape: int
    item: Item
    #: Share the slots with no other image.
    alone: bool = False
    #: Other models leave memory before the slots open.
    make_room: bool = False


class Cancel(msgspec.Struct, frozen=True, tag=True):
    """Drop this job at its next denoising step; nothing happens where it is not running."""

    job_id: str


Order = Load | Pin | Enter | Cancel


# ── GPU process → server ─────────────────────────────────────────────────────────────────────────────────────────


class Started(msgspec.Struct, frozen=True, tag=True):
    """torch and diffusers are imported and the device is chosen."""

    device: str
    device_name: str


class Loading(msgspec.Struct, frozen=True, tag=True):
    model: str


class Loaded(msgspec.Struct, frozen=True, tag=True):
    model: str
    revision: str
    seconds: float


class LoadFailed(msgspec.Struct, frozen=True, tag=True):
    model: str
    message: str


class Evicted(msgspec.Struct, frozen=True, tag=True):
    """A model left memory, to make room for another or because its card names other weights."""

    model: str


class Progress(msgspec.Struct, frozen=True, tag=True):
    """Jobs reached a stage other than denoising, which `Steps` tells of."""

    job_ids: tuple[str, ...]
    stage: Stage


class Step(msgspec.Struct, frozen=True):
    """A denoising step that an image has done: 1 … the steps of its slot, and when, in seconds since 1970."""

    job_id: str
    step: int
    at: float


class Steps(msgspec.Struct, frozen=True, tag=True):
    """Denoising steps done since the last such report, in order; each image takes `steps`."""

    done: tuple[Step, ...]
    steps: int


class Freed(msgspec.Struct, frozen=True, tag=True):
    """An image left its slot; it is being checked and written beside the next ones."""

    job_id: str


class Imaged(msgspec.Struct, frozen=True, tag=True):
    """An image is on disk, under the path its item named."""

    job_id: str
    recipe: Recipe
    finding: str | None
    evaluation: Evaluation | None
    timings: dict[str, float]


class Failed(msgspec.Struct, frozen=True, tag=True):
    """One job's own failure; its neighbours go on."""

    job_id: str
    reason: str
    message: str
    fault: Fault


class Cancelled(msgspec.Struct, frozen=True, tag=True):
    job_id: str


class Broke(msgspec.Struct, frozen=True, tag=True):
    """A denoiser call failed, and with it these jobs: all that were in slots of this shape or waited for one.

    `reason` is `out_of_memory` or `pipeline_error`.
    """

    reason: str
    message: str
    job_ids: tuple[str, ...]
    model: str
    #: As in Measured.
    revision: str
    width: int
    height: int
    shape: int
    #: Memory ran out while other models were in it, which were given up: the same shape may do now.
    made_room: bool = False


class Measured(msgspec.Struct, frozen=True, tag=True):
    """What a step of all slots costs at a shape on this device."""

    model: str
    #: Of the weights, with what else of the model's card the cost depends on.
    revision: str
    width: int
    height: int
    shape: int
    seconds_per_step: float
    peak_bytes: int


Report = (
    Started
    | Loading
    | Loaded
    | LoadFailed
    | Evicted
    | Progress
    | Steps
    | Freed
    | Imaged
    | Failed
    | Cancelled
    | Broke
    | Measured
)

_encoder = msgspec.msgpack.Encoder()
_orders: msgspec.msgpack.Decoder[Order] = msgspec.msgpack.Decoder(Order)
_reports: msgspec.msgpack.Decoder[Report] = msgspec.msgpack.Decoder(Report)


def encode(message: Order | Report) -> bytes:
    return _encoder.encode(message)


def decode_order(data: bytes) -> Order:
    """Raises msgspec.ValidationError where `data` is not an order of this version."""
    return _orders.decode(data)


def decode_report(data: bytes) -> Report:
    """Raises msgspec.ValidationError where `data` is not a report of this version."""
    return _reports.decode(data)
