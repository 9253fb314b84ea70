"""The prices of jobs."""

from fractions import Fraction
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.aspect_ratios import TIERS, Tier
from server.jobs import JobType
from server.models_file import Operation, load_models
from server.workflows.prices import price_of_image, price_of_job
from tests.support.server import ROOT


@pytest.mark.parametrize(
    ("cost", "of_model", "of_tier", "price"),
    [
        (5, 1, 1, 5),
        (5, 1.5, 1, 8),  # 7.5
        (5, 1, 0.5, 3),  # 2.5
        (5, 0.1, 1, 1),  # 0.5
        (5, 0.09, 1, 0),  # 0.45
        (5, 1.1, 3, 17),  # 16.5, which 5 × 1.1 × 3 in binary fractions is not
        (3, 2, 2.5, 15),
        (0, 1000, 1000, 0),
        (5, 0, 1, 0),
        (1_000_000, 1000, 1000, 10**12),
    ],
)
def test_an_image_costs_its_factors_rounded_with_halves_up(
    cost: int, of_model: float, of_tier: float, price: int
) -> None:
    operation = Operation(credits_cost=cost, model_factors={"m": of_model}, tier_factors={"1K": of_tier})
    assert price_of_image(operation, "m", "1K") == price


def test_what_is_not_listed_has_the_factor_one() -> None:
    operation = Operation(credits_cost=5, model_factors={"other": 3}, tier_factors={"2K": 3})
    assert price_of_job(operation, "m", "1K", 4) == 20


def test_the_shipped_file_asks_more_for_larger_tiers_and_its_base_price_for_the_default_one() -> None:
    models = load_models(ROOT / "models.toml")
    tiers = models.default.tiers
    assert len(tiers) > 1
    assert set(models.operations) == set(JobType)
    for operation in models.operations.values():
        prices = [price_of_image(operation, models.default_model, tier) for tier in tiers]
        assert prices[0] == operation.credits_cost == 5
        assert prices == sorted(set(prices))


FACTORS = st.decimals(0, 1000, places=2).map(float)


@given(
    cost=st.integers(0, 1_000_000), of_model=FACTORS, of_tier=FACTORS, tier=st.sampled_from(TIERS), n=st.integers(1, 8)
)
def test_a_price_can_be_worked_out_by_hand(cost: int, of_model: float, of_tier: float, tier: Tier, n: int) -> None:
    operation = Operation(credits_cost=cost, model_factors={"m": of_model}, tier_factors={tier: of_tier})
    exact = cost * Fraction(str(of_model)) * Fraction(str(of_tier))
    assert price_of_job(operation, "m", tier, n) == n * floor(exact + Fraction(1, 2))
