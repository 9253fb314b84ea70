"""The clients of a server under torture: they submit, repeat, cancel and follow, whatever becomes of the server."""

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import msgspec

#: Statuses after which a client tries the same again: busy, full, or not there yet.
_AGAIN = {429, 503}


class Submission(msgspec.Struct):
    """A job as its client sees it."""

    key: str
    body: dict[str, Any]
    #: Seconds from the round's begin until it is sent, and from its answer until it is cancelled, if it is.
    at: float
    cancel_after: float | None
    #: The body of the 202.
    answer: dict[str, Any] = {}

    @property
    def job_id(self) -> str:
        return str(self.answer["job_id"])

    @property
    def images(self) -> int:
        return int(self.body["n"])


class Clients:
    """Several threads that talk to one server, with one key."""

    def __init__(self, url: str, key: str) -> None:
        self._http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30)
        self._threads = ThreadPoolExecutor(16, "client")

    def close(self) -> None:
        self._threads.shutdown()
        self._http.close()

    def begin(self, submissions: list[Submission]) -> Callable[[], None]:
        """Send all submissions, each at its time; return a function that waits for their answers and raises any error."""
        under_way = [self._threads.submit(self._submit, submission) for submission in submissions]

        def wait() -> None:
            for each in under_way:
                each.result()

        return wait

    def send(self, submission: Submission) -> dict[str, Any]:
        """Send a submission as often as it takes, and return the body of the 202."""
        headers = {"Idempotency-Key": submission.key}
        response = self._persist("POST", "/v1/image-generation", json=submission.body, headers=headers)
        assert response.status_code == 202, response.text
        accepted: dict[str, Any] = response.json()
        return accepted

    def get(self, path: str, **parameters: Any) -> Any:
        response = self._persist("GET", path, params=parameters)
        assert response.status_code == 200, response.text
        return response.json()

    def _submit(self, submission: Submission) -> None:
        time.sleep(submission.at)
        submission.answer = self.send(submission)
        if submission.cancel_after is not None:
            time.sleep(submission.cancel_after)
            response = self._persist("POST", f"/v1/jobs/{submission.job_id}/cancel")
            # 409 says that the job had ended.
            assert response.status_code in (200, 409), response.text

    def _persist(self, method: str, path: str, timeout_s: float = 600, **request: Any) -> httpx.Response:
        """Send a request until the server answers it."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                response = self._http.request(method, path, **request)
            except httpx.TransportError:
                assert time.monotonic() < deadline, f"no answer to {method} {path} within {timeout_s:g} s"
            else:
                if response.status_code not in _AGAIN:
                    return response
                assert time.monotonic() < deadline, f"{method} {path}: {response.text}"
            time.sleep(0.1)


class Follower:
    """A thread that follows all of a client's events across kills and restarts of the server."""

    def __init__(self, clients: Clients) -> None:
        #: The events in the order in which they came.
        self.events: list[dict[str, Any]] = []
        self._clients = clients
        self._cursor = 0
        self._ended = threading.Event()
        #: The error that ended the following.
        self.error: AssertionError | None = None
        self._thread = threading.Thread(target=self._follow, name="follower")
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._ended.is_set():
            try:
                page = self._clients.get("/v1/events", since=self._cursor, wait=1)
            except AssertionError as error:
                self.error = error
                return
            self.events += page["events"]
            self._cursor = page["latest_cursor"]


def submissions(rng: random.Random, name: str, jobs: int) -> list[Submission]:
    """Return the jobs of a round. All have the same seed, so all their first images must be the same."""
    return [
        Submission(
            key=f"{name}-{number}",
            body={
                "prompt": "marble warm",
                "n": rng.choice([1, 1, 1, 2, 3]),
                "seed": 5,
                "image_model": rng.choice(["good", "good", "other"]),
                "on_technical_failure": rng.choice(["fail", "retry"]),
            },
            at=rng.uniform(0, 1.0),
            cancel_after=rng.uniform(0, 1.0) if rng.random() < 0.2 else None,
        )
        for number in range(jobs)
    ]
