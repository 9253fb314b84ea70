"""The measured quality of an image, as it is reported."""

import msgspec


class Palette(msgspec.Struct, frozen=True):
    """One requested colour beside the dominant colour of the image nearest to it."""

    requested: str
    nearest: str
    #: CIEDE2000, 0 is identical, about 2 is just noticeable, above 20 is another colour.
    delta_e: float
    #: Part of the image's area whose dominant colour is `nearest`, 0–1.
    share: float


class DominantColor(msgspec.Struct, frozen=True):
    color: str
    share: float


class Evaluation(msgspec.Struct, frozen=True):
    """Measured quality of one image."""

    palette: tuple[Palette, ...]
    #: Mean of the palette's distances weighted evenly; null where no colour was requested.
    mean_delta_e: float | None
    dominant: tuple[DominantColor, ...]
    #: Variance of the Laplacian of luma in 8-bit units squared.
    sharpness: float
    #: Standard deviation of luma, 0–1 of full scale.
    contrast: float
    #: Parts of the pixels at either end of luma, 0–1.
    clipped_black: float
    clipped_white: float
    #: Technical finding, or null where none.
    finding: str | None
