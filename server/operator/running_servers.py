"""Finds the data folders that servers on this box run on: a server holds the lock file of its folder open while it runs."""

from pathlib import Path

import psutil

from server.data_folder import LOCK


def data_folders_in_use() -> list[Path]:
    """Return the data folders of the servers whose files this user may see: the user's own, or all of them for root."""
    found = set()
    for process in psutil.process_iter():
        try:
            files = process.open_files()
        except psutil.Error:
            # The process has ended, or is another user's.
            continue
        found |= {Path(file.path).parent for file in files if Path(file.path).name == LOCK}
    return sorted(found)
