"""`backlot-client`, the command."""

import argparse
import os
import sqlite3
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from backlot_client.answers import JobStatus
from backlot_client.batch.journal import InUse
from backlot_client.batch.table import TableError
from backlot_client.client import DEFAULT_URL
from backlot_client.command import batch, generate, reads
from backlot_client.command.bars import printable
from backlot_client.command.output import failure_of, print_json
from backlot_client.errors import BacklotError
from backlot_client.names import TemplateError
from backlot_client.spec import Lora

_GENERATE_NAMES = "{scene_type}-{mood}-{seed}.png"
_BATCH_NAMES = "{row:04}-{scene_type}-{mood}.png"
#: The exit status of a command that Ctrl-C ended, as shells have it.
_INTERRUPTED = 130


def main() -> None:
    arguments = _parser().parse_args()
    if (odd := _not_utf8(arguments)) is not None:
        arguments.refuse(f"{odd!r} is not UTF-8 text")
    if arguments.run is generate.generate and arguments.output is None and not arguments.dry_run:
        arguments.refuse("say with -o where the pictures go; --dry-run alone needs no folder")
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
    except (BacklotError, TableError, TemplateError, InUse, sqlite3.Error, OSError) as error:
        if isinstance(error, BrokenPipeError):
            # The reader of the output, such as `head`, is gone. Python flushes again at exit, so that must go nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)
        _tell(error, as_json=arguments.json)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    sys.exit(status)


def _not_utf8(arguments: argparse.Namespace) -> str | None:
    """Return an argument that no request can carry: a shell passes on any bytes. Paths may have any."""
    for value in vars(arguments).values():
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and not _is_utf8(text):
                return text
    return None


def _is_utf8(text: str) -> bool:
    # Python keeps a byte that is not UTF-8 as a surrogate.
    return not any("\udc80" <= letter <= "\udcff" for letter in text)


def _tell(error: Exception, *, as_json: bool) -> None:
    if not as_json:
        print(*(printable(line) for line in f"backlot-client: {error}".splitlines()), sep="\n", file=sys.stderr)
        return
    print_json({"error": failure_of(error)})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="backlot-client", description="Generate pictures with a Backlot server.")
    _add_common(parser, url=None, key=None, json=False)
    parser.add_argument("--version", action="version", version=version("backlot-client"))
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_generate(_command(commands, "generate", generate.generate, "make pictures of one spec"))
    _add_batch(_command(commands, "batch", batch.batch, "make a picture for each row of a file; again, to go on"))

    command = _command(commands, "jobs", reads.list_jobs, "list jobs, newest first")
    command.add_argument("--status", choices=[status.value for status in JobStatus])
    _add_metadata(command, "whose metadata has this")
    command.add_argument("--limit", type=_whole(1, 200), default=50, metavar="N")
    command = _command(commands, "cancel", reads.cancel_jobs, "end jobs and get their credits back")
    command.add_argument("job_ids", nargs="+", metavar="JOB")
    command = _command(
        commands,
        "retry",
        reads.retry_jobs,
        "make new jobs of those that failed, at the price of now. Run again within a day it makes no others: if a new job "
        "failed too, name that one",
    )
    command.add_argument("job_ids", nargs="+", metavar="JOB")
    _add_max_credits(command, "a job")
    _command(commands, "credits", reads.show_credits, "show the balance")
    _command(commands, "models", reads.list_models, "list the models that --image-model may name")
    command = _command(commands, "catalog", reads.list_backgrounds, "list the catalogue's backgrounds, newest first")
    command.add_argument("--scene-type", metavar="S")
    command.add_argument("--status", choices=["active", "archived"])
    command.add_argument("--query", metavar="TEXT", help="in name, scene, mood or prompt")
    command.add_argument("--image-model", metavar="MODEL")
    _add_metadata(command, "whose metadata has this")
    command.add_argument("--favourite", action="store_const", const=True, help="favourites alone")
    command.add_argument("--limit", type=_whole(1, 200), default=50, metavar="N")
    return parser


