"""The journal of a batch, on real files and with a real second process."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from backlot_client.batch.journal import NAME, InUse, Journal, Record, State

RECORD = Record(
    identity="r", state=State.SENDING, job_number=1, idempotency_key="k", body='{"mood":"warm"}', sent_at=1.5
)
OPEN_AND_WAIT = """
import sys
from pathlib import Path
from backlot_client.batch.journal import Journal
journal = Journal(Path(sys.argv[1]))
print("open", flush=True)
sys.stdin.read()
"""


def test_records_outlive_the_process(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "out")) as journal:
        batch_id = journal.batch_id
        journal.put(RECORD)
        accepted = journal.put(msgspec.structs.replace(RECORD, state=State.ACCEPTED, job_id="01ID"))
    with closing(Journal(tmp_path / "out")) as journal:
        assert journal.records == {"r": accepted}
        assert journal.batch_id == batch_id
    with closing(Journal(tmp_path / "other")) as journal:
        assert journal.records == {}
        assert journal.batch_id != batch_id


def test_a_record_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    with closing(Journal(tmp_path)) as journal:
        journal.put(RECORD)
    text = (
        '{"identity":"r","state":"failed","attempt":2,"idempotency_key":"k","body":"{}","sent_at":1.5,"job_id":"01ID",'
        '"files":[],"sizes":[],"message":"nan_latents: it was black"}'
    )
    with closing(sqlite3.connect(tmp_path / NAME)) as file:
        file.execute("UPDATE entries SET entry = ?", (text,))
        file.commit()
    with closing(Journal(tmp_path)) as journal:
        [record] = journal.records.values()
        assert (record.state, record.job_number, record.job_id) == (State.FAILED, 2, "01ID")
        journal.put(record)
    with closing(sqlite3.connect(tmp_path / NAME)) as file:
        assert file.execute("SELECT entry FROM entries").fetchone() == (text,)


def test_a_folder_is_one_batch_at_a_time(tmp_path: Path) -> None:
    """Check that the lock ends with the process that has it, also if it is killed."""
    other = subprocess.Popen(
        [sys.executable, "-c", OPEN_AND_WAIT, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "open\n"
    with pytest.raises(InUse, match="another batch is running"):
        Journal(tmp_path)
    other.kill()
    other.communicate()
    Journal(tmp_path).close()
