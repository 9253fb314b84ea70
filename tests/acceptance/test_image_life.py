"""The life of an image after it was made: found, renamed, archived, downloaded, removed."""

import csv
import io
import sqlite3
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from PIL import Image

from tests.support.server import ServerWithoutGpu, wait_for

BACKGROUNDS = "/v1/catalog/backgrounds"


def made(server: ServerWithoutGpu, client: httpx.Client, **spec: Any) -> dict[str, Any]:
    """Make a background and return its catalogue entry."""
    job_id = server.finished(server.submit(client, **spec), client)["public_id"]
    [entry] = client.get(BACKGROUNDS, params={"job": job_id}).json()
    found: dict[str, Any] = entry
    return found


def files(server: ServerWithoutGpu) -> list[Path]:
    return [path for folder in ("images", "thumbnails") for path in (server.data / folder).rglob("*") if path.is_file()]


@pytest.fixture(scope="module")
def client(light_server: ServerWithoutGpu) -> httpx.Client:
    return light_server.new_client("artist", 10_000)


def test_an_entry_says_what_its_image_was_made_from(light_server: ServerWithoutGpu, client: httpx.Client) -> None:
    entry = made(light_server, client, seed=7, aspect_ratio="16:9")
    job = light_server.job(entry["generation_job_public_id"], client)
    [artifact] = job["result"]
    # A picture has one id.
    assert artifact["public_id"] == entry["public_id"]
    told = {name: entry[name] for name in ("model", "seed", "width", "height", "steps", "guidance")}
    assert told == {name: artifact["meta"][name] for name in told}
    assert told["seed"] == 7
    assert (entry["status"], entry["favourite"]) == ("active", False)
    assert (entry["number"], entry["of"]) == (1, 1)


def test_a_thumbnail_is_small_and_of_the_same_shape(light_server: ServerWithoutGpu, client: httpx.Client) -> None:
    entry = made(light_server, client, aspect_ratio="16:9")
    for _ in range(2):
        answer = httpx.get(entry["thumbnail_url"])
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/webp")
        picture = Image.open(io.BytesIO(answer.content))
        assert (picture.format, max(picture.size)) == ("WEBP", 384)
        assert picture.width / picture.height == pytest.approx(entry["width"] / entry["height"], rel=0.01)
    image = Image.open(io.BytesIO(httpx.get(entry["image_url"]).content))
    assert image.size == (entry["width"], entry["height"])
    large = Image.open(io.BytesIO(httpx.get(f"{entry['thumbnail_url']}&large=true").content))
    assert (large.format, large.size) == ("WEBP", image.size), "a large one is no larger than its image"
    # A link to the thumbnail does not open the image.
    other = entry["thumbnail_url"].replace("/thumbnails/", "/images/").replace(".webp", ".png")
    assert httpx.get(other).status_code == 403


def test_an_image_of_an_earlier_version_has_a_thumbnail_too(
    light_server: ServerWithoutGpu, client: httpx.Client
) -> None:
    entry = made(light_server, client)
    for path in (light_server.data / "thumbnails").rglob("*.webp"):
        path.unlink()
    assert httpx.get(entry["thumbnail_url"]).status_code == 200


def test_a_damaged_image_has_no_thumbnail(light_server: ServerWithoutGpu, client: httpx.Client) -> None:
    entry = made(light_server, client)
    [path] = (light_server.data / "images").rglob(f"{entry['generation_job_public_id']}.png")
    path.write_bytes(path.read_bytes()[:100])
    answer = httpx.get(entry["thumbnail_url"])
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "RESOURCE_NOT_FOUND")
    assert "damaged" in answer.json()["error"]["message"]


