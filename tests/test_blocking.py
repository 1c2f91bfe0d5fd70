"""The detector of calls that block the loop, which every other test relies on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockingError

PRODUCT = Path(__file__).parent.parent / "streamgate" / "invented.py"
SOURCE = """
import asyncio, time
def work(): time.sleep(0)
async def blocks(): work()
async def elsewhere(): await asyncio.to_thread(work)
async def asks(somebody): somebody()
"""


@pytest.fixture
def product() -> dict[str, Any]:
    """A module as if it were one of the product's."""
    names: dict[str, Any] = {}
    exec(compile(SOURCE, str(PRODUCT), "exec"), names)
    return names


async def test_a_coroutine_of_the_product_may_not_block(product: dict[str, Any]) -> None:
    """Neither may what it calls."""
    blocks: Callable[[], Awaitable[None]] = product["blocks"]
    with pytest.raises(BlockingError, match=r"time\.sleep"):
        await blocks()


async def test_a_callback_of_the_product_may_not_block(product: dict[str, Any]) -> None:
    """The loop calls it, and no coroutine does."""
    told = asyncio.get_running_loop().create_future()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: told.set_result(context["exception"]))
    loop.call_soon(product["work"])
    assert isinstance(await told, BlockingError)


async def test_a_thread_may_block(product: dict[str, Any]) -> None:
    """That is what it is for."""
    await product["elsewhere"]()


async def test_what_a_test_does_itself_may_block(product: dict[str, Any]) -> None:
    """To arrange, to look, and where it stands in for a part of the product."""
    product["work"]()
    await product["asks"](lambda: time.sleep(0))
