"""The messages between the server and the GPU process: msgspec Structs, sent as msgpack over one pipe.

    server → GPU process     Load, Unload, Pin, Generate, Cancel
    GPU process → server     DevicesFound, Started, CannotStart, DeviceLost, MemoryUsed, Loading, Loaded, LoadFailed,
                             Refused, Evicted, StageReached, Steps, Previewed, LeftSlot, Generated, Failed, Cancelled,
                             BatchFailed, Restarted, Measured

The server orders images one by one, and the GPU process answers each with exactly one of Generated, Failed, Cancelled,
BatchFailed or LoadFailed; for a process on another box the server's end of it may answer Refused. Pixels do not travel: the
GPU process writes the file that an order names.

Images share a batch in *slots*. A *slot group* is a number of slots for one model, size, number of steps and guidance; the
GPU process has at most one open and opens the next one when that is empty.
"""

from enum import StrEnum

import msgspec

from pipelines.colors import PaletteMode, Rgb
from pipelines.evaluation import Evaluation
from pipelines.failure_reason import FailureReason, Fault
from pipelines.lora import Lora
from pipelines.model_card import ModelCard
from pipelines.recipe import Recipe
from pipelines.upscale import SecondPass


class Stage(StrEnum):
    """How far an image has come; the `stage` of a job's events."""

    #: Its model is being read into memory.
    LOADING = "loading"
    #: It is in a slot, and its denoising steps are reported one by one.
    DENOISING = "denoising"
    #: Its latents are being turned into pixels.
    DECODING = "decoding"
    #: Its quality is being measured.
    EVALUATING = "evaluating"
    #: It starts again from its first step, or waits to.
    RETRYING = "retrying"


class Item(msgspec.Struct, frozen=True):
    """One image of a batch."""

    #: Unique among all images on their way. The GPU process only repeats it in reports.
    image_id: str
    #: 0 … 2^53 − 1.
    seed: int
    prompt: str
    negative_prompt: str
    #: The absolute path of the PNG to write. Missing folders are made.
    path: str
    #: The colours that the image was asked to have, and how they reach it beside its prompt.
    colors: tuple[Rgb, ...] = ()
    palette: PaletteMode = PaletteMode.PROMPT
    #: Measure the image's quality and report it.
    evaluate: bool = False
    #: Write the image even if a defect makes it unusable.
    deliver_flawed: bool = False
    #: The end of the prompt that must be read: if the prompt is too long, words before it are left out.
    brand_words: str = ""
    #: The absolute path of the WebP to write previews to, one over the other; None if nobody wants any.
    preview_path: str | None = None


# ── server → GPU process ─────────────────────────────────────────────────────────────────────────────────────────────


class Load(msgspec.Struct, frozen=True, tag=True):
    """Read this model into memory; while images are on their way, only prefetch it."""

    card: ModelCard
    #: What an image of the model was measured to take of this device's memory beside the weights; None if it was not.
    image_bytes: int | None = None


class Unload(msgspec.Struct, frozen=True, tag=True):
    """Drop this model from memory, a pinned one too, unless an image needs it. Evicted reports that it left."""

    model: str


class Pin(msgspec.Struct, frozen=True, tag=True):
    """Never evict these models; any other model may be evicted."""

    models: tuple[str, ...]


class Generate(msgspec.Struct, frozen=True, tag=True):
    """Generate this image in the next free slot of its slot group.

    An order for another slot group waits until the open one is empty, and every order after it waits behind it.
    """

    card: ModelCard
    width: int
    height: int
    steps: int
    guidance: float
    #: How many slots the group has. If it is too many for the memory, and the card is not reproducible, the GPU process opens
    #: fewer and says so by Restarted.
    batch_size: int
    item: Item
    #: Share the slot group with no other image.
    isolated: bool = False
    #: In the order of their names.
    loras: tuple[Lora, ...] = ()
    #: None if the pipeline makes the size itself; else `steps` are those of the first pass.
    second: SecondPass | None = None
    #: As in Load.
    image_bytes: int | None = None


