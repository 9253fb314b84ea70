"""Draws what benchmarks measured, as SVG files for the documents."""

from collections.abc import Mapping, Sequence

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
    parts = [
        f'<polyline points="{at(0, most)} {at(0, 0)} {at(most, 0)}" fill="none" stroke="#444"/>',
        f'<polyline points="{at(0, 0)} {at(most, most)}" fill="none" stroke="#bbb" stroke-dasharray="4"/>',
        f'<polyline points="{" ".join(points)}" fill="none" stroke="#0a7" stroke-width="2"/>',
        *dots,
        *marks,
        text(_WIDTH / 2, _HEIGHT - 8, "devices"),
        text(_WIDTH / 2, 24, title),
    ]
    return _svg(title, _WIDTH, _HEIGHT, parts)


def panels(title: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Return a plot with a panel for each series over the same minutes; each panel begins at 0."""
    panel, left = 110, 24
    minutes = max(x for points in series.values() for x, _ in points)
    parts = [f'<text x="{left}" y="24" style="{_STYLE}; font-weight: bold">{title}</text>']
    for number, (name, points) in enumerate(series.items()):
        top, most = 44 + number * (panel + 40), max(y for _, y in points) or 1.0
        at = [
            f"{left + x / minutes * (2 * _WIDTH - 2 * left):.1f},{top + 20 + panel - y / most * panel:.1f}"
            for x, y in points
        ]
        parts += [
            f'<text x="{left}" y="{top + 8}" style="{_STYLE}">{name}: ≤ {most:.1f}, {points[-1][1]:.1f} at the end</text>',
            f'<polyline points="{left},{top + 20} {left},{top + 20 + panel} {2 * _WIDTH - left},{top + 20 + panel}"'
            ' fill="none" stroke="#bbb"/>',
            f'<polyline points="{" ".join(at)}" fill="none" stroke="#0a7" stroke-width="1.5"/>',
        ]
    return _svg(title, 2 * _WIDTH, 60 + len(series) * (panel + 40), parts)


def _svg(title: str, width: int, height: int, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">'
    white = f'<rect width="{width}" height="{height}" fill="white"/>'
    return "\n".join([head, f"<title>{title}</title>", white, *parts, "</svg>", ""])
