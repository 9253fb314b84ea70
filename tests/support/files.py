"""Files and rows that tests begin with."""

from pathlib import Path
from typing import Any

from server.ledger.request_log import RequestRow

#: The VAE of the tiny pipelines halves a side four times; their UNet halves it once more.
MULTIPLE = 32


def request_row(request_id: str) -> RequestRow:
    """Return the request log's row of a dispatch by the first client."""
    return RequestRow(
        id=request_id,
        client_id=1,
        key_id=None,
        method="POST",
        route="/v1/background-generator",
        status=202,
        error_code=None,
        job_id=None,
        credits=0,
        duration_ms=1.0,
        remote="",
        user_agent="",
    )


def models_file(path: Path, folders: dict[str, Path], extra: str = "", **card: Any) -> Path:
    """Write a models.toml with a card for each folder; the first is the default. `extra` is put at its end."""
    settings = {"tiers": ["0.5K"], "steps": 3, "guidance": 2.0, "max_batch": 4, **card}
    lines = [f'default_model = "{next(iter(folders))}"']
    for name, folder in folders.items():
        lines += [
            f"[models.{name}]",
            f'folder = "{folder}"',
            'licence = "made for tests"',
            f"multiple_of = {MULTIPLE}",
            'prompt = "{scene} {mood} {colors}"',
            *(f"{key} = {value}" for key, value in settings.items()),
        ]
    path.write_text("\n".join([*lines, extra, ""]))
    return path
