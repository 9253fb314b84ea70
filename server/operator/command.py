"""`backlot`, the operator's command. It works on the data folder, whether or not the server is running."""

import argparse
import os
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import sqlite_utils

from pipelines.recipe import NoRecipe
from server.keys import CLIENT, new_client, new_key
from server.ledger import clients, credits
from server.ledger.database import connect, migrate, transaction
from server.models_file import ModelsFileError, load_models
from server.operator.replay import CannotReplay, Replay, replay
from server.settings import Settings, SettingsError, read_settings


class CommandError(Exception):
    """What was asked cannot be done; the message says why and what to do."""


#: Errors whose message is all that the operator needs.
_TOLD = (
    CommandError,
    CannotReplay,
    NoRecipe,
    SettingsError,
    ModelsFileError,
    clients.NoSuchClient,
    clients.ClientExists,
    sqlite3.Error,
)
#: Far above any balance, and a sum of them within SQLite's 64 bits.
_MOST_CREDITS = 10**12


def main() -> None:
    arguments = _parser().parse_args()
    try:
        settings = read_settings()
        arguments.run(settings, arguments)
        sys.stdout.flush()
    except _TOLD as error:
        sys.exit(f"backlot: {error}")
    except BrokenPipeError:
        # Whoever read the answer, such as `head`, has read enough; Python would flush again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def add_client(settings: Settings, arguments: argparse.Namespace) -> None:
    key = _in_ledger(settings, lambda c: new_client(c, arguments.name, arguments.credits, test=arguments.test))
    _show(arguments, {"name": arguments.name, "key": key, "credits": arguments.credits}, key)


def list_clients(settings: Settings, arguments: argparse.Namespace) -> None:
    rows = _report(
        settings,
        "SELECT name, test, balance, clients.created_at,"
        " (SELECT count(*) FROM keys WHERE client_id = clients.id AND revoked_at IS NULL) AS keys,"
        " (SELECT count(*) FROM jobs WHERE client_id = clients.id) AS jobs FROM clients ORDER BY name",
    )
    for row in rows:
        row["test"] = bool(row["test"])
    _table(arguments, rows)


def grant(settings: Settings, arguments: argparse.Namespace) -> None:
    def work(connection: sqlite3.Connection) -> int:
        client = clients.named(connection, arguments.name)
        credits.grant(connection, client.id, arguments.credits)
        return credits.totals(connection, client.id).balance

    balance = _in_ledger(settings, work)
    _show(arguments, {"name": arguments.name, "balance": balance}, f"{arguments.name} has {balance} credits")


def set_secret(settings: Settings, arguments: argparse.Namespace) -> None:
    import secrets

    secret = secrets.token_urlsafe(32)

    def work(connection: sqlite3.Connection) -> None:
        client = clients.named(connection, arguments.name)
        clients.set_signing_secret(connection, client.id, secret)

    _in_ledger(settings, work)
    _show(arguments, {"name": arguments.name, "signing_secret": secret}, secret)


def add_key(settings: Settings, arguments: argparse.Namespace) -> None:
    capabilities = tuple(arguments.capability or CLIENT)

    def work(connection: sqlite3.Connection) -> str:
        client = clients.named(connection, arguments.name)
        return new_key(connection, client.id, test=client.test, capabilities=capabilities, priority=arguments.priority)

    key = _in_ledger(settings, work)
    _show(arguments, {"name": arguments.name, "key": key, "capabilities": list(capabilities)}, key)


def list_keys(settings: Settings, arguments: argparse.Namespace) -> None:
    rows = _report(
        settings,
        "SELECT hint AS key, name AS client, capabilities, priority, keys.created_at, revoked_at"
        " FROM keys JOIN clients ON clients.id = client_id ORDER BY keys.id",
    )
    for row in rows:
        row["capabilities"] = row["capabilities"].split()
    _table(arguments, rows)


def revoke_keys(settings: Settings, arguments: argparse.Namespace) -> None:
    # A whole key is as good as its hint, so that it can be pasted from wherever it leaked.
    which = arguments.which[:14] if arguments.which.startswith("sk_") else arguments.which
    revoked = _in_ledger(settings, lambda connection: clients.revoke_keys(connection, which))
    if not revoked:
        raise CommandError(f"no key to revoke is known as {which!r}; `backlot keys list` shows them")
    _show(arguments, {"revoked": revoked}, f"{revoked} key{'s'[: revoked > 1]} revoked")


