"""`Client` and `AsyncClient` are one client: the same methods, parameters, and results."""

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest
from backlot_client import AsyncClient, Client

METHODS = [name for name, _ in inspect.getmembers(Client, inspect.isfunction) if not name.startswith("_")]


def test_there_are_methods() -> None:
    assert {"submit", "follow", "wait", "download", "cancel", "credits"} <= set(METHODS)
    assert [
        name for name, _ in inspect.getmembers(AsyncClient, inspect.isfunction) if not name.startswith("_")
    ] == METHODS


@pytest.mark.parametrize("name", ["__init__", *METHODS])
def test_signatures_are_equal(name: str) -> None:
    assert signature(getattr(Client, name)) == signature(getattr(AsyncClient, name)).replace(
        "AsyncIterator", "Iterator"
    )


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_awaited_or_iterated(name: str) -> None:
    method = getattr(AsyncClient, name)
    assert inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method)


def signature(method: Callable[..., Any]) -> str:
    return re.sub(r"\b(typing|collections\.abc)\.", "", str(inspect.signature(method)))


@pytest.mark.parametrize("name", ["jobs", "whole_jobs", "backgrounds", "images"])
def test_a_filter_that_there_is_not_is_refused(name: str) -> None:
    with Client("http://127.0.0.1:1", "sk_live_a") as client, pytest.raises(TypeError, match="statsu"):
        getattr(client, name)(statsu="active")