def test_change(light_server: ServerWithoutGpu, client: httpx.Client) -> None:
    entry = made(light_server, client, display_name="first")
    path = f"{BACKGROUNDS}/{entry['public_id']}"
    changed = client.patch(path, json={"status": "archived", "display_name": " Second ", "favourite": True}).json()
    assert (changed["status"], changed["spec"]["display_name"], changed["favourite"]) == ("archived", "Second", True)
    assert changed["description"].startswith("Second, ")
    assert client.get(path).json()["spec"] == changed["spec"]
    # A field that is left out keeps its value.
    again = client.patch(path, json={"status": "active"}).json()
    assert (again["status"], again["spec"]["display_name"], again["favourite"]) == ("active", "Second", True)
    assert client.patch(path, json={}).status_code == 200


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"status": "gone"}, ["body", "status"]),
        ({"status": None}, ["body", "status"]),
        ({"favourite": 1}, ["body", "favourite"]),
        ({"display_name": "  "}, ["body", "display_name"]),
        ({"display_name": "x" * 201}, ["body", "display_name"]),
        ({"name": "x"}, ["body", "name"]),
        ([], ["body"]),
    ],
)
def test_a_change_that_cannot_be(
    light_server: ServerWithoutGpu, client: httpx.Client, body: Any, place: list[str]
) -> None:
    answer = client.patch(f"{BACKGROUNDS}/01J00000000000000000000000", json=body)
    assert answer.status_code == 422
    assert [problem["loc"] for problem in answer.json()["detail"]] == [place]


def test_removal(light_server: ServerWithoutGpu, client: httpx.Client) -> None:
    entry = made(light_server, client)
    job_id = entry["generation_job_public_id"]
    for size in ("", "&large=true"):
        assert httpx.get(entry["thumbnail_url"] + size).status_code == 200
    credits = light_server.credits(client)
    assert len([path for path in files(light_server) if job_id in path.name]) == 3
    path = f"{BACKGROUNDS}/{entry['public_id']}"
    gone = client.delete(path)
    assert (gone.status_code, gone.content) == (204, b"")
    assert [path for path in files(light_server) if job_id in path.name] == []
    assert httpx.get(entry["image_url"]).status_code == 404
    assert httpx.get(entry["thumbnail_url"]).status_code == 404
    assert client.get(path).status_code == client.delete(path).status_code == 404
    assert client.patch(path, json={"favourite": True}).status_code == 404
    assert entry["public_id"] not in [found["public_id"] for found in client.get(BACKGROUNDS).json()]
    [artifact] = light_server.job(job_id, client)["result"]
    assert artifact["image_url"] is None
    assert artifact["meta"]["seed"] == entry["seed"]
    assert light_server.credits(client) == credits
    events = client.get(f"/v1/jobs/{job_id}/events").json()["events"]
    assert events[-1]["artifacts"] == [artifact]


def test_a_file_that_a_crash_left_goes_with_the_next_removal(
    light_server: ServerWithoutGpu, client: httpx.Client
) -> None:
    left, other = made(light_server, client), made(light_server, client)
    [path] = (light_server.data / "images").rglob(f"{left['generation_job_public_id']}.png")
    # A folder in the file's place cannot be unlinked, like a file of another user.
    kept = path.rename(path.with_suffix(".kept"))
    path.mkdir()
    assert client.delete(f"{BACKGROUNDS}/{left['public_id']}").status_code == 204
    path.rmdir()
    kept.rename(path)
    assert client.delete(f"{BACKGROUNDS}/{other['public_id']}").status_code == 204
    assert not path.exists()
    with sqlite3.connect(light_server.data / "backlot.db") as connection:
        assert connection.execute("SELECT count(*) FROM removed_files").fetchone() == (0,)


def test_another_clients_entries_are_unknown(light_server: ServerWithoutGpu, client: httpx.Client) -> None:
    entry = made(light_server, client)
    path = f"{BACKGROUNDS}/{entry['public_id']}"
    other = light_server.client
    assert other.delete(path).status_code == other.patch(path, json={"favourite": True}).status_code == 404
    assert other.post("/v1/catalog/archive.zip", json={"public_ids": [entry["public_id"]]}).status_code == 404
    # The other part of the catalogue does not know the entry either.
    assert client.delete(f"/v1/catalog/images/{entry['public_id']}").status_code == 404
    assert client.get(path).status_code == 200


