from __future__ import annotations

import pytest

from argo_mw_redis.testing import servers
from argo_mw_redis.testing_cluster import cluster


@pytest.fixture
def start_server(tmp_path):
    with servers(tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    """Start a cluster for the tests of a module; nodes that they suspend count as dead for none."""
    with cluster(tmp_path_factory.mktemp("cluster"), timeout=30_000) as made:
        yield made


@pytest.fixture
def server(start_server):
    return start_server()
