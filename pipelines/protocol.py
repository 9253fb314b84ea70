"""The messages between the server and the GPU process: msgspec Structs, sent as msgpack over one pipe.

    server → GPU process     Load, Unload, Pin, Generate, Cancel
    GPU process → server     DevicesFound, Started, CannotStart, DeviceLost, MemoryUsed, Loading, Loaded, LoadFailed,
                             Refused, Evicted, StageReached, Steps, Previewed, LeftSlot, Generated, Failed, Cancelled,
                             BatchFailed, Restarted, Measured

The server orders images one by one, and the GPU process answers each with exactly one of Generated, Failed, Cancelled,
BatchFailed or LoadFailed. If the process is on another box, the server's end of the connection may answer Refused instead.
Pixels do not travel: the GPU process writes the file that an order names.

Images share a batch in *slots*. A *slot group* is a number of slots for images of equal model, size, steps, guidance, LoRAs
and second pass. The GPU process has at most one open, and opens the next one when that is empty.
"""

from collections.abc import Callable
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
    """The stage that an image has reached; the `stage` of a job's events."""

    #: Its model is being read into memory.
    LOADING = "loading"
    #: It is in a slot, and its denoising steps are reported one by one.
    DENOISING = "denoising"
    #: Its latents are being turned into pixels.
    DECODING = "decoding"
    #: Its quality is being measured.
    EVALUATING = "evaluating"
    #: It begins again at its first step, or waits to.
    RETRYING = "retrying"


class Item(msgspec.Struct, frozen=True):
    """One image, as an order describes it."""

    #: Unique among all images in flight. The GPU process only repeats it in reports.
    image_id: str
    #: An integer from 0 to 2^53 − 1.
    seed: int
    prompt: str
    negative_prompt: str
    #: The absolute path of the PNG to write. The GPU process makes missing folders.
    path: str
    #: The requested colours, and how they reach the image beside its prompt.
    colors: tuple[Rgb, ...] = ()
    palette: PaletteMode = PaletteMode.PROMPT
    #: Measure the image's quality and report it.
    evaluate: bool = False
    #: Write the image even if a defect makes it unusable.
    deliver_flawed: bool = False
    #: The end of the prompt, which must be read: if the prompt is too long, words before it are left out.
    brand_words: str = ""
    #: The absolute path of the WebP to write previews to, each over the last; None for no previews.
    preview_path: str | None = None


# ── server → GPU process ─────────────────────────────────────────────────────────────────────────────────────────────


class Load(msgspec.Struct, frozen=True, tag=True):
    """Read this model into memory; while images are in slots or wait for one, only prefetch it."""

    card: ModelCard
    #: Bytes of this device's memory that an image was measured to take beside the model's weights; None if unmeasured.
    image_bytes: int | None = None


class Unload(msgspec.Struct, frozen=True, tag=True):
    """Drop this model from memory, even if it is pinned, unless an image needs it. Evicted reports that it left."""

    model: str


class Pin(msgspec.Struct, frozen=True, tag=True):
    """Never evict these models; any other model may be evicted."""

    models: tuple[str, ...]


class Generate(msgspec.Struct, frozen=True, tag=True):
    """Generate this image in the next free slot of its slot group.

    An order for another slot group waits until the open one is empty, and every later order waits behind it.
    """

    card: ModelCard
    width: int
    height: int
    steps: int
    guidance: float
    #: How many slots the group has. If they are too many for the memory, and the card is not reproducible, the GPU process
    #: opens fewer and reports Restarted.
    batch_size: int
    item: Item
    #: Share the slot group with no other image.
    isolated: bool = False
    #: Sorted by name.
    loras: tuple[Lora, ...] = ()
    #: None if the pipeline makes images of this size itself; otherwise `steps` are those of the first pass.
    second: SecondPass | None = None
    #: The same as in Load.
    image_bytes: int | None = None


class Cancel(msgspec.Struct, frozen=True, tag=True):
    """Drop this image now if it waits, and at its next denoising step if it is in a slot.

    If the image has left its slot or is unknown, nothing happens and nothing is reported.
    """

    image_id: str


Order = Load | Unload | Pin | Generate | Cancel


# ── GPU process → server ─────────────────────────────────────────────────────────────────────────────────────────────


class DevicesFound(msgspec.Struct, frozen=True, tag=True):
    """The GPU process has imported torch and counted the GPUs that it could use. This is its first report."""

    gpus: int


class Started(msgspec.Struct, frozen=True, tag=True):
    """The GPU process has chosen its device and takes orders."""

    #: For example "cpu" or "cuda:0".
    device: str
    #: For example "NVIDIA H100 80GB HBM3" or "2 threads".
    device_name: str
    #: A digest of what the device computes from fixed numbers. Devices with different fingerprints give different bytes.
    fingerprint: str


class CannotStart(msgspec.Struct, frozen=True, tag=True):
    """The GPU process cannot use its device, and ends. This is its last report."""

    message: str


class DeviceLost(msgspec.Struct, frozen=True, tag=True):
    """The GPU process's box is gone, and no image is to blame. This is the last report.

    The server's end of the connection to another box reports it, as it does Refused.
    """

    message: str


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The device's box has other weights of this model than the server, so it has not begun these images."""

    model: str
    message: str
    image_ids: tuple[str, ...]