def list_requests(settings: Settings, arguments: argparse.Namespace) -> None:
    rows = _report(
        settings,
        "SELECT request_logs.id, request_logs.created_at, clients.name AS client, method, route, status, error_code,"
        " job_id, credits, duration_ms, remote, user_agent"
        " FROM request_logs LEFT JOIN clients ON clients.id = client_id"
        " WHERE (:client IS NULL OR clients.name = :client) AND (:failed = 0 OR status >= 400)"
        " ORDER BY request_logs.created_at DESC LIMIT :limit",
        {"client": arguments.client, "failed": int(arguments.failed), "limit": arguments.limit},
    )
    _table(arguments, rows)


def list_models(settings: Settings, arguments: argparse.Namespace) -> None:
    models = load_models(settings.models)
    sizes = _measured(settings)
    _table(
        arguments,
        [
            {
                "name": name,
                "enabled": card.enabled,
                "default": name == models.default_model,
                "source": card.folder or f"{card.hub}@{card.revision or 'main'}",
                "dtype": card.dtype,
                "tiers": card.tiers,
                "steps": card.steps,
                "guidance": card.guidance,
                "batch_shapes": card.shapes,
                "licence": card.licence,
                "measured": sizes.get(name, []) if arguments.json else _in_words(sizes.get(name, [])),
            }
            for name, card in models.models.items()
        ],
    )


def _measured(settings: Settings) -> dict[str, list[dict[str, Any]]]:
    """What denoiser calls of each model were measured to cost on this box."""
    if not settings.database.exists():
        return {}
    migrate(settings.database)
    found: dict[str, list[dict[str, Any]]] = {}
    rows = _report(settings, "SELECT * FROM sizes ORDER BY model, device, width, height, shape")
    for row in rows:
        found.setdefault(row.pop("model"), []).append(row)
    return found


def _in_words(sizes: list[dict[str, Any]]) -> str:
    """`512x512 on NVIDIA …: 1 in 0.021 s, 2 in 0.030 s, 4 does not fit`."""
    by_size: dict[str, list[str]] = {}
    for row in sizes:
        cost = "does not fit" if row["seconds_per_step"] is None else f"in {row['seconds_per_step']:.3f} s"
        by_size.setdefault(f"{row['width']}x{row['height']} on {row['device']}", []).append(f"{row['shape']} {cost}")
    return "; ".join(f"{size}: {', '.join(costs)}" for size, costs in by_size.items())


def check_models(settings: Settings, arguments: argparse.Namespace) -> None:
    try:
        models = load_models(settings.models)
    except ModelsFileError as error:
        if not arguments.json:
            raise
        _show(arguments, {"ok": False, "problems": error.problems}, "")
        sys.exit(1)
    enabled = list(models.enabled)
    answer = {"ok": True, "problems": [], "enabled": enabled, "default": models.default_model}
    _show(arguments, answer, f"{settings.models} is good: {', '.join(enabled)} enabled, default {models.default_model}")


def replay_image(settings: Settings, arguments: argparse.Namespace) -> None:
    result = replay(settings, arguments.image)
    told = "identical" if result.identical else _difference(result)
    _show(arguments, msgspec.to_builtins(result), told)
    if not result.identical:
        sys.exit(1)


def _difference(result: Replay) -> str:
    pixels = (
        f"{result.values_different} of {result.values} values differ, by at most {result.largest_difference} of 255"
        if result.values_different
        else "the pixels are identical, the recipe is not"
    )
    if not result.values_different and not result.changes:
        return "not identical: the pixels and the recipe are the same, but the file was written in another way"
    changes = [f"  {name}: {then} then, {now} now" for name, (then, now) in sorted(result.changes.items())]
    return "\n".join([f"not identical: {pixels}", *(changes or ["  the recipes are equal"])])