def test_filters(light_server: ServerWithoutGpu) -> None:
    client = light_server.new_client("librarian", 1000)
    before = datetime.now(UTC).isoformat()
    names = ["Blue hour", "blue MOON", "ÉTUDE 100%"]
    entries = [
        made(light_server, client, display_name=name, mood=mood)
        for name, mood in zip(names, ("sunny", "sunny", "gloomy"), strict=True)
    ]
    client.patch(f"{BACKGROUNDS}/{entries[0]['public_id']}", json={"favourite": True})
    client.patch(f"{BACKGROUNDS}/{entries[1]['public_id']}", json={"status": "archived"})

    def found(**params: Any) -> list[str]:
        answer = client.get(BACKGROUNDS, params=params)
        listed = [entry["spec"]["display_name"] for entry in answer.json()]
        if "limit" not in params:
            assert answer.headers["x-total-count"] == str(len(listed))
        return listed

    first, second, third = names
    assert found() == [third, second, first]
    assert found(favourite=True) == [first]
    assert found(favourite=False) == [third, second]
    assert found(status="archived") == [second]
    assert found(q="BLUE") == [second, first]
    assert found(q="hour blue") == [first]
    assert found(q="étude") == found(q="100%") == [third]
    assert found(q="marble", status="active") == [third, first]
    assert found(q="Sunny") == [second, first]
    assert found(q="_") == []
    assert found(model="fake") == found(created_after=before) == found(created_before="2999-01-01T00:00:00Z") == found()
    assert found(model="other") == found(created_before=before) == found(job="x") == []
    assert found(created_after=entries[1]["created_at"]) == [third]
    assert found(limit=1) == [third]
    assert client.get(BACKGROUNDS, params={"limit": 1, "offset": 9}).headers["x-total-count"] == "3"


def test_filters_by_mood_and_by_color(light_server: ServerWithoutGpu) -> None:
    client = light_server.new_client("painter", 1000)
    for name, mood, colors in (
        ("navy", "calm", ["#14254d", "ivory"]),
        ("sky", "bright", ["skyblue"]),
        ("none", "calm", []),
    ):
        made(light_server, client, display_name=name, mood=mood, dominant_colors=colors)

    def names(**query: str) -> list[str]:
        answer = client.get("/v1/catalog/backgrounds", params=query)
        assert answer.status_code == 200, answer.text
        assert answer.headers["X-Total-Count"] == str(len(answer.json()))
        return [entry["spec"]["display_name"] for entry in answer.json()]

    assert names(mood="calm") == ["none", "navy"]
    assert names(color="#2456c4") == ["sky", "navy"]
    assert names(color="blue", mood="calm") == ["navy"]
    assert names(color="red") == []
    for prompt, colors in (("A blue vase", ["royalblue"]), ("A vase", [])):
        accepted = client.post("/v1/image-generation", json={"prompt": prompt, "dominant_colors": colors})
        light_server.finished(accepted.json()["job_id"], client)
    blue = client.get("/v1/catalog/images", params={"color": "#2456c4"})
    assert [entry["spec"]["prompt"] for entry in blue.json()] == ["A blue vase"]
    assert blue.headers["X-Total-Count"] == "1"
    refused = client.get("/v1/catalog/backgrounds", params={"color": "bluish"})
    assert refused.status_code == 422
    assert refused.json()["detail"][0]["loc"] == ["query", "color"]


def test_filters_by_metadata(light_server: ServerWithoutGpu) -> None:
    client = light_server.new_client("tagger", 1000)
    for name, metadata in (
        ("text", {"shot": "s010", "take": "2"}),
        ("number", {"shot": "s010", "take": 2, "hero": True}),
        ("other", {"shot": "S010", 'a "key".with $igns': "x=y", "in": {"shot": "s010"}, "none": None}),
        ("bare", {}),
    ):
        made(light_server, client, display_name=name, metadata=metadata)

    def names(*pairs: str) -> list[str]:
        answer = client.get(BACKGROUNDS, params={"metadata": pairs})
        assert answer.status_code == 200, answer.text
        assert answer.headers["X-Total-Count"] == str(len(answer.json()))
        return [entry["spec"]["display_name"] for entry in answer.json()]

    assert names("shot=s010") == ["number", "text"]
    assert names("shot=s010", "take=2") == ["number", "text"]
    assert names("hero=true") == ["number"]
    assert names("hero=1") == names("shot=") == names("none=null") == names("s=s010") == []
    assert names('a "key".with $igns=x=y') == ["other"]
    accepted = client.post("/v1/image-generation", json={"prompt": "A vase", "metadata": {"shot": "s020"}}).json()
    light_server.finished(accepted["job_id"], client)
    assert len(client.get("/v1/catalog/images", params={"metadata": "shot=s020"}).json()) == 1
    assert client.get("/v1/catalog/images", params={"metadata": "shot=s010"}).json() == []
    refused = client.get(BACKGROUNDS, params={"metadata": "s010"})
    assert refused.status_code == 422
    assert refused.json()["detail"][0]["loc"] == ["query", "metadata"]
    assert "is not KEY=VALUE" in refused.json()["detail"][0]["msg"]


