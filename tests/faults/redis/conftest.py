from __future__ import annotations

import pytest

from argo_mw_redis.testing import servers


@pytest.fixture
def start_server(tmp_path):
    with servers(tmp_path) as start:
        yield start


@pytest.fixture
def server(start_server):
    return start_server()
