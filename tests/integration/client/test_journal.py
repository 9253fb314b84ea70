"""The journal of a batch, on real files and with a real second process."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from backlot_client.batch.journal import InUse, Journal, Record, State

RECORD = Record(identity="r", state=State.SENDING, attempt=1, idempotency_key="k", body='{"mood":"warm"}', sent_at=1.5)
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


def test_a_folder_is_one_batch_at_a_time(tmp_path: Path) -> None:
    """The lock ends with the process that has it, also if it is killed."""
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