class Cancel(msgspec.Struct, frozen=True, tag=True):
    """Drop this image now if it waits, and at its next denoising step if it is in a slot.

    An image that has left its slot, or is unknown, is not affected, and nothing is reported.
    """

    image_id: str


Order = Load | Unload | Pin | Generate | Cancel


# ── GPU process → server ─────────────────────────────────────────────────────────────────────────────────────────────


class DevicesFound(msgspec.Struct, frozen=True, tag=True):
    """The GPU process has imported torch and counted the GPUs that it could use; the first of its reports."""

    gpus: int


class Started(msgspec.Struct, frozen=True, tag=True):
    """The GPU process has chosen its device and takes orders."""

    #: "cpu", "cuda:0", …
    device: str
    #: "NVIDIA H100 80GB HBM3", "2 threads", …
    device_name: str
    #: A digest of what the device computes from fixed numbers. Two devices with other fingerprints give other bytes.
    fingerprint: str


class CannotStart(msgspec.Struct, frozen=True, tag=True):
    """The GPU process cannot use its device, and ends; the last of its reports."""

    message: str


class DeviceLost(msgspec.Struct, frozen=True, tag=True):
    """The box that the GPU process was on is gone, which no image is to blame for; the last of the reports.

    The server's end of a GPU process on another box reports this, and Refused.
    """

    message: str


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The device's box has other weights of this model than the server; these images were not begun there."""

    model: str
    message: str
    image_ids: tuple[str, ...]


class MemoryUsed(msgspec.Struct, frozen=True, tag=True):
    """How much of the device's memory is in use, after a start, a load, an unload, and whenever slots open."""

    total_bytes: int
    #: On a GPU, what all programs use; on a CPU, what the GPU process uses.
    used_bytes: int


class Loading(msgspec.Struct, frozen=True, tag=True):
    """The GPU process begins to load a model; until Loaded or LoadFailed it does nothing else."""

    model: str


class Loaded(msgspec.Struct, frozen=True, tag=True):
    """A model is in memory."""

    model: str
    revision: str
    seconds: float
    #: What its parameters and buffers take of the device's memory.
    weight_bytes: int = 0


class LoadFailed(msgspec.Struct, frozen=True, tag=True):
    """A model could not be loaded. The images that waited for it are dropped; the server decides what becomes of them."""

    model: str
    reason: FailureReason
    message: str
    #: In the order in which they were sent.
    image_ids: tuple[str, ...] = ()


class Evicted(msgspec.Struct, frozen=True, tag=True):
    """A model left memory: another one needed the room, its card names other weights now, or it was to be unloaded."""

    model: str


class StageReached(msgspec.Struct, frozen=True, tag=True):
    """Images reached a stage other than denoising, which Steps reports, and retrying, which Restarted reports."""

    image_ids: tuple[str, ...]
    stage: Stage


class Step(msgspec.Struct, frozen=True):
    """One denoising step of one image is done."""

    image_id: str
    #: 1 … the image's number of steps; those of a second pass follow those of the first.
    step: int
    #: Seconds since 1970 at its end.
    at: float
    #: Images with equal numbers took this step together. The numbers ascend for as long as the process lives.
    call: int = 0


class Steps(msgspec.Struct, frozen=True, tag=True):
    """Denoising steps that were done since the last such report, oldest first."""

    done: tuple[Step, ...]
    #: How many steps each of these images takes, in both passes.
    steps: int


class Previewed(msgspec.Struct, frozen=True, tag=True):
    """A preview of an image is on disk at the path that its order named. It comes before the image's end."""

    image_id: str
    #: After which step, of how many.
    step: int
    steps: int


class LeftSlot(msgspec.Struct, frozen=True, tag=True):
    """An image left its slot; it is checked and written while the slots go on."""

    image_id: str


