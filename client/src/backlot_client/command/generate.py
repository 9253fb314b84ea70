"""`backlot-client generate`: a few pictures of one spec, each with a live bar."""

import asyncio
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import msgspec

from backlot_client.answers import Accepted, Job
from backlot_client.async_client import AsyncClient
from backlot_client.client import Client
from backlot_client.command.bars import Bars
from backlot_client.command.output import Failure, failure_of, print_json, print_line, print_remark
from backlot_client.errors import BacklotError
from backlot_client.names import check_template, file_name, unused
from backlot_client.retries import Retries
from backlot_client.spec import BackgroundSpec

#: Seconds that an interruption waits for the answers to submissions under way.
ANSWER_S = 5.0


class Picture(msgspec.Struct, kw_only=True):
    """The progress of one of the pictures."""

    title: str
    spec: BackgroundSpec
    accepted: Accepted | None = None
    #: It was submitted, but its answer did not come within ANSWER_S of an interruption.
    unanswered: bool = False
    job: Job | None = None
    files: list[str] = []
    failure: Failure | None = None


def generate(arguments: Namespace) -> int:
    """Make the pictures, and return the exit status: 0 if every picture is there."""
    specs = _specs(arguments)
    check_template(arguments.file_name, specs[0])
    pictures = [
        Picture(title=f"{spec.scene_type}, {spec.mood}" + (f" #{number}" if len(specs) > 1 else ""), spec=spec)
        for number, spec in enumerate(specs, 1)
    ]
    # This client's calls fail soon if the address or the key is wrong. Later calls are tried for longer.
    with Client(arguments.url, arguments.key, retries=Retries(total_s=5)) as client:
        if arguments.dry_run:
            return _estimate(client, specs, as_json=arguments.json)
        client.credits()
        arguments.output.mkdir(parents=True, exist_ok=True)
        try:
            asyncio.run(_generate_all(arguments, pictures))
        except KeyboardInterrupt:
            _cancel(client, pictures)
            raise
    if arguments.json:
        print_json([_outcome(picture) for picture in pictures])
    for picture in pictures:
        if picture.failure and not arguments.json:
            job = f"; its job is {picture.accepted.job_id}" if picture.accepted else ""
            print_remark(f"{picture.title}: {picture.failure.message}{job}")
    return 1 if any(picture.failure for picture in pictures) else 0


def _estimate(client: Client, specs: Sequence[BackgroundSpec], *, as_json: bool) -> int:
    """Print what the pictures would cost, which is the same for each, and how their words are understood."""
    estimate = client.estimate(specs[0])
    if as_json:
        print_json([estimate] * len(specs))
        return 0
    total = estimate.credits_cost * len(specs)
    print_line(f"{estimate.credits_cost} credits a picture, {total} in all; the balance is {estimate.balance}")
    if estimate.understood is not None:
        scene = estimate.understood.scene or "not known, so a plain default"
        mood = estimate.understood.mood or "not known, so a plain default"
        print_line(f"scene: {scene}; mood: {mood}; colours used: {estimate.understood.colors_used}")
    return 0


def _specs(arguments: Namespace) -> list[BackgroundSpec]:
    """Return a spec for each picture; with a seed given, picture *i* has that seed + *i*."""
    chosen = {
        field.name: value
        for field in msgspec.structs.fields(BackgroundSpec)
        if (value := getattr(arguments, field.name, None)) is not None
    }
    chosen["metadata"] = dict(arguments.metadata)
    spec = BackgroundSpec(**chosen)
    return [
        spec if spec.seed is None else msgspec.structs.replace(spec, seed=spec.seed + index)
        for index in range(arguments.number)
    ]


async def _generate_all(arguments: Namespace, pictures: Sequence[Picture]) -> None:
    async with AsyncClient(arguments.url, arguments.key, retries=Retries(total_s=300)) as client:
        with Bars() as bars:
            taken: set[Path] = set()
            tasks = [asyncio.ensure_future(_generate(client, picture, taken, bars, arguments)) for picture in pictures]
            try:
                await asyncio.gather(*tasks)
            finally:
                # After an interruption gather waits for the first of them only.
                await asyncio.wait(tasks)


async def _generate(client: AsyncClient, picture: Picture, taken: set[Path], bars: Bars, arguments: Namespace) -> None:
    bar = bars.add(picture.title)
    try:
        accepted = await _submit(client, picture, arguments.max_credits)
        job = await client.wait(accepted.job_id, on_event=lambda event: bars.show(bar, event))
        for image in job.images:
            wanted = file_name(arguments.file_name, picture.spec, image, job.public_id)
            path = _free_path(arguments.output, wanted, taken)
            await client.download(image, path)
            picture.files.append(str(path))
            if not arguments.json:
                print_line(str(path))
        picture.job = job
        bars.finish(bar, "done")
    except BrokenPipeError:
        # Nobody reads the output any more, which is no fault of the picture.
        raise
    except (BacklotError, OSError) as error:
        picture.failure = failure_of(error)
        bars.finish(bar, picture.failure.code)


def _free_path(folder: Path, wanted: str, taken: set[Path]) -> Path:
    """Return a path that no file has and that was not given before."""
    path = folder / unused(wanted, lambda name: folder / name in taken or (folder / name).exists())
    taken.add(path)
    return path


async def _submit(client: AsyncClient, picture: Picture, most_credits: int | None) -> Accepted:
    """Submit a picture and note the answer, in an interruption too: a job that nobody knows of would be paid for nothing."""
    submission = asyncio.ensure_future(client.submit(picture.spec, max_credits=most_credits))
    try:
        picture.accepted = await asyncio.shield(submission)
    except asyncio.CancelledError:
        await asyncio.wait([submission], timeout=ANSWER_S)
        picture.unanswered = submission.cancel()
        if not picture.unanswered and submission.exception() is None:
            picture.accepted = submission.result()
        raise
    return picture.accepted


def _cancel(client: Client, pictures: Sequence[Picture]) -> None:
    """Cancel the jobs of the pictures that are on their way."""
    for picture in pictures:
        if picture.unanswered:
            print_remark(
                f"{picture.title}: it is not known whether it was accepted; `backlot-client jobs` shows it if so"
            )
        if picture.accepted is None or picture.job is not None or picture.failure is not None:
            continue
        try:
            job = client.cancel(picture.accepted.job_id)
            then = "its credits are back" if job.has_ended else "its credits come back at its next step"
            print_remark(f"{picture.title}: cancelled, {then}")
        except BacklotError as error:
            # It may be cancelled nevertheless: the message says so.
            print_remark(f"{picture.title}: its cancellation met an error: {error}")


def _outcome(picture: Picture) -> dict[str, object]:
    """Return one picture's part of the JSON output."""
    accepted, job = picture.accepted, picture.job
    return {
        "job_id": accepted.job_id if accepted else None,
        "credits_cost": accepted.credits_cost if accepted else 0,
        "files": picture.files,
        "seed": job.images[0].meta.get("seed") if job and job.images else None,
        "error": picture.failure,
    }
