"""A small residual network that sees a picture and says which scene and mood it shows."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipelines.studio_tiny.vocabulary import MOODS, SCENES

#: How many numbers describe a picture. The Fréchet distance compares these.
FEATURES = 64
#: Channels of the first layer, at half of the picture's side.
_FIRST = 24
#: Channels and blocks of the stages, at a quarter of the side, an eighth and a sixteenth.
_STAGES = (48, 1), (96, 2), (160, 2)
#: Light that is added before a logarithm, so that the noise of black stays small.
_BLACK = 0.02
#: How much a difference of light, and one of hue, tells colours apart. Light tells less, because of shadows.
_SHADOW, _HUE = 0.5, 6.0


class Judge(nn.Module):  # type: ignore[misc]
    """Turns pictures and their requested colours into features (n, 64) and scores of scenes and moods.

    Pictures are (n, 3, height, width), 0–1; colours (n, 5, 3), 0–1, below 0 if fewer were requested.
    """

    def __init__(self) -> None:
        super().__init__()
        # Norm over the batch: the light of a whole picture tells its mood, and a norm over one picture would remove that.
        self.first = nn.Sequential(nn.Conv2d(12, _FIRST, 3, 2, 1, bias=False), nn.BatchNorm2d(_FIRST), nn.SiLU())
        blocks, inward = [], _FIRST
        for outward, count in _STAGES:
            for number in range(count):
                blocks.append(_Block(inward, outward, 1 if number else 2))
                inward = outward
        self.body = nn.Sequential(*blocks)
        self.features = nn.Sequential(
            nn.Dropout(0.2), nn.Linear(2 * inward, FEATURES, bias=False), nn.BatchNorm1d(FEATURES), nn.SiLU()
        )
        self.scene = nn.Linear(FEATURES, len(SCENES))
        self.mood = nn.Linear(FEATURES, len(MOODS))

    def forward(self, pictures: Tensor, colors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        seen = self.body(self.first(_sight(pictures, colors)))
        features = self.features(torch.cat([seen.mean((2, 3)), seen.std((2, 3))], 1))
        return features, self.scene(features), self.mood(features)


class _Block(nn.Module):  # type: ignore[misc]
    """Two convolutions whose result is added to their input (He et al. 2016)."""

    def __init__(self, inward: int, outward: int, stride: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(inward, outward, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outward),
            nn.SiLU(),
            nn.Conv2d(outward, outward, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outward),
        )
        self.shorter = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.wider = nn.Conv2d(inward, outward, 1, bias=False) if inward != outward else nn.Identity()

    def forward(self, seen: Tensor) -> Tensor:
        return functional.silu(self.path(seen) + self.wider(self.shorter(seen)))


def _sight(pictures: Tensor, colors: Tensor) -> Tensor:
    """Return what the first layer sees of each pixel: (n, 12, height, width).

    That is its colour, and its light and hue as logarithms; how near it is to the nearest requested colour, and by how much
    its light and hue differ from that colour's. To these come its height in the picture, and its distance from the middle,
    squared. A lamp multiplies a paint's colour, so differences of logarithms show the lamps and not the paints. A mood dyes
    only surfaces that have no requested colour.
    """
    light = _opponent(pictures, 1)
    asked = _opponent(colors.clamp(min=0), 2)
    apart = light[:, None] - asked[..., None, None]
    squares = _SHADOW * apart[:, :, 0].square() + _HUE * apart[:, :, 1:].square().sum(2)
    squares = squares.masked_fill((colors[..., 0] < 0)[..., None, None], torch.inf)
    nearest, which = squares.min(1, keepdim=True)
    near = (-nearest).exp()
    apart = apart.gather(1, which[:, :, None].expand(-1, -1, 3, -1, -1))[:, 0]
    return torch.cat([2 * pictures - 1, light, near, near * apart, _places(pictures)], 1)


def _opponent(srgb: Tensor, axis: int) -> Tensor:
    """Return the logarithms of light, of red to green and of blue to green, of sRGB values 0–1 along `axis`."""
    linear = torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb.clamp(min=0) + 0.055) / 1.055) ** 2.4)
    red, green, blue = (linear.clamp(min=0) + _BLACK).log().unbind(axis)
    return torch.stack([(red + green + blue) / 3 + 1, red - green, blue - green], axis)


def _places(pictures: Tensor) -> Tensor:
    """Return each pixel's height in the picture and its distance from the middle, squared: (n, 2, height, width)."""
    height, width = pictures.shape[2:]
    down = torch.linspace(-1, 1, height, device=pictures.device, dtype=pictures.dtype)[:, None].expand(height, width)
    across = torch.linspace(-1, 1, width, device=pictures.device, dtype=pictures.dtype)[None].expand(height, width)
    return torch.stack([down, down**2 + across**2 - 1]).expand(len(pictures), 2, height, width)