def back_up(settings: Settings, arguments: argparse.Namespace) -> None:
    """A consistent copy, made while the server runs (SQLite's online backup)."""
    target: Path = arguments.target
    if target.exists():
        raise CommandError(f"{target} exists already; name a new file")
    if not target.absolute().parent.is_dir():
        raise CommandError(f"there is no folder {target.parent} for the copy; make it first")
    _need_database(settings)
    with closing(connect(settings.database, read_only=True)) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)
        verdict = copy.execute("PRAGMA integrity_check").fetchone()[0]
    target.chmod(0o600)
    if verdict != "ok":
        raise CommandError(f"the copy {target} is damaged: {verdict}")
    _show(arguments, {"file": str(target), "bytes": target.stat().st_size}, f"{target} is a good copy")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="backlot", description="Operate a Backlot server; settings come from BACKLOT_DATA and BACKLOT_MODELS."
    )
    groups = parser.add_subparsers(required=True, metavar="COMMAND")

    group = groups.add_parser("clients", help="clients and their credits").add_subparsers(required=True)
    command = _command(group, "add", add_client, "make a client and print its key, which is shown this once")
    command.add_argument("name", type=_name)
    command.add_argument("--credits", type=_whole(0, _MOST_CREDITS), default=0, metavar="N")
    command.add_argument("--test", action="store_true", help="an sk_test_ key")
    _command(group, "list", list_clients, "clients, balances, keys, jobs")
    command = _command(group, "grant", grant, "give a client credits")
    command.add_argument("name")
    command.add_argument("credits", type=_whole(1, _MOST_CREDITS), metavar="N")
    command = _command(group, "secret", set_secret, "make a new signing secret and print it")
    command.add_argument("name")

    keys = groups.add_parser("keys", help="API keys").add_subparsers(required=True)
    command = _command(keys, "add", add_key, "make another key for a client and print it")
    command.add_argument("name")
    command.add_argument(
        "--priority",
        type=int,
        choices=range(-4, 5),
        default=0,
        help="each step doubles its share of the GPU, 0 is usual",
    )
    command.add_argument("--capability", action="append", choices=["jobs:create", "jobs:read", "admin"])
    _command(keys, "list", list_keys, "keys by their first characters")
    command = _command(keys, "revoke", revoke_keys, "revoke a key, or all keys of a client")
    command.add_argument("which", metavar="KEY|CLIENT")

    command = _command(groups, "requests", list_requests, "the request log, newest first")
    command.add_argument("--client", metavar="NAME")
    command.add_argument("--failed", action="store_true", help="only status 400 and above")
    command.add_argument("--limit", type=_whole(1, 1_000_000), default=50, metavar="N")

    command = _command(groups, "replay", replay_image, "make an image again from its own text chunk and compare")
    command.add_argument("image", type=Path, metavar="IMAGE.png")

    models = groups.add_parser("models", help="models.toml").add_subparsers(required=True)
    _command(models, "list", list_models, "the models of models.toml")
    _command(models, "check", check_models, "is models.toml good? says every problem")

    database = groups.add_parser("db", help="the database").add_subparsers(required=True)
    command = _command(database, "backup", back_up, "copy the database while the server runs")
    command.add_argument("target", type=Path, metavar="FILE")
    return parser


def _command(
    group: Any, name: str, run: Callable[[Settings, argparse.Namespace], None], help_: str
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = group.add_parser(name, help=help_, description=help_)
    command.add_argument("--json", action="store_true", help="print JSON, for scripts")
    command.set_defaults(run=run)
    return command


def _whole(least: int, most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isascii() or not text.removeprefix("-").isdigit() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number {least}–{most}")
        return int(text)

    return number


def _name(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("a name needs a letter at least")
    return text


def _in_ledger(settings: Settings, work: Callable[[sqlite3.Connection], Any]) -> Any:
    """Run one durable transaction, on a new database where there is none."""
    migrate(settings.database)
    with closing(connect(settings.database)) as connection, transaction(connection):
        return work(connection)


def _report(settings: Settings, query: str, values: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    _need_database(settings)
    with closing(connect(settings.database, read_only=True)) as connection:
        return list(sqlite_utils.Database(connection).query(query, values or {}))


def _need_database(settings: Settings) -> None:
    if not settings.database.exists():
        raise CommandError(
            f"there is no database at {settings.database}; start the server once, or set BACKLOT_DATA to its data folder"
        )


def _show(arguments: argparse.Namespace, data: dict[str, Any], text: str) -> None:
    print(msgspec.json.encode(data).decode() if arguments.json else text)


def _table(arguments: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    if arguments.json:
        print(msgspec.json.encode(rows).decode())
        return
    if not rows:
        print("(none)")
        return
    cells = [list(rows[0]), *([_cell(value) for value in row.values()] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    for row in cells:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _cell(value: object) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return "" if value is None else str(value)


if __name__ == "__main__":
    main()
