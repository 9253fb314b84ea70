"""Matching colours in fresh interpreters: the bytes do not depend on the number of threads."""

import os
import subprocess
import sys


def test_the_same_bytes_on_one_thread_and_on_four() -> None:
    program = (
        "import hashlib; from pipelines.output.palette import match; from tests.unit.test_palette import still_life;"
        "print(hashlib.sha256(match(still_life(), [(31, 42, 68), (243, 234, 215)]).tobytes()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "4")
    }
    assert len(digests) == 1
