"""Measures how smoothly a catalogue of 5,000 pictures scrolls in Chromium as a wheel turns, with and without a slow CPU.

Without a graphics card Chromium draws in software, which is the slower case.
"""

import itertools
import statistics
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np
from PIL import Image
from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

from tests.support.many_pictures import add_pictures
from tests.support.server import ServerWithoutGpu
from tests.support.studio_page import CHROMIUM, launch

WINDOW = (1400, 900)
PICTURES = 5000
SECONDS = 15
#: How often a second the wheel is turned, and by how many pixels each time, briskly and as fast as one can.
TURNS = 25
NOTCHES = {"brisk": 120, "fast": 480}
#: By how many times the CPU is slowed: not at all, and to that of a tablet.
SLOWED = (1, 4)
#: A frame that took longer than two frames of a 60 Hz screen is seen as a stutter.
STUTTER_MS = 34

#: Notes the time of each frame, and whether the tiles reached the bottom of the window in it.
WATCH = """
() => {
  const grid = document.querySelector(".grid");
  const frames = [];
  let going = true;
  const look = (now) => {
    const ends = [...grid.children].map((tile) => tile.getBoundingClientRect().bottom);
    frames.push([now, Math.max(...ends) >= Math.min(innerHeight, grid.getBoundingClientRect().bottom)]);
    if (going) requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
  window.stopWatching = () => ((going = false), frames);
}
"""


class Scrolling(msgspec.Struct, frozen=True):
    """The measurements of scrolling the catalogue once."""

    pixels: int
    #: Milliseconds from each frame to the next.
    frames: list[float]
    #: The share of frames in which a part of the window that should show pictures showed none.
    empty: float
    #: The milliseconds of CPU time that the page's thread took for a frame.
    work: float


def main() -> None:
    if not CHROMIUM.exists():
        sys.exit(f"There is no {CHROMIUM}: install Chromium to measure the page")
    with TemporaryDirectory(prefix="backlot-bench-") as folder:
        server = ServerWithoutGpu(Path(folder))
        server.start()
        try:
            add_pictures(server.data, "studio", PICTURES)
            _add_grain(server.data / "images" / "many")
            with sync_playwright() as playwright:
                browser = launch(playwright)
                _measure(browser, server)
                browser.close()
        finally:
            server.stop()


def _add_grain(folder: Path) -> None:
    """Put light and grain onto the pictures, which have one colour each, so that they take as long to decode as real ones."""
    random = np.random.default_rng(7)
    for path in folder.iterdir():
        flat = np.asarray(Image.open(path), dtype=float)
        light = np.linspace(0.5, 1.2, flat.shape[1])[None, :, None]
        grainy = flat * light + random.normal(0, 8, flat.shape)
        Image.fromarray(grainy.clip(0, 255).astype(np.uint8)).save(path)


def _measure(browser: Browser, server: ServerWithoutGpu) -> None:
    print(f"{PICTURES:,} pictures, a window of {WINDOW[0]} x {WINDOW[1]}, {SECONDS} s each, drawn in software")
    print(
        f"{'CPU':>5} {'wheel':>6} {'px/s':>7} {'frames/s':>9} {'median':>7} {'p95':>6} {'worst':>6} {'stutter':>8}"
        f" {'empty':>6} {'work/frame':>11}"
    )
    for slowed in SLOWED:
        for name, notch in NOTCHES.items():
            seen = _scroll(browser, server, notch, slowed)
            frames = sorted(seen.frames)
            stutter = sum(frame > STUTTER_MS for frame in frames) / len(frames)
            print(
                f"{'1/' + str(slowed):>5} {name:>6} {1000 * seen.pixels / sum(frames):>7.0f}"
                f" {1000 * len(frames) / sum(frames):>9.1f} {statistics.median(frames):>4.1f} ms"
                f" {frames[int(0.95 * len(frames))]:>3.0f} ms {frames[-1]:>3.0f} ms {stutter:>8.1%} {seen.empty:>6.1%}"
                f" {seen.work:>8.1f} ms",
                flush=True,
            )


def _scroll(browser: Browser, server: ServerWithoutGpu, notch: int, slowed: int) -> Scrolling:
    """Open the page anew and turn the wheel over its pictures."""
    with browser.new_context(viewport={"width": WINDOW[0], "height": WINDOW[1]}) as context:
        page = context.new_page()
        session = context.new_cdp_session(page)
        page.goto(f"{server.url}/#key={server.key}")
        page.locator(".tile img").first.wait_for()
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        session.send("Emulation.setCPUThrottlingRate", {"rate": slowed})
        page.mouse.move(WINDOW[0] * 0.6, WINDOW[1] * 0.6)
        page.evaluate(WATCH)
        before = _work(session)
        _turn(page, notch)
        frames = page.evaluate("stopWatching()")
        work = 1000 * (_work(session) - before) / len(frames)
        times = [now for now, _ in frames]
        return Scrolling(
            pixels=page.evaluate("Math.round(scrollY)"),
            frames=[later - earlier for earlier, later in itertools.pairwise(times)],
            empty=sum(not whole for _, whole in frames) / len(frames),
            work=work,
        )


def _turn(page: Page, notch: int) -> None:
    started = time.monotonic()
    for turn in range(TURNS * SECONDS):
        time.sleep(max(0.0, started + turn / TURNS - time.monotonic()))
        # A page that is late is scrolled less far, but not for longer.
        if time.monotonic() > started + SECONDS:
            return
        page.mouse.wheel(0, notch)


def _work(session: CDPSession) -> float:
    """Return the seconds of CPU time that the page's thread has taken so far."""
    metrics = {metric["name"]: metric["value"] for metric in session.send("Performance.getMetrics")["metrics"]}
    return float(metrics["TaskDuration"])
