"""The training of studio-tiny: its pace, its optimizers, its checkpoints and the pictures that arrive beside it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from pipelines.studio_tiny.training import parts
from pipelines.studio_tiny.training.__main__ import Plan, train
from pipelines.studio_tiny.training.captured import Captured
from pipelines.studio_tiny.training.checkpoint import Checkpoint
from pipelines.studio_tiny.training.darkroom import Arrivals, Darkroom, Order, first
from pipelines.studio_tiny.training.denoiser import from_noise
from pipelines.studio_tiny.training.device import device
from pipelines.studio_tiny.training.latents import Pool, enlarge
from pipelines.studio_tiny.training.learner import Learner, Progress, Running, pace
from pipelines.studio_tiny.training.muon import Muon
from pipelines.studio_tiny.training.pictures import read_shard

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def learning() -> Iterator[None]:
    """Let torch keep gradients, even if an earlier test left an image in the middle of a step."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


@pytest.mark.parametrize(
    ("progress", "step", "expected"),
    [(0, 0, 0.1), (0, 4, 0.5), (0.2, 9, 1), (0.5, 50, 1), (0.75, 50, 0.5), (0.999, 50, 0.02), (1.2, 50, 0.02)],
)
def test_the_rate_rises_stays_and_falls(progress: float, step: int, expected: float) -> None:
    assert pace(progress, step, warm=10, cool=0.5) == pytest.approx(expected)


def test_a_stage_ends_by_steps_or_by_minutes() -> None:
    assert Progress(100, minutes=1000, before=0).at(50) == pytest.approx(0.5)
    assert Progress(100, minutes=2, before=60).at(1) == pytest.approx(0.5, abs=0.05)
    assert Progress(100, minutes=2, before=120).at(1) >= 1


def test_muon_steps_weights_of_one_shape_as_it_steps_each_alone() -> None:
    torch.manual_seed(0)
    weights = [torch.randn(4, 2, 3), torch.randn(4, 6), torch.randn(6, 4), torch.randn(4, 6)]
    gradients = [torch.randn_like(weight) for weight in weights]
    together = [torch.nn.Parameter(weight.clone()) for weight in weights]
    optimizer = Muon(together, torch.tensor(0.1))
    for weight, gradient in zip(together, gradients, strict=True):
        weight.grad = gradient
    optimizer.step()
    for start, gradient, moved in zip(weights, gradients, together, strict=True):
        alone = torch.nn.Parameter(start.clone())
        alone.grad = gradient
        Muon([alone], 0.1).step()
        torch.testing.assert_close(alone, moved, rtol=1e-3, atol=1e-3)
        # An orthogonal update is about equally long in all directions.
        lengths = torch.linalg.svdvals((moved.detach() - start * 0.999).flatten(1))
        assert float(lengths.max() / lengths.min()) < 2


def learner_of(model: torch.nn.Module, lr: float) -> Learner:
    return Learner(model, lr, ("embed",), CPU)


