"""The ledger entries, which move a client's credits: grant, charge, refund. They are only ever added."""

import sqlite3
from enum import StrEnum

import msgspec
from ulid import ULID

from server.clock import Time, now
from server.jobs import JobStatus
from server.ledger.idempotency import Idempotency, first_answer, keep
from server.operator_error import OperatorError

#: Credits of one grant at most: far above any balance, and their sums stay within SQLite's 64 bits.
MOST_CREDITS = 10**12


class LedgerEntryKind(StrEnum):
    GRANT = "grant"
    CHARGE = "charge"
    REFUND = "refund"


class Totals(msgspec.Struct, frozen=True):
    """`balance = granted - spent + refunded`."""

    balance: int
    granted: int
    spent: int
    refunded: int


class TooMuchTaken(OperatorError):
    """More credits were to be taken back than the client has."""

    def __init__(self, name: str, balance: int, amount: int) -> None:
        super().__init__(
            f"{amount} credits cannot be taken back from {name!r}, which has {balance}; take {balance} at most"
        )


def grant(connection: sqlite3.Connection, client_id: int, amount: int, label: str = "") -> None:
    """Give a client credits, or take some back if `amount` is negative: `granted` sums up both.

    Without a label the client's transactions call it a credit pack, or credits taken back.

    Must run in a transaction begun IMMEDIATE. Raises ValueError if `amount` is 0, and TooMuchTaken.
    """
    if amount == 0:
        raise ValueError("a grant of 0 credits: it gives or takes at least 1")
    row = connection.execute("SELECT name, balance FROM clients WHERE id = ?", (client_id,)).fetchone()
    if row["balance"] + amount < 0:
        raise TooMuchTaken(row["name"], row["balance"], -amount)
    label = label or ("Credit pack" if amount > 0 else "Credits taken back")
    _enter(connection, client_id, LedgerEntryKind.GRANT, amount, None, label)


def grant_once(
    connection: sqlite3.Connection,
    client_id: int,
    amount: int,
    label: str,
    asker_id: int,
    idempotency: Idempotency | None,
) -> Totals:
    """Grant as `grant` does, and return the totals after it.

    If the client `asker_id` made this request before, grant nothing, and return what answered it then.
    Must run in a transaction begun IMMEDIATE. Raises what `grant` raises, and KeyUsed.
    """
    earlier = None if idempotency is None else first_answer(connection, asker_id, idempotency)
    if earlier is not None:
        return msgspec.json.decode(earlier, type=Totals)
    grant(connection, client_id, amount, label)
    after = totals(connection, client_id)
    if idempotency is not None:
        keep(connection, asker_id, idempotency, after)
    return after


def charge(connection: sqlite3.Connection, client_id: int, job_id: int, amount: int, label: str) -> bool:
    """Take the price of a job; return False, and take nothing, if the balance is below it.

    Must run in a transaction begun IMMEDIATE, so that the balance read is the balance charged.
    """
    if balance(connection, client_id) < amount:
        return False
    _enter(connection, client_id, LedgerEntryKind.CHARGE, -amount, job_id, label)
    return True


def refund(connection: sqlite3.Connection, job_id: int) -> int:
    """Give back what the job was charged, once, and return that amount; a second call adds nothing."""
    row = connection.execute(
        "SELECT client_id, amount, label FROM entries WHERE job_id = ? AND kind = 'charge'", (job_id,)
    ).fetchone()
    if row is None:
        return 0
    refunded = connection.execute("SELECT 1 FROM entries WHERE job_id = ? AND kind = 'refund'", (job_id,)).fetchone()
    if refunded is None:
        _enter(connection, row["client_id"], LedgerEntryKind.REFUND, -row["amount"], job_id, row["label"])
    return -int(row["amount"])


def balance(connection: sqlite3.Connection, client_id: int) -> int:
    row = connection.execute("SELECT balance FROM clients WHERE id = ?", (client_id,)).fetchone()
    return int(row["balance"])


