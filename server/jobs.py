"""A job as the server sees it: what it was resolved to at dispatch, and how it stands."""

from typing import Literal

import msgspec

from pipelines.colors import Rgb
from server.models_file import FailureMode

JobType = Literal["BACKGROUND_GENERATOR"]
JobStatus = Literal["NOT_STARTED", "IN_PROGRESS", "SUCCESS", "FAILURE"]

BACKGROUND_GENERATOR: JobType = "BACKGROUND_GENERATOR"


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the GPU process needs, fixed when the job is accepted; models.toml may change afterwards."""

    model: str
    width: int
    height: int
    steps: int
    guidance: float
    seed: int
    prompt: str
    negative_prompt: str
    colors: tuple[Rgb, ...]
    evaluate: bool
    on_technical_failure: FailureMode
    max_attempts: int
    display_name: str
    #: How free text was mapped, where the model has a closed vocabulary.
    understood: dict[str, str | int] | None = None


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job that has not ended."""

    job_id: str
    client_id: int
    work: Work
    attempts: int = 0
    #: Of the key it was sent with; each step doubles the client's share of the GPU for it.
    priority: int = 0
    #: It failed in company, for reasons that may have been a neighbour's: it runs alone now.
    alone: bool = False
    #: It ran out of memory beside other models: they make room for its next run.
    had_room: bool = False
    #: Deaths of the GPU process while it was there.
    deaths: int = 0
