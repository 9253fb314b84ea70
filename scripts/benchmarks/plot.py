"""A plot of what a benchmark measured against what would be linear, as an SVG file for the documents."""

from collections.abc import Mapping

_WIDTH, _HEIGHT, _MARGIN = 480, 360, 48
_STYLE = "font: 13px sans-serif; fill: #444"


def lines(title: str, found: Mapping[int, float]) -> str:
    """Return the plot of `found` over its keys, both from 0, with the diagonal in grey."""
    most = max(found)

    def at(x: float, y: float) -> str:
        right = _MARGIN + x / most * (_WIDTH - 2 * _MARGIN)
        return f"{right:.1f},{_HEIGHT - _MARGIN - y / most * (_HEIGHT - 2 * _MARGIN):.1f}"

    def text(x: float, y: float, words: str, anchor: str = "middle") -> str:
        return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" style="{_STYLE}">{words}</text>'

    points = [at(x, y) for x, y in found.items()]
    dots = [f'<circle cx="{point.split(",")[0]}" cy="{point.split(",")[1]}" r="4" fill="#0a7"/>' for point in points]
    marks = [text(float(at(x, 0).split(",")[0]), _HEIGHT - _MARGIN + 20, str(x)) for x in found]
    marks += [text(_MARGIN - 10, float(at(0, x).split(",")[1]) + 4, str(x), "end") for x in found]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
            f"<title>{title}</title>",
            f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
            f'<polyline points="{at(0, most)} {at(0, 0)} {at(most, 0)}" fill="none" stroke="#444"/>',
            f'<polyline points="{at(0, 0)} {at(most, most)}" fill="none" stroke="#bbb" stroke-dasharray="4"/>',
            f'<polyline points="{" ".join(points)}" fill="none" stroke="#0a7" stroke-width="2"/>',
            *dots,
            *marks,
            text(_WIDTH / 2, _HEIGHT - 8, "devices"),
            text(_WIDTH / 2, 24, title),
            "</svg>",
            "",
        ]
    )