def test_jobs_are_filtered_by_metadata(light_server: ServerWithoutGpu) -> None:
    client = light_server.new_client("shot tagger", 1000)
    tagged: list[dict[str, Any]] = [
        {"metadata": {"shot": "s010", "take": 1}},
        {"metadata": {"shot": "s010", "take": 2}, "prompt": "broken"},
        {"metadata": {}},
    ]
    jobs = [light_server.finished(light_server.submit(client, **fields), client) for fields in tagged]
    first, failed, _ = (job["public_id"] for job in jobs)

    def found(*pairs: str, **only: str) -> list[str]:
        page = client.get("/v1/jobs", params={"metadata": pairs, **only}).json()
        assert page["total"] == len(page["jobs"])
        return [job["public_id"] for job in page["jobs"]]

    assert found("shot=s010") == [failed, first]
    assert found("shot=s010", expand="result") == [failed, first]
    assert found("shot=s010", "take=1") == found("shot=s010", status="SUCCESS") == [first]
    assert found("shot=s020") == []
    refused = client.get("/v1/jobs", params={"metadata": "s010"})
    assert refused.status_code == 422
    assert refused.json()["detail"][0]["loc"] == ["query", "metadata"]


def test_images_of_one_job(light_server: ServerWithoutGpu) -> None:
    client = light_server.new_client("photographer", 1000)
    accepted = client.post("/v1/image-generation", json={"prompt": "A blue vase", "n": 3, "seed": 5}).json()
    light_server.finished(accepted["job_id"], client)
    listed = client.get("/v1/catalog/images", params={"q": "VASE", "job": accepted["job_id"]})
    assert listed.headers["x-total-count"] == "3"
    entries = listed.json()
    assert [(entry["seed"], entry["number"], entry["of"]) for entry in entries] == [(7, 3, 3), (6, 2, 3), (5, 1, 3)]
    zipped = client.post("/v1/catalog/archive.zip", json={"public_ids": [entries[1]["public_id"]]}).content
    assert zipfile.ZipFile(io.BytesIO(zipped)).namelist() == ["A blue vase 2 of 3.png", "specs.csv"]
    path = f"/v1/catalog/images/{entries[0]['public_id']}"
    assert client.patch(path, json={"favourite": True}).json()["favourite"]
    assert (
        client.get("/v1/catalog/images", params={"favourite": True}).json()[0]["public_id"] == entries[0]["public_id"]
    )
    assert client.delete(path).status_code == 204
    # The images that remain keep their numbers.
    left = client.get("/v1/catalog/images", params={"job": accepted["job_id"]}).json()
    assert [(entry["number"], entry["of"]) for entry in left] == [(2, 3), (1, 3)]
    links = [artifact["image_url"] for artifact in light_server.job(accepted["job_id"], client)["result"]]
    assert links.count(None) == 1
    assert [httpx.get(link).status_code for link in links if link] == [200, 200]


