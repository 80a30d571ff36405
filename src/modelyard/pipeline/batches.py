"""Rows on their way through a model: how many at once, and read while the ones before are worked on."""

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

BATCH_ROWS = 65_536
Item = TypeVar("Item")


def read_ahead(items: Iterator[Item]) -> Generator[Item, None, None]:
    """The same items; while one is worked on, the next is made in a thread."""
    end: Any = object()
    with ThreadPoolExecutor(1, "read") as thread:
        coming = thread.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = thread.submit(next, items, end)
            yield item
