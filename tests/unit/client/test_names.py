"""Names of files from templates."""

from pathlib import Path

import pytest
from backlot_client import Artifact, BackgroundSpec
from backlot_client.names import TemplateError, check_template, file_name, fits, unused
from backlot_client.partial_file import PartialFile, discard_parts

SPEC = BackgroundSpec(
    "Marble / veined", "warm", dominant_colors=["red"], metadata={"shot": "s/010", "take": 3, "tags": []}
)
IMAGE = Artifact(image_url="http://x/1", kind="catalog_image", role="final", label="Warm marble", meta={"seed": 42})


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{row:04}-{scene_type}-{mood}.png", "0007-Marble-veined-warm.png"),
        ("{seed}", "42.png"),
        ("{display_name}_{job_id}.PNG", "Warm-marble_01ID.PNG"),
        ("{shot}/{take:02}.png", "s-010/03.png"),
        ("{{}}.v1", "{}.v1.png"),
    ],
)
def test_templates(template: str, name: str) -> None:
    assert file_name(template, SPEC, IMAGE, "01ID", row=7) == name


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("{nothing}.png", "uses 'nothing'; this row has .*mood"),
        ("{tags}.png", "uses 'tags'"),
        ("{mood.upper}", "uses 'mood.upper'"),
        ("{}", "uses '0'"),
        ("{mood:04d}", "cannot be filled in"),
        ("{mood", "cannot be filled in"),
        ("/tmp/{mood}", "no file within the output folder"),
        ("../{mood}", "no file within the output folder"),
    ],
)
def test_templates_that_name_no_file(template: str, told: str) -> None:
    with pytest.raises(TemplateError, match=told):
        check_template(template, SPEC, row=1)


@pytest.mark.parametrize("text", ["../../etc/passwd", "..", "a\x1b[31m\n", "", " ", "/", "CON:"])
def test_what_a_table_brings_stays_within_one_name(text: str) -> None:
    name = file_name("{shot}", BackgroundSpec(scene_type="a", mood="b", metadata={"shot": text}), IMAGE, "01ID")
    assert "/" not in name
    assert name.isprintable()
    assert not name.startswith(".")


#: Texts of 67 and 69 characters, of two bytes each, which fill a name together.
CYRILLIC = BackgroundSpec(
    scene_type="Мраморная столешница у окна с мягким утренним светом и тенью листвы",
    mood="тёплое спокойное настроение позднего летнего вечера в загородном доме",
    metadata={"shot": "背景" * 100},
)


@pytest.mark.parametrize(
    "template",
    [
        "{scene_type}-{mood}-{seed}.png",
        "{shot}/{scene_type}{mood}{shot}{scene_type}.png",
        "{scene_type}{mood}{shot}{scene_type}/{seed}",
        "𝄞" * 100,
        "{row:0400}",
    ],
    ids=["words", "a folder", "no end", "the template", "digits"],
)
def test_a_file_of_any_name_can_be_written(tmp_path: Path, template: str) -> None:
    """Check that the disk takes any name that the check lets pass, with a number too and while the file is a part."""
    check_template(template, CYRILLIC, row=1)
    name = file_name(template, CYRILLIC, IMAGE, "01ID", row=1)
    for path in (tmp_path / name, tmp_path / unused(name, lambda found: found == name)):
        with PartialFile(path) as file:
            file.write(b"whole")
            file.keep()
        discard_parts(path)
        assert path.read_bytes() == b"whole"
        assert [found for found in path.parent.iterdir() if found.suffix == ".part"] == []
    assert fits(name)


def test_long_words_leave_room_for_the_seed() -> None:
    name = file_name("{scene_type}-{mood}-{seed}.png", CYRILLIC, IMAGE, "01ID")
    assert name == "Мраморная-столешница-у-окна-с-мягким-утренн-тёплое-спокойное-настроение-позднего-летне-42.png"


def test_a_name_as_long_as_the_disk_takes_is_one_that_fits(tmp_path: Path) -> None:
    """Check that a path of the caller's own may be as long, and that its part is no longer."""
    name = f"{'я' * 125}x.png"
    assert len(name.encode()) == 255
    target = tmp_path / name
    with PartialFile(target) as file:
        file.keep()
    assert target.exists()
    assert fits(f"a/{name}")
    with pytest.raises(OSError, match="too long"):
        (tmp_path / f"y{name}").touch()
    assert not fits(f"y{name}/a.png")


def test_a_name_that_is_used_gets_a_number() -> None:
    assert unused("a/b.png", lambda name: name in ("a/b.png", "a/b-2.png")) == "a/b-3.png"
    assert unused("b.png", lambda name: False) == "b.png"


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.png"
    with PartialFile(target) as file:
        file.write(b"part")
        assert not target.exists()
    assert list(target.parent.iterdir()) == []
    with PartialFile(target) as file:
        file.write(b"who")
        file.write(b"le")
        file.keep()
    assert target.read_bytes() == b"whole"
    assert list(target.parent.iterdir()) == [target]


def test_parts_of_killed_processes_are_discarded(tmp_path: Path) -> None:
    target = tmp_path / "a.png"
    PartialFile(target).write(b"never kept")
    other = PartialFile(tmp_path / "b.png")
    assert len(list(tmp_path.iterdir())) == 2
    discard_parts(target)
    with other:
        assert len(list(tmp_path.iterdir())) == 1