def test_an_archive(light_server: ServerWithoutGpu, client: httpx.Client) -> None:
    names = ["Marble", "marble", 'a/b: "c"', "背景"]
    entries = [
        made(light_server, client, display_name=name, dominant_colors=["navy", "#abc"], metadata={"shot": name})
        for name in names
    ]
    ids = [entry["public_id"] for entry in entries]
    answer = client.post("/v1/catalog/archive.zip", json={"public_ids": [*ids, ids[0]]})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    assert answer.headers["content-disposition"] == 'attachment; filename="backlot.zip"'
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.testzip() is None
    pictures = ["Marble.png", "marble (2).png", "a-b- -c-.png", "背景.png"]
    assert archive.namelist() == [*pictures, "specs.csv"]
    for name, entry in zip(pictures, entries, strict=True):
        assert archive.read(name) == httpx.get(f"{entry['image_url']}&save=true").content
    rows = list(csv.DictReader(io.StringIO(archive.read("specs.csv").decode("utf-8-sig"))))
    assert [row["file"] for row in rows] == pictures
    assert [row["display_name"] for row in rows] == names
    assert rows[0]["dominant_colors"] == "navy #abc"
    assert rows[0]["metadata"] == '{"shot":"Marble"}'
    assert [int(row["seed"]) for row in rows] == [entry["seed"] for entry in entries]


def test_a_spreadsheet_computes_no_name(light_server: ServerWithoutGpu, client: httpx.Client) -> None:
    names = ['=HYPERLINK("http://evil.example","Marble")', "+1", "-1", "@SUM(1)", "a=1"]
    ids = [made(light_server, client, display_name=name)["public_id"] for name in names]
    answer = client.post("/v1/catalog/archive.zip", json={"public_ids": ids})
    table = zipfile.ZipFile(io.BytesIO(answer.content)).read("specs.csv").decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(table)))
    assert [row["display_name"] for row in rows] == [*(f"'{name}" for name in names[:4]), "a=1"]
    assert not any(row["file"].startswith(("=", "+", "-", "@")) for row in rows)


def test_a_file_that_the_client_has_is_not_sent_again(light_server: ServerWithoutGpu, client: httpx.Client) -> None:
    link = made(light_server, client)["image_url"]
    for url in (link, f"{light_server.url}/", f"{light_server.url}/static/studio.js"):
        first = httpx.get(url)
        etag = first.headers["etag"]
        for known in (etag, f'"other", W/{etag}', "*"):
            again = httpx.get(url, headers={"If-None-Match": known})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
            assert again.headers["cache-control"] == first.headers["cache-control"]
        changed = httpx.get(url, headers={"If-None-Match": '"other"'})
        assert (changed.status_code, changed.content) == (200, first.content)
    unknown = httpx.get(f"{light_server.url}/static/nothing.js", headers={"If-None-Match": "*"})
    assert unknown.status_code == 404


def test_an_archive_of_what_is_not_there(light_server: ServerWithoutGpu, client: httpx.Client) -> None:
    entry = made(light_server, client)
    unknown = {"public_ids": [entry["public_id"], "01J00000000000000000000000"]}
    answer = client.post("/v1/catalog/archive.zip", json=unknown)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "RESOURCE_NOT_FOUND")
    bodies: list[dict[str, Any]] = [{}, {"public_ids": []}, {"public_ids": ["x"] * 501}, {"public_ids": [1]}]
    for body in bodies:
        assert client.post("/v1/catalog/archive.zip", json=body).status_code == 422
    # The file was removed without the ledger's knowledge: the table says so.
    [path] = (light_server.data / "images").rglob(f"{entry['generation_job_public_id']}.png")
    path.unlink()
    answer = client.post("/v1/catalog/archive.zip", json={"public_ids": [entry["public_id"]]})
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.namelist() == ["specs.csv"]
    [row] = csv.DictReader(io.StringIO(archive.read("specs.csv").decode("utf-8-sig")))
    assert (row["file"], row["public_id"]) == ("", entry["public_id"])


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("plain", 'inline; filename="plain.png"'),
        ("Warm marble", "inline; filename*=utf-8''Warm%20marble.png"),
        ('a"b\r\nX: y', "inline; filename*=utf-8''a-b%20X-%20y.png"),
    ],
)
def test_a_download_has_the_display_name(
    light_server: ServerWithoutGpu, client: httpx.Client, name: str, header: str
) -> None:
    entry = made(light_server, client, display_name=name)
    assert httpx.get(entry["image_url"]).headers["content-disposition"] == header


