"""The measured quality of an image, as the GPU process reports it."""

import msgspec

from pipelines.failure_reason import FailureReason


class Palette(msgspec.Struct, frozen=True):
    """One requested colour, and the image's dominant colour that is nearest to it."""

    requested: str
    nearest: str
    #: Their distance by CIEDE2000: 0 is identical, about 2 is just noticeable, above 20 is another colour.
    delta_e: float
    #: The part of the image's area that `nearest` dominates, 0–1.
    share: float


class DominantColor(msgspec.Struct, frozen=True):
    """One of the image's main colours."""

    color: str
    #: The part of the image's area, 0–1.
    share: float


class Evaluation(msgspec.Struct, frozen=True):
    """Measured quality of one image."""

    palette: tuple[Palette, ...]
    #: Unweighted mean of the palette's distances; null if no colour was requested.
    mean_delta_e: float | None
    dominant: tuple[DominantColor, ...]
    #: Variance of the Laplacian of luma, in squared 8-bit units.
    sharpness: float
    #: Standard deviation of luma, 0–1 of full scale.
    contrast: float
    #: The parts of the pixels at the lowest and at the highest luma, 0–1.
    clipped_black: float
    clipped_white: float
    #: The defect that makes the image unusable; null if it has none.
    defect: FailureReason | None = msgspec.field(name="finding")