class MemoryUsed(msgspec.Struct, frozen=True, tag=True):
    """The amount of the device's memory in use, reported after a start, a load or an unload, and whenever slots open."""

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
    #: Bytes of the device's memory that its parameters and buffers take.
    weight_bytes: int = 0


class LoadFailed(msgspec.Struct, frozen=True, tag=True):
    """A model could not be loaded. The images that waited for it are dropped; the server decides what becomes of them."""

    model: str
    reason: FailureReason
    message: str
    #: In the order in which the server sent them.
    image_ids: tuple[str, ...] = ()


class Evicted(msgspec.Struct, frozen=True, tag=True):
    """A model left memory: another one needed the room, its card names other weights now, or Unload named it."""

    model: str


class StageReached(msgspec.Struct, frozen=True, tag=True):
    """Images reached this stage. Two stages have reports of their own: Steps for denoising, Restarted for retrying."""

    image_ids: tuple[str, ...]
    stage: Stage


class Step(msgspec.Struct, frozen=True):
    """One denoising step of one image is done."""

    image_id: str
    #: Counted from 1. The steps of a second pass follow those of the first.
    step: int
    #: When it ended, in seconds since 1970.
    at: float
    #: Images with equal numbers took this step together. The numbers ascend for as long as the process lives.
    call: int = 0


class Steps(msgspec.Struct, frozen=True, tag=True):
    """The denoising steps that were done since the last report of this kind, oldest first."""

    done: tuple[Step, ...]
    #: How many steps each of these images takes, in both passes.
    steps: int


class Previewed(msgspec.Struct, frozen=True, tag=True):
    """A preview of an image is on disk at the path that its order named. This comes before the report of the image's end."""

    image_id: str
    #: The preview shows the image after this step, of `steps`.
    step: int
    steps: int


class LeftSlot(msgspec.Struct, frozen=True, tag=True):
    """An image left its slot. The GPU process checks and writes it while the slots go on."""

    image_id: str


class Generated(msgspec.Struct, frozen=True, tag=True):
    """An image is on disk at the path that its order named."""

    image_id: str
    recipe: Recipe
    #: The defect that makes the image unusable. The GPU process delivers one with a defect only if its order says so.
    defect: FailureReason | None
    evaluation: Evaluation | None
    #: Seconds by name: denoising_s, decoding_s, finishing_s.
    timings: dict[str, float]
    #: Words that the model's text encoder did not read because the prompt was too long.
    prompt_cut: str = ""


class Failed(msgspec.Struct, frozen=True, tag=True):
    """One image failed by itself. The other images of its slot group go on."""

    image_id: str
    reason: FailureReason
    message: str
    fault: Fault


class Cancelled(msgspec.Struct, frozen=True, tag=True):
    """An image was dropped because of Cancel."""

    image_id: str


class BatchFailed(msgspec.Struct, frozen=True, tag=True):
    """A denoiser call raised an error other than out of memory, and every image in a slot is lost.

    Any one of them may be to blame. Images that wait for a slot are not lost.
    """

    reason: FailureReason
    message: str
    #: In the order in which they entered their slots.
    image_ids: tuple[str, ...]
    model: str


class Restarted(msgspec.Struct, frozen=True, tag=True):
    """Memory ran out. The GPU process made room or opened fewer slots, and begins the images that were in slots again.

    Their seeds stay the same, and the server need not send them again. The server tells the clients that follow them, and
    fills only `batch_size` slots from now on.
    """

    #: In the order in which they had entered their slots, and enter them again.
    image_ids: tuple[str, ...]
    model: str
    width: int
    height: int
    #: How many slots the group has from now on.
    batch_size: int
    #: How many slots it had.
    previous_batch_size: int
    #: Whether idle models were evicted; if not, `batch_size` is half of `previous_batch_size`.
    evicted: bool
    reason: FailureReason
    #: For people: what happened, and what the GPU process did about it.
    message: str


class Measured(msgspec.Struct, frozen=True, tag=True):
    """The measured cost of a denoising step of a full slot group on this device."""

    model: str
    #: It changes with the weights and with everything else on the model's card that a step's cost depends on.
    cost_revision: str
    width: int
    height: int
    batch_size: int
    #: None if this batch size did not fit into memory, like `peak_bytes`.
    seconds_per_step: float | None
    peak_bytes: int | None
    #: The peak less what was in use when the slots opened; None until an image was decoded.
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

#: The most characters of a message that clients are told; the log has the rest.
MOST_TOLD = 300


def told(text: str) -> str:
    """Return a message as clients are told it: on one line, and cut at MOST_TOLD characters."""
    line, more = " ".join(text.split()), "… (more in the server's log)"
    return line if len(line) <= MOST_TOLD else line[: MOST_TOLD - len(more)] + more


#: Return the bytes that stand for a message in the pipe.
encode: Callable[[Order | Report], bytes] = msgspec.msgpack.Encoder().encode
#: Return the message that these bytes are. They raise msgspec.MsgspecError if it is none of this version.
decode_order: Callable[[bytes], Order] = msgspec.msgpack.Decoder(Order).decode
decode_report: Callable[[bytes], Report] = msgspec.msgpack.Decoder(Report).decode
