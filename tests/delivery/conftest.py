"""What tests of delivery share: one RabbitMQ for the whole run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.rabbitmq import RabbitMq
from tests.servers.tls import Authority


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def rabbit(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[RabbitMq]:
    pem = authority.certificate("127.0.0.1")
    with RabbitMq(tmp_path_factory.mktemp("rabbit"), certificate=(pem, pem)) as broker:
        yield broker
