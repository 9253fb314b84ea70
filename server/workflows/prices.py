"""Works out what a job costs.

An image costs the operation's `credits_cost`, times the factor of its model, times the factor of its tier (1 if models.toml
gives none), rounded to whole credits with halves up. A job costs that times its images. The factors count as they are
written, in decimal digits, so that a price can be worked out by hand.
"""

from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache

from pipelines.aspect_ratios import Tier
from server.models_file import Operation


def price_of_image(operation: Operation, model: str, tier: Tier) -> int:
    """Return the credits that one image costs.

    >>> price_of_image(Operation(credits_cost=5, model_factors={"sdxl": 1.5}), "sdxl", "1K")
    8
    """
    return _rounded(
        operation.credits_cost, operation.model_factors.get(model, 1.0), operation.tier_factors.get(tier, 1.0)
    )


@lru_cache(1024)
def _rounded(cost: int, of_model: float, of_tier: float) -> int:
    exact = Decimal(cost) * Decimal(str(of_model)) * Decimal(str(of_tier))
    return int(exact.to_integral_value(ROUND_HALF_UP))


def price_of_job(operation: Operation, model: str, tier: Tier, images: int) -> int:
    """Return the credits that a job of this many images costs."""
    return images * price_of_image(operation, model, tier)