def totals(connection: sqlite3.Connection, client_id: int) -> Totals:
    row = connection.execute(
        "SELECT balance,"
        " (SELECT coalesce(sum(amount), 0) FROM entries WHERE client_id = clients.id AND kind = 'grant') AS granted,"
        " (SELECT coalesce(-sum(amount), 0) FROM entries WHERE client_id = clients.id AND kind = 'charge') AS spent,"
        " (SELECT coalesce(sum(amount), 0) FROM entries WHERE client_id = clients.id AND kind = 'refund') AS refunded"
        " FROM clients WHERE id = ?",
        (client_id,),
    ).fetchone()
    return Totals(row["balance"], row["granted"], row["spent"], row["refunded"])


class TransactionKind(StrEnum):
    OPERATION = "operation"
    SUBSCRIPTION = "subscription"
    PACK = "pack"


class TransactionStatus(StrEnum):
    SUCCESS = "SUCCESS"
    REFUNDED = "REFUNDED"
    PENDING = "PENDING"
    FAILED = "FAILED"
    PURCHASED = "PURCHASED"


class TransactionFilter(StrEnum):
    SPEND = "spend"
    PURCHASES = "purchases"


class Transaction(msgspec.Struct, frozen=True):
    """A grant, or an operation with its charge net of its refund."""

    id: str
    kind: TransactionKind
    label: str
    credits_delta: int
    status: TransactionStatus
    created_at: Time


_KINDS: dict[TransactionFilter | None, tuple[LedgerEntryKind, ...]] = {
    TransactionFilter.SPEND: (LedgerEntryKind.CHARGE,),
    TransactionFilter.PURCHASES: (LedgerEntryKind.GRANT,),
    None: (LedgerEntryKind.CHARGE, LedgerEntryKind.GRANT),
}


def transactions(
    connection: sqlite3.Connection, client_id: int, only: TransactionFilter | None, limit: int, offset: int
) -> tuple[list[Transaction], int]:
    """Return a page of a client's transactions, newest first, and how many there are on all pages."""
    kinds = _KINDS[only]
    where = (
        "FROM entries LEFT JOIN jobs ON jobs.id = entries.job_id"
        f" WHERE entries.client_id = ? AND entries.kind IN ({', '.join('?' * len(kinds))})"
    )
    total = connection.execute(f"SELECT count(*) AS n {where}", (client_id, *kinds)).fetchone()["n"]
    rows = connection.execute(
        "SELECT entries.public_id, entries.kind, entries.label, entries.amount, entries.created_at, jobs.status,"
        " (SELECT amount FROM entries AS back WHERE back.job_id = entries.job_id AND back.kind = 'refund') AS refund"
        f" {where} ORDER BY entries.id DESC LIMIT ? OFFSET ?",
        (client_id, *kinds, limit, offset),
    ).fetchall()
    return [_transaction(row) for row in rows], total


def _transaction(row: sqlite3.Row) -> Transaction:
    label, amount, created_at = row["label"], row["amount"], row["created_at"]
    if row["kind"] == LedgerEntryKind.GRANT:
        return Transaction(
            row["public_id"], TransactionKind.PACK, label, amount, TransactionStatus.PURCHASED, created_at
        )
    delta = amount + (row["refund"] or 0)
    status = _status(JobStatus(row["status"]), refunded=row["refund"] is not None)
    return Transaction(row["public_id"], TransactionKind.OPERATION, label, delta, status, created_at)


def _status(job: JobStatus, *, refunded: bool) -> TransactionStatus:
    if refunded:
        return TransactionStatus.REFUNDED
    if not job.ended:
        return TransactionStatus.PENDING
    return TransactionStatus.SUCCESS if job is JobStatus.SUCCESS else TransactionStatus.FAILED


def _enter(
    connection: sqlite3.Connection, client_id: int, kind: LedgerEntryKind, amount: int, job_id: int | None, label: str
) -> None:
    connection.execute(
        "INSERT INTO entries (public_id, client_id, kind, amount, job_id, label, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (str(ULID()), client_id, kind, amount, job_id, label, now()),
    )
