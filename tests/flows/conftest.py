"""Customers and clients of the running installation; a module has one customer, so that sums are its own."""

from collections.abc import AsyncIterator, Iterator

import pytest
from openai import AsyncOpenAI, OpenAI

from tests.flows.asking import async_sdk, sdk
from tests.installation import Customer, Installation


@pytest.fixture(scope="session")
def breakable() -> Iterator[Installation]:
    """Another one, for tests that kill and stop; each leaves it running."""
    with Installation() as running:
        yield running


@pytest.fixture(scope="module")
def customer(installation: Installation) -> Customer:
    return installation.create_customer("10.00")


@pytest.fixture
def client(customer: Customer) -> Iterator[OpenAI]:
    with sdk(customer) as client:
        yield client


@pytest.fixture
async def async_client(customer: Customer) -> AsyncIterator[AsyncOpenAI]:
    async with async_sdk(customer) as client:
        yield client
