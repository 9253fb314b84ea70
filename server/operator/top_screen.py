"""One frame of `backlot top`."""

from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pipelines.printable import printable

#: Lines of a frame beside those of devices, models and jobs.
_FRAME = 8
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_STYLES = {"running": "green", "ready": "green", "loaded": "green", "loading": "yellow", "starting": "yellow"}
_WRONG = {"restarting", "stopped", "failed"}
#: Columns that give way on a narrow terminal, the widest first. The others stay whole: an id is of use only as a whole.
_FLEXIBLE = {"device", "does", "model", "on", "problem", "client", "name"}


def screen(look: dict[str, Any], height: int) -> RenderableType:
    """Return what the server said, drawn for a terminal of `height` lines; jobs that do not fit are counted.

    Models that are switched off are left out: `backlot models list` has them, and here the jobs need the room.
    """
    models = [model for model in look["models"] if model["state"] != "disabled"]
    room = max(3, height - _FRAME - len(look["devices"]) - len(models))
    return Group(_headline(look), Text(), _devices(look), Text(), _models(models), Text(), _jobs(look["queue"], room))


def _headline(look: dict[str, Any]) -> Text:
    state, disk = look["queue"]["state"], look["disk"]
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append("backlot ", "bold")
    line.append(
        f"{look['url']}   images waiting {state['images_waiting']}, in work {state['images_in_flight']},"
        f" disk free {size(disk['free_bytes'])}"
    )
    if state["paused_at"] is not None:
        line.append("   PAUSED", "bold red")
    return line


def _devices(look: dict[str, Any]) -> Table:
    table = _table("device", "state", "does", "slots", "images", "memory")
    for device in look["devices"]:
        batch = device["batch"]
        does = f"loading {device['loading']}" if device["loading"] else device["reason"] or ""
        if batch is not None:
            does = f"{batch['model']} {batch['width']}×{batch['height']}"
        used, total = device["memory_used_bytes"], device["memory_total_bytes"]
        table.add_row(
            _text(f"{device['name']} {device['device_name']}"),
            _state(device["state"]),
            _text(does),
            f"{device['images_in_slots']}/{device['slots']}",
            str(device["images_generated"]),
            "" if used is None or total is None else f"{size(used)} of {size(total)}",
        )
    return table


def _models(models: list[dict[str, Any]]) -> Table:
    table = _table("model", "state", "on", "memory", "problem")
    for model in models:
        table.add_row(
            _text(model["name"]),
            _state(model["state"]),
            _text(", ".join(model["devices"])),
            "" if model["bytes"] is None else size(model["bytes"]),
            _text(model["error"] or ""),
        )
    return table


def _jobs(queue: dict[str, Any], room: int) -> RenderableType:
    if not queue["jobs"]:
        return Text("nothing waits and nothing runs", "dim")
    table = _table("place", "job", "client", "model", "images", "progress", "name")
    shown = queue["jobs"][:room]
    for row in shown:
        job = row["job"]
        place = "runs" if row["queue_position"] is None else str(row["queue_position"] + 1)
        table.add_row(
            f"{place} front" if row["front"] else place,
            job["public_id"],
            _text(job["client"]),
            _text(job["model"]),
            f"{row['images_generated']}/{job['images']}",
            ProgressBar(total=1, completed=row["progress"], width=8),
            _text(job["display_name"]),
        )
    left = queue["total"] - len(shown)
    return Group(table, Text(f"and {left} more", "dim")) if left else table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in columns:
        table.add_column(name, no_wrap=name not in _FLEXIBLE, overflow="ellipsis")
    return table


def _state(state: str) -> Text:
    return Text(state, "red" if state in _WRONG else _STYLES.get(state, ""))


def _text(text: str) -> Text:
    """Return text from elsewhere, which may neither move the cursor nor be read as markup."""
    return Text(printable(text), no_wrap=True, overflow="ellipsis")


def size(count: int) -> str:
    """Return bytes for people: `36 GiB`."""
    value, unit = float(count), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.0f} {_UNITS[unit]}"
