"""The stable codes that say why there is no image, in events, on the page and in `docs/reference/reasons.md`."""

from enum import StrEnum


class FailureReason(StrEnum):
    """A code that clients may test for. The comment above each one explains it to people."""

    #: The latents hold values that are not finite numbers, usually because the dtype is too narrow for the model.
    NAN_LATENTS = "nan_latents"
    #: The decoded image holds values that are not finite numbers.
    NAN_IMAGE = "nan_image"
    #: The image is black all over.
    BLACK_IMAGE = "black_image"
    #: The image is white all over.
    BLANK_IMAGE = "blank_image"
    #: The image is one flat colour.
    FLAT_IMAGE = "flat_image"
    #: The model's files could not be read, or do not make a pipeline.
    MODEL_LOAD_FAILED = "model_load_failed"
    #: A LoRA could not be read, or does not fit the model.
    LORA_UNUSABLE = "lora_unusable"
    #: The model is no longer among the enabled models of models.toml.
    MODEL_REMOVED = "model_removed"
    #: The device has too little memory for the image, or for its model.
    OUT_OF_MEMORY = "out_of_memory"
    #: The pipeline raised an error while it generated the image.
    PIPELINE_ERROR = "pipeline_error"
    #: The picture was decoded, but could not be matched to its colours, measured or written to disk.
    IMAGE_NOT_WRITTEN = "image_not_written"
    #: The GPU process ended unexpectedly while it worked on the image.
    WORKER_CRASHED = "worker_crashed"
    #: The GPU process was not ready in time after its start. Only the log tells it, since no image is in a starting process.
    START_TIMEOUT = "start_timeout"
    #: The model was not in memory within its load_timeout_s.
    LOAD_TIMEOUT = "load_timeout"
    #: A denoising step took longer than the model's step_timeout_s.
    STEP_TIMEOUT = "step_timeout"
    #: The finished image was not on disk in time.
    WRITE_TIMEOUT = "write_timeout"
    #: The server was restarted while the image was being generated, and no attempts were left.
    SERVER_RESTARTED = "server_restarted"
    #: The server was stopped while the image was being generated; it is generated again after the next start.
    SERVER_STOPPED = "server_stopped"
    #: The client or the operator cancelled the job.
    CANCELLED = "cancelled"


class Fault(StrEnum):
    """The cause to which a failure is put down; it decides the seed of a retry."""

    #: The image itself: the next seed may give a good one.
    IMAGE = "image"
    #: The machine, the model or its card: the same seed may still give a good image.
    MACHINE = "machine"
