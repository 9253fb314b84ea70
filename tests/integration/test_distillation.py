"""The student's aim: where two steps of DDIM along the teacher's path lead."""

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from pipelines.studio_tiny.training import parts
from pipelines.studio_tiny.training.denoiser import fresh
from pipelines.studio_tiny.training.distillation import Trajectory, advance, halving, velocity_to

TOKENS = torch.full((6, parts.PROMPT_LENGTH), 5)


def one_picture(picture: Tensor) -> dict[str, Any]:
    """Return a teacher that is exactly right for a world of one picture."""
    signal = parts.scheduler().alphas_cumprod

    def unet(noisy: Tensor, times: Tensor, hidden: Any) -> Any:
        angle = torch.arccos(signal[times].sqrt().clamp(0, 1))[:, None, None, None]
        noise = (noisy - angle.cos() * picture) / angle.sin()
        return SimpleNamespace(sample=angle.cos() * noise - angle.sin() * picture)

    return {"text": lambda tokens: (None,), "unet": unet}


def test_a_path_leads_from_noise_alone_to_the_clean_picture() -> None:
    path = Trajectory(8)
    assert len(path.times) == 16
    assert abs(path.angles[0].item() - torch.pi / 2) < 1e-4
    assert path.angles[-1] == 0
    assert bool((path.angles.diff() < 0).all())


def test_the_velocity_to_where_a_step_leads_is_that_step_s() -> None:
    noisy, velocity = torch.randn(6, 4, 8, 8), torch.randn(6, 4, 8, 8)
    start, end = torch.linspace(0.3, 1.5, 6), torch.linspace(0.0, 1.3, 6)
    assert torch.allclose(velocity_to(noisy, advance(noisy, velocity, start, end), start, end), velocity, atol=1e-4)


def test_on_a_straight_path_the_teacher_is_its_own_student() -> None:
    torch.manual_seed(0)
    picture = torch.randn(1, 4, 8, 8)
    teacher = one_picture(picture)
    loss = halving(teacher, 4, guidance=2.0)
    assert loss(teacher, picture.expand(6, -1, -1, -1), TOKENS) < 1e-4
    elsewhere = one_picture(torch.randn(1, 4, 8, 8))
    assert loss(elsewhere, picture.expand(6, -1, -1, -1), TOKENS) > 0.1


def test_only_the_student_learns() -> None:
    # An image that an earlier test left in the middle of a step may have left torch without gradients.
    with torch.inference_mode(False), torch.enable_grad():
        teacher, student = fresh().requires_grad_(False), fresh()
        loss = halving(teacher, 4, guidance=2.0)
        loss(student, torch.randn(2, parts.LATENT_CHANNELS, 16, 16), TOKENS[:2]).backward()
    assert all(weight.grad is None for weight in teacher.parameters())
    assert any(weight.grad is not None and bool(weight.grad.any()) for weight in student["unet"].parameters())