def _add_generate(command: argparse.ArgumentParser) -> None:
    command.add_argument("--scene-type", required=True, metavar="S", help="what is shown, such as marble")
    command.add_argument("--mood", required=True, metavar="M", help="how it feels, such as warm")
    command.add_argument(
        "--color", action="append", dest="dominant_colors", metavar="C", help="a CSS colour; may be given up to 8 times"
    )
    command.add_argument(
        "--seed", type=_whole(0, 2**53 - 1), metavar="N", help="of the first picture; the next has N + 1"
    )
    command.add_argument("-n", dest="number", type=_whole(1, 1000), default=1, metavar="N", help="how many pictures")
    command.add_argument("--display-name", metavar="NAME")
    command.add_argument("--image-model", metavar="MODEL", help="one that `models` lists")
    command.add_argument("--resolution", metavar="TIER", help="such as 1K")
    command.add_argument("--aspect-ratio", metavar="W:H")
    command.add_argument("--prompt", metavar="TEXT", help="in place of the one made from scene, mood and colours")
    command.add_argument("--negative-prompt", metavar="TEXT")
    command.add_argument(
        "--lora",
        type=_lora,
        action="append",
        dest="loras",
        metavar="NAME[=WEIGHT]",
        help="one that `models --json` lists for the model, applied at -2 to 2, or else at 1; may be given up to 4 times",
    )
    _add_metadata(command, "a text that is kept with the picture")
    command.add_argument("--palette", choices=["prompt", "steer", "match"])
    command.add_argument("--pilot-brand", metavar="BRAND")
    command.add_argument("--on-technical-failure", choices=["fail", "retry", "deliver"])
    _add_max_credits(command, "a picture")
    command.add_argument(
        "--dry-run", action="store_true", help="say what it would cost and how it is understood; make and take nothing"
    )
    _add_output(command, _GENERATE_NAMES, required=False)


def _add_metadata(command: argparse.ArgumentParser, what: str) -> None:
    command.add_argument(
        "--metadata",
        type=_pair,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help=f"{what}; may be given more than once",
    )


def _add_max_credits(command: argparse.ArgumentParser, of: str) -> None:
    command.add_argument("--max-credits", type=_whole(0, 2**53 - 1), metavar="N", help=f"the most that {of} may cost")


def _add_batch(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "file", type=Path, metavar="FILE", help="a .csv whose columns are fields of a spec, or a .jsonl of specs"
    )
    command.add_argument(
        "--at-once", type=_whole(1, 64), default=24, metavar="N", help="rows under way at a time (%(default)s)"
    )
    _add_output(command, _BATCH_NAMES, required=True)


def _add_output(command: argparse.ArgumentParser, names: str, *, required: bool) -> None:
    command.add_argument("-o", "--output", type=Path, required=required, metavar="DIR", help="where the pictures go")
    command.add_argument(
        "--file-name", default=names, metavar="TEMPLATE", help=f"from fields of the spec ({names.replace('%', '%%')})"
    )


def _command(group: Any, name: str, run: Callable[[argparse.Namespace], int], help_: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = group.add_parser(name, help=help_, description=help_)
    # An option that is left out after the command's name stays as the main parser has it.
    _add_common(command, url=argparse.SUPPRESS, key=argparse.SUPPRESS, json=argparse.SUPPRESS)
    command.set_defaults(run=run, refuse=command.error)
    return command


def _add_common(parser: argparse.ArgumentParser, **defaults: Any) -> None:
    parser.add_argument("--url", default=defaults["url"], help=f"the server (BACKLOT_URL, else {DEFAULT_URL})")
    parser.add_argument("--key", default=defaults["key"], help="your key (better BACKLOT_KEY, which others cannot see)")
    parser.add_argument("--json", action="store_true", default=defaults["json"], help="print JSON, for scripts")


def _whole(least: int, most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number {least}–{most}")
        return int(text)

    return number


def _lora(text: str) -> Lora:
    name, has_weight, weight = text.partition("=")
    try:
        lora = Lora(name, float(weight)) if has_weight else Lora(name)
    except ValueError:
        lora = None
    if lora is None or not name or not -2 <= lora.weight <= 2 or not _is_utf8(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME or NAME=WEIGHT with a weight from -2 to 2")
    return lora


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals or not _is_utf8(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE, such as shot=s010")
    return key, value