def test_a_learner_fits_and_its_checkpoint_goes_on_at_this_run_s_rate(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    learner = learner_of(model, 0.02)
    seen = torch.zeros(())

    def learn(given: torch.Tensor) -> None:
        loss = (model(given) - given.mean(1, keepdim=True)).square().mean()
        learner.step(loss)
        seen.copy_(loss.detach())

    step = Captured(learn, CPU)
    learner.pace(1)
    step(torch.randn(64, 8))
    before = float(seen)
    for _ in range(80):
        step(torch.randn(64, 8))
    assert float(seen) < before / 10
    Checkpoint(tmp_path / "a.pt", model=model, muon=learner.muon, adam=learner.adam).now(81, 5.0)

    again = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    slower = learner_of(again, 0.01)
    assert Checkpoint(tmp_path / "a.pt", model=again, muon=slower.muon, adam=slower.adam).restore() == (81, 5.0)
    assert torch.equal(again[0].weight, model[0].weight)
    slower.pace(0)
    slower.step(again(torch.randn(64, 8)).square().mean())
    assert torch.equal(again[0].weight, model[0].weight)
    slower.pace(1)
    slower.step(again(torch.randn(64, 8)).square().mean())
    assert not torch.equal(again[0].weight, model[0].weight)


def test_sets_arrive_in_order_and_are_encoded_once(tmp_path: Path) -> None:
    vae = parts.autoencoder().to(device())
    with Darkroom(1, seed=0) as darkroom, ThreadPoolExecutor(1) as reading:
        (ordered,) = darkroom.order(Order(folder=tmp_path / "pictures", count=2, shrink=4))
        assert [path.stem for path in first(ordered, 2, "pictures")] == ["000000", "000001"]
        pool = Pool(tmp_path / "latents", vae)
        arrivals = Arrivals(pool, ordered, reading)
        arrivals.take()
        one = pool.pictures
        assert one > 0
        while pool.pictures < 2 * one:
            arrivals.take()
        assert len(list((tmp_path / "latents").iterdir())) == 2
        # Another pool finds the latents on disk, and needs no encoder for them.
        other = Pool(tmp_path / "latents", None)
        for path in first(ordered, 2, "pictures"):
            other.add(other.read(path))
        assert other.pictures == pool.pictures


def test_orders_are_made_together_and_a_number_is_one_set_whatever_its_size(tmp_path: Path) -> None:
    small, smaller = tmp_path / "small", tmp_path / "smaller"
    with Darkroom(1, seed=0) as darkroom:
        few, many = darkroom.order(
            Order(folder=small, count=1, shrink=8, first=40, pictures=1),
            Order(folder=smaller, count=3, shrink=16, first=40, pictures=2),
        )
        assert [path.stem for path in first(many, 3, "pictures")] == ["000040", "000041", "000042"]
        assert few[0].done()
    one, two = read_shard(small / "000040.shard"), read_shard(smaller / "000040.shard")
    assert (len(one.files), len(two.files)) == (1, 2)
    assert one.prompts[0] == two.prompts[0]
    assert one.pixels(0).shape[0] == 2 * two.pixels(0).shape[0]


def test_an_enlarged_picture_shows_a_part_of_itself() -> None:
    rows, columns = np.mgrid[0:32, 0:48]
    picture = np.dstack([rows * 8, columns * 5, np.zeros_like(rows)]).astype(np.uint8)
    shown = [enlarge(picture, 4, np.random.default_rng(seed)) for seed in range(20)]
    assert {pixels.shape for pixels in shown} == {(128, 192, 3)}
    tops = [int(pixels[0, 0, 0]) for pixels in shown]
    heights = [int(pixels[-1, 0, 0]) - top for pixels, top in zip(shown, tops, strict=True)]
    assert max(tops) > 20 > min(tops)
    assert min(heights) > 0.7 * 31 * 8


@pytest.mark.parametrize(("least", "most"), [(0.0, 0.25), (0.25, 0.75), (0.75, 1.0)])
def test_a_lesson_s_times_are_within_its_part(least: float, most: float) -> None:
    seen: list[Tensor] = []

    class Listening(torch.nn.Module):  # type: ignore[misc]
        def forward(self, noisy: Tensor, times: Tensor, *_: object) -> SimpleNamespace:
            seen.append(times)
            return SimpleNamespace(sample=noisy)

    model = torch.nn.ModuleDict({"text": parts.text_encoder(), "unet": Listening()}).to(device())
    clean, tokens = torch.randn(64, 24, 4, 4), torch.ones(64, parts.PROMPT_LENGTH, dtype=torch.long)
    from_noise(least, most)(model, clean.to(device()), tokens.to(device()))
    assert float(seen[0].min()) / 1000 == pytest.approx(least, abs=0.02)
    assert float(seen[0].max()) / 1000 == pytest.approx(most, abs=0.02)


def test_a_learner_s_steps_end_with_the_stage_and_a_stage_that_is_over_has_none() -> None:
    learner = learner_of(torch.nn.Linear(2, 2), 0.01)
    assert list(learner.steps(Progress(5, minutes=1000, before=0), 2, warm=1, cool=0.5)) == [2, 3, 4]
    assert list(learner.steps(Progress(5, minutes=1, before=60), 2, warm=1, cool=0.5)) == []


def test_a_running_mean_is_that_of_all_values_at_first() -> None:
    running = Running((2,), 0.25, CPU)
    for value in (1.0, 2.0, 6.0):
        running.add(torch.tensor([value, 0.0]))
    torch.testing.assert_close(running.value, torch.tensor([3.0, 0.0]))
    for _ in range(60):
        running.add(torch.tensor([5.0, 0.0]))
    torch.testing.assert_close(running.value, torch.tensor([5.0, 0.0]))


@pytest.mark.slow
def test_training_goes_on_from_weights_and_keeps_their_autoencoder(tmp_path: Path) -> None:
    shipped = Path("pipelines/studio_tiny/weights")
    plan = Plan(
        work=tmp_path / "work",
        out=tmp_path / "out",
        begin_with=shipped,
        seed=1,
        coarse_sets=0,
        coarse_steps=0,
        layout_sets=1,
        fine_sets=1,
        fine_steps=3,
        fine_batch=2,
        few_steps=1,
        few_batch=1,
    )
    train(plan)
    vae, unet = Path("vae/diffusion_pytorch_model.safetensors"), Path("unet/diffusion_pytorch_model.safetensors")
    for name, kept in load_file(shipped / vae).items():
        assert torch.equal(load_file(plan.out / vae)[name], kept)
    before, after = load_file(shipped / unet), load_file(plan.out / unet)
    assert before.keys() == after.keys()
    assert any(not torch.equal(after[name], weights) for name, weights in before.items())
    # The weights went a short way: training did not begin from nothing.
    for name, weights in before.items():
        torch.testing.assert_close(after[name].float(), weights.float(), atol=0.05, rtol=0.05)
