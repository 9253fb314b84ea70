"""Cancels that a file keeps for the next start."""

from pathlib import Path

from server.scheduler.kept_cancels import KeptCancels


def test_what_was_added_is_read_until_it_is_removed(tmp_path: Path) -> None:
    kept = KeptCancels(tmp_path / "cancelled.txt")
    assert kept.read() == []
    kept.add("a")
    kept.add("b")
    assert kept.read() == ["a", "b"]
    kept.remove(["a"])
    assert kept.read() == ["b"]
    kept.add("c")
    kept.remove(["b", "c"])
    assert kept.read() == []
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_keeps_what_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "cancelled.txt"
    path.write_bytes(b"a\n\xff\xfe\nb\nhalf")
    found = KeptCancels(path).read()
    assert (found[0], found[2], len(found)) == ("a", "b", 3)