def test_a_file_leads_back_to_its_job(light_server: ServerWithoutGpu, client: httpx.Client, tmp_path: Path) -> None:
    entry = made(light_server, client, display_name="Warm marble", mood="very warm")
    job_id = entry["generation_job_public_id"]
    file = tmp_path / "renamed by somebody.png"
    file.write_bytes(httpx.get(f"{entry['image_url']}&save=true").content)
    with Image.open(file) as image:
        texts: dict[str, str] = getattr(image, "text", {})
    assert msgspec.json.decode(str(texts["backlot-origin"]).encode()) == {
        "job": job_id,
        "display_name": "Warm marble",
        "scene_type": "marble",
        "mood": "very warm",
    }
    assert texts["Title"] == "Warm marble"
    for named in (str(file), entry["public_id"], job_id):
        shown = light_server.backlot("jobs", "show", named, "--json")
        assert shown.returncode == 0, shown.stderr
        found = msgspec.json.decode(shown.stdout)
        assert (found["job"]["public_id"], found["request"]["mood"]) == (job_id, "very warm")


def test_a_file_without_an_origin_is_known_by_its_name(
    light_server: ServerWithoutGpu, client: httpx.Client, tmp_path: Path
) -> None:
    entry = made(light_server, client)
    for name in (entry["public_id"], entry["generation_job_public_id"], f"{entry['generation_job_public_id']}-2"):
        file = tmp_path / f"{name}.png"
        Image.new("RGB", (8, 8)).save(file)
        shown = light_server.backlot("jobs", "show", str(file), "--json")
        assert msgspec.json.decode(shown.stdout)["job"]["public_id"] == entry["generation_job_public_id"]
    file = tmp_path / "holiday.png"
    Image.new("RGB", (8, 8)).save(file)
    for path, told in (
        (file, "holiday.png does not name its job: only copies do"),
        (tmp_path / "no.png", "cannot be read as a PNG"),
    ):
        refused = light_server.backlot("jobs", "show", str(path))
        assert refused.returncode == 1
        assert told in refused.stderr
        assert len(refused.stderr.splitlines()) == 1


def names(server: ServerWithoutGpu, client: httpx.Client) -> list[str]:
    return [entry["spec"]["display_name"] for entry in client.get(BACKGROUNDS).json()]


def test_retention(tmp_path: Path) -> None:
    server = ServerWithoutGpu(tmp_path, BACKLOT_ARCHIVE_DAYS="30")
    server.start()
    client = server.client
    made_entries = {
        name: made(server, client, display_name=name) for name in ("old", "loved", "new", "active", "young", "last")
    }
    for name in ("old", "loved", "new"):
        path = f"{BACKGROUNDS}/{made_entries[name]['public_id']}"
        assert client.patch(path, json={"status": "archived", "favourite": name == "loved"}).status_code == 200
    credits = server.credits()
    server.stop()
    with sqlite3.connect(server.data / "backlot.db") as connection:
        connection.execute(
            "UPDATE catalog SET archived_at = '2026-01-01T00:00:00.000000Z'"
            " WHERE json_extract(spec, '$.display_name') IN ('old', 'loved')"
        )
    server.start()
    client = server.client_of(client.headers["authorization"].removeprefix("Bearer "))
    # Only `old` was archived long ago and is no favourite.
    wait_for(lambda: "old" not in names(server, client))
    assert names(server, client) == ["last", "young", "active", "new", "loved"]
    [file] = (server.data / "images").rglob(f"{made_entries['new']['generation_job_public_id']}.png")
    size = file.stat().st_size
    server.stop()
    # There is room for three: archived ones go first, then the oldest; a favourite stays.
    server.environment["BACKLOT_DISK_GIB"] = str(3.5 * size / 1024**3)
    server.start()
    client = server.client_of(client.headers["authorization"].removeprefix("Bearer "))
    wait_for(lambda: len(names(server, client)) == 3)
    assert names(server, client) == ["last", "young", "loved"]
    wait_for(lambda: len(list((server.data / "images").rglob("*.png"))) == 3)
    log = (server.data / "logs" / "server.log").read_text()
    for name, why in (
        ("old", "archived for more than 30 days"),
        ("new", "BACKLOT_DISK_GIB"),
        ("active", "BACKLOT_DISK_GIB"),
    ):
        [line] = [line for line in log.splitlines() if f"Removed image {made_entries[name]['public_id']}" in line]
        assert why in line
    assert client.get("/v1/credits").json() == credits
    server.stop()
