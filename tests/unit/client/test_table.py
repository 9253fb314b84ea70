"""Batch files: the rows of good ones, and the messages about bad ones."""

from pathlib import Path

import msgspec
import pytest
from backlot_client import BackgroundSpec, Lora
from backlot_client.batch.table import Row, TableError, read_rows


def rows_of(folder: Path, text: str, name: str = "batch.csv") -> list[Row]:
    path = folder / name
    path.write_bytes(text.encode())
    return read_rows(path)


def problems_of(folder: Path, text: str, name: str = "batch.csv") -> list[str]:
    with pytest.raises(TableError) as caught:
        rows_of(folder, text, name)
    return caught.value.problems


def test_a_csv_file(tmp_path: Path) -> None:
    text = (
        "scene_type,mood,dominant_colors,seed,eval_enabled,metadata,metadata.shot,loras\r\n"
        '"marble, veined",warm,"ivory, #fff navy",7,true,"{""take"": 2}",s010,"[{""name"": ""grain"", ""weight"": 0.5}]"\r\n'
        ",,,,,,,\r\n"
        "wood,cool\r\n"
    )
    first, second = rows_of(tmp_path, text)
    assert first.spec == BackgroundSpec(
        scene_type="marble, veined",
        mood="warm",
        dominant_colors=["ivory", "#fff", "navy"],
        seed=7,
        eval_enabled=True,
        metadata={"take": 2, "shot": "s010"},
        loras=[Lora("grain", 0.5)],
    )
    assert second.spec == BackgroundSpec(scene_type="wood", mood="cool")
    assert (first.number, second.number) == (1, 2)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_files_as_spreadsheets_write_them(tmp_path: Path, delimiter: str) -> None:
    text = delimiter.join(["\ufeffscene_type", "mood", "seed"]) + "\n" + delimiter.join(["märmor", "warm", "3"])
    assert rows_of(tmp_path, text)[0].spec == BackgroundSpec(scene_type="märmor", mood="warm", seed=3)


def test_a_json_lines_file(tmp_path: Path) -> None:
    text = '{"scene_type": "marble", "mood": "warm", "metadata": {"shot": [1, 2]}}\n\n{"scene_type": "wood", "mood": "cool"}'
    first, second = rows_of(tmp_path, text, "batch.jsonl")
    assert first.spec.metadata == {"shot": [1, 2]}
    assert second.number == 2


def test_every_problem_is_told_with_its_line(tmp_path: Path) -> None:
    assert problems_of(tmp_path, "scene_type,mood,seed\nmarble,warm,x\nwood,cool,7\nmarble,,\na,b,c,d\n") == [
        "line 2: seed 'x': Expected `int | null`, got `str`",
        "line 4: Object missing required field `mood`",
        "line 5: it has 4 cells, and the header 3",
    ]
    lines = '{"scene_type": "marble", "mood": "warm"}\n{"scene_type": "wood", "mod": "cool"}\nnonsense\n'
    unknown, malformed = problems_of(tmp_path, lines, "batch.jsonl")
    assert unknown == "line 2: Object contains unknown field `mod`"
    assert malformed.startswith("line 3: ")


@pytest.mark.parametrize(
    ("text", "name", "told"),
    [
        ("scene_type,mod\na,b", "x.csv", ["no field of a spec is called 'mod'; the", "column 'mood' is missing"]),
        (
            "shot,scene,mood\na,b,c",
            "x.csv",
            ["no field of a spec is called 'shot', 'scene'; the", "column 'scene_type' is missing"],
        ),
        ("scene_type,mood,metadata.\na,b,c", "x.csv", ["no field of a spec is called 'metadata.'; the"]),
        ("scene_type,mood,mood\na,b,c", "x.csv", ["column 'mood' is there 2 times"]),
        ("scene_type,mood\n", "x.csv", ["it has no rows"]),
        ("", "x.csv", ["column 'scene_type' is missing", "column 'mood' is missing"]),
        ('scene_type,mood\n"a,b', "x.csv", ["line 2: unexpected end of data"]),
        ("", "x.jsonl", ["it has no rows"]),
        ("", "x.xlsx", ["its name ends in '.xlsx'"]),
    ],
)
def test_files_that_are_no_batch(tmp_path: Path, text: str, name: str, told: list[str]) -> None:
    problems = problems_of(tmp_path, text, name)
    for part in told:
        assert any(problem.startswith(part) for problem in problems), problems


def test_a_file_in_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "latin.csv"
    path.write_bytes("scene_type,mood\nmärmor,warm".encode("latin-1"))
    with pytest.raises(TableError, match="UTF-8"):
        read_rows(path)


def test_a_row_is_known_by_what_it_asks_for(tmp_path: Path) -> None:
    """Check rows that are moved and added between two runs; equal rows are two pictures."""
    header = "scene_type,mood\n"
    marble, other_marble, wood = (
        row.identity for row in rows_of(tmp_path, f"{header}marble,warm\nmarble,warm\nwood,cool\n")
    )
    assert len({marble, other_marble, wood}) == 3
    moved = rows_of(tmp_path, f"{header}sand,bright\nwood,cool\nmarble,warm\nmarble,warm\n")
    assert [row.identity for row in moved[1:]] == [wood, marble, other_marble]


def test_a_spec_is_sent_without_what_is_left_at_its_default() -> None:
    assert (
        msgspec.json.encode(BackgroundSpec(scene_type="marble", mood="warm", seed=0))
        == b'{"scene_type":"marble","mood":"warm","seed":0}'
    )
