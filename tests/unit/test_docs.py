"""The documents say what the code says: every reason, setting, command, metric, stage and error, and no other."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest
from prometheus_client.metrics import MetricWrapperBase

from pipelines.failure_reason import FailureReason
from pipelines.protocol import Stage
from server import errors, metrics
from server.jobs import EventType
from server.operator.command import backlot
from server.scheduler.gpu_state import TRANSITIONS
from server.settings import Settings
from tests.support import model_matrix
from tests.support.server import ROOT

DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.rglob("*.md")), ROOT / "CONTRIBUTING.md", ROOT / "README.md"]


def rows(page: str) -> list[list[str]]:
    """Return the cells of every table row that begins with a code, without the backquotes of the first cell."""
    lines = (DOCS / "reference" / page).read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]
    return [[first.strip("`"), *rest] for first, *rest in cells]


def test_every_failure_reason() -> None:
    assert sorted(row[0] for row in rows("reasons.md")) == sorted(FailureReason)


def test_every_event_and_stage() -> None:
    assert [row[0] for row in rows("events.md")] == [*EventType, *Stage]


def test_every_state_of_a_gpu_process_and_what_may_follow_it() -> None:
    table = (DOCS / "architecture.md").read_text().split("| state | meaning | may become |")[1].split("\n\n")[0]
    documented = {
        state: set(re.findall(r"`(\w+)`", may)) for state, may in re.findall(r"^\| `(\w+)` .*\|(.+)\|$", table, re.M)
    }
    assert documented == {state: set(after) - {state} for state, after in TRANSITIONS.items()}


def test_every_setting_with_its_default() -> None:
    documented = {row[0]: row[1].strip("`") for row in rows("settings.md")}
    defaults = {f"BACKLOT_{field.name.upper()}": field.default for field in msgspec.structs.fields(Settings)}
    assert documented == {
        name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in defaults.items()
    }


def test_every_error() -> None:
    documented = {row[0]: int(row[1]) for row in rows("errors.md")}
    classes: list[type[errors.ApiError]] = [errors.ApiError, *errors.ApiError.__subclasses__()]
    own = {error.code: error.status for error in classes}
    of_the_framework = {"NOT_FOUND": 404, "METHOD_NOT_ALLOWED": 405, "PAYLOAD_TOO_LARGE": 413, "RATE_LIMITED": 429}
    assert documented == own | of_the_framework


def test_every_metric_with_its_kind() -> None:
    documented = {row[0].removesuffix("_total"): row[1] for row in rows("metrics.md")}
    defined = [value for value in vars(metrics).values() if isinstance(value, MetricWrapperBase)]
    assert documented == {family.name: family.type for metric in defined for family in metric.collect()}


def commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    """Yield every command with its usage: `backlot clients add NAME`."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        else:
            context = click.Context(command)
            arguments = [param.make_metavar(context) for param in command.params if isinstance(param, click.Argument)]
            yield " ".join([path, name, *arguments]), command


def test_every_command_with_its_options() -> None:
    sections = (DOCS / "reference" / "commands.md").read_text().split("\n## ")[1].split("\n### ")[1:]
    documented = {
        section.split("\n")[0].strip("`"): set(re.findall(r"^\| `(--[a-z-]+)", section, re.MULTILINE))
        for section in sections
    }
    expected = {
        usage: {name for param in command.params if isinstance(param, click.Option) for name in param.opts} - {"--json"}
        for usage, command in commands(backlot, "backlot")
    }
    assert documented == expected


def test_every_command_takes_json() -> None:
    for usage, command in commands(backlot, "backlot"):
        assert "--json" in [name for param in command.params for name in param.opts], usage


def test_the_page_of_models_is_made_of_the_rows_that_are_tried() -> None:
    assert model_matrix.PAGE.read_text() == model_matrix.page()


def test_every_script() -> None:
    named = {row[0] for row in rows("commands.md") if row[0].startswith("./scripts/")}
    assert named == {f"./scripts/{path.name}" for path in (ROOT / "scripts").iterdir() if path.is_file()}


def test_the_page_explains_every_reason_a_job_can_fail_with() -> None:
    words = (ROOT / "server" / "studio" / "words.js").read_text()
    table = words.split("const REASONS = {")[1].split("};")[0]
    explained = re.findall(r"^  (\w+): ", table, re.MULTILINE)
    # A stopped server fails no job: it runs again after the next start. No image is in a GPU process that is starting.
    never = {FailureReason.SERVER_STOPPED, FailureReason.START_TIMEOUT}
    assert sorted(explained) == sorted(set(FailureReason) - never)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_is_there(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []
    paths = re.findall(r"`((?:server|pipelines|scripts|tests|docs|client)/[\w./-]+)`", text)
    assert [path for path in paths if not (ROOT / path).exists()] == []
