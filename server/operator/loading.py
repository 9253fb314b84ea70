"""Load one model in a GPU process of its own, to see whether it loads."""

import asyncio

from pipelines.model_card import ModelCard
from pipelines.protocol import Load, Loaded, LoadFailed, Report
from server.operator.errors import CommandError
from server.operator.gpu_process import ask
from server.settings import Settings


def load_alone(settings: Settings, card: ModelCard) -> Loaded:
    """Return the report of the loaded model. Raises CommandError if it cannot be loaded."""
    return asyncio.run(ask(settings, "check", [Load(card)], _loaded_in))


def _loaded_in(report: Report) -> Loaded | None:
    match report:
        case Loaded():
            return report
        case LoadFailed(message=message):
            raise CommandError(message)
        case _:
            return None