class Generated(msgspec.Struct, frozen=True, tag=True):
    """An image is on disk at the path that its order named."""

    image_id: str
    recipe: Recipe
    #: What makes the image unusable; only if its order said to deliver it all the same.
    defect: FailureReason | None
    evaluation: Evaluation | None
    #: Seconds by name: denoising_s, decoding_s, finishing_s.
    timings: dict[str, float]
    #: Words of the prompt that the model's text encoder did not read, since the prompt was too long.
    prompt_cut: str = ""


class Failed(msgspec.Struct, frozen=True, tag=True):
    """One image failed by itself; the other images of its slot group go on."""

    image_id: str
    reason: FailureReason
    message: str
    fault: Fault


class Cancelled(msgspec.Struct, frozen=True, tag=True):
    """An image was dropped because of Cancel."""

    image_id: str


class BatchFailed(msgspec.Struct, frozen=True, tag=True):
    """A denoiser call raised an error other than out of memory, and every image in a slot is lost.

    Any one of them may be to blame. Images that waited for a slot are not among them, and go on.
    """

    reason: FailureReason
    message: str
    #: In the order in which they entered.
    image_ids: tuple[str, ...]
    model: str


class Restarted(msgspec.Struct, frozen=True, tag=True):
    """Memory ran out. The GPU process made room or opened fewer slots, and begins the images that were in slots again.

    Their seeds stay the same, and the server need not send them again. It tells their followers, and fills only `batch_size`
    slots from now on.
    """

    #: In the order in which they had entered, and enter again.
    image_ids: tuple[str, ...]
    model: str
    width: int
    height: int
    #: How many slots the group has from now on.
    batch_size: int
    #: How many it had.
    previous_batch_size: int
    #: Idle models were evicted; otherwise `batch_size` is half of `previous_batch_size`.
    evicted: bool
    reason: FailureReason
    #: What happened and what was done about it, for people.
    message: str


class Measured(msgspec.Struct, frozen=True, tag=True):
    """What a denoising step of a full slot group costs on this device."""

    model: str
    #: Changes with the weights and with anything else on the model's card that a step's cost depends on.
    cost_revision: str
    width: int
    height: int
    batch_size: int
    #: Both are None if this batch size did not fit into memory.
    seconds_per_step: float | None
    peak_bytes: int | None
    #: The part of the peak that came on top of what was held when the slots opened; None until an image was decoded.
    working_bytes: int | None = None


Report = (
    DevicesFound
    | Started
    | CannotStart
    | DeviceLost
    | Refused
    | MemoryUsed
    | Loading
    | Loaded
    | LoadFailed
    | Evicted
    | StageReached
    | Steps
    | Previewed
    | LeftSlot
    | Generated
    | Failed
    | Cancelled
    | BatchFailed
    | Restarted
    | Measured
)

#: Characters of a message that clients are told; the log has the rest.
MOST_TOLD = 300


def told(text: str) -> str:
    """Return a message as clients are told it: on one line, and cut at MOST_TOLD characters."""
    line, more = " ".join(text.split()), "… (more in the server's log)"
    return line if len(line) <= MOST_TOLD else line[: MOST_TOLD - len(more)] + more


_encoder = msgspec.msgpack.Encoder()
_orders: msgspec.msgpack.Decoder[Order] = msgspec.msgpack.Decoder(Order)
_reports: msgspec.msgpack.Decoder[Report] = msgspec.msgpack.Decoder(Report)


def encode(message: Order | Report) -> bytes:
    """Return a message as it travels."""
    return _encoder.encode(message)


def decode_order(data: bytes) -> Order:
    """Return an order. Raises msgspec.MsgspecError if `data` is none of this version."""
    return _orders.decode(data)


def decode_report(data: bytes) -> Report:
    """Return a report. Raises msgspec.MsgspecError if `data` is none of this version."""
    return _reports.decode(data)
