"""Beyond this machine, only mutual TLS."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from argo_mw.plugin import ConfigError
from argo_mw_fleet.config import FleetConfig
from argo_mw_fleet.reach import check_listens, reach


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    found = {name: tmp_path / f"{name}.pem" for name in ("tls_ca", "tls_certificate", "tls_key")}
    authority = trustme.CA()
    issued = authority.issue_cert("scheduler.example")
    authority.cert_pem.write_to_path(found["tls_ca"])
    issued.cert_chain_pems[0].write_to_path(found["tls_certificate"])
    issued.private_key_pem.write_to_path(found["tls_key"])
    return found


@pytest.mark.parametrize("host", ["10.0.0.7", "scheduler.example", "0.0.0.0", "[::]", "[fd00::1]"])
def test_beyond_this_machine_a_scheduler_needs_certificates(host: str) -> None:
    with pytest.raises(ConfigError, match=r"runs whatever it is sent: give tls_ca"):
        reach(f"dask://{host}:8786", FleetConfig())


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("dask://127.0.0.1:9000", "tcp://127.0.0.1:9000"),
        ("dask://localhost", "tcp://localhost:8786"),
        ("dask://[::1]:9000", "tcp://[::1]:9000"),
    ],
)
def test_on_this_machine_it_needs_none(url: str, address: str) -> None:
    found = reach(url, FleetConfig())
    assert (address, True, False) == (
        found.address,
        found.is_local,
        found.security.require_encryption,
    )


def test_with_certificates_nothing_goes_in_the_clear(files: dict[str, Path]) -> None:
    for host in ("scheduler.example", "127.0.0.1"):
        found = reach(f"dask://{host}:8786", FleetConfig(**files))
        assert f"tls://{host}:8786" == found.address
        assert found.security.require_encryption
        for role in ("client", "worker"):
            told = found.security.get_tls_config_for_role(role)
            assert (str(files["tls_ca"]), str(files["tls_certificate"]), str(files["tls_key"])) == (
                told["ca_file"],
                told["cert"],
                told["key"],
            )


def test_a_scheduler_without_certificates_listens_on_this_machine_only(
    files: dict[str, Path],
) -> None:
    clear, encrypted = (
        reach("dask://localhost", FleetConfig()),
        reach("dask://localhost", FleetConfig(**files)),
    )
    for address in ("tcp://127.0.0.1:8786", "tcp://[::1]:8786"):
        check_listens(address, clear)
    for address in ("tcp://192.0.2.1:8786", "tcp://[fd00::1]:8786", "tcp://0.0.0.0:8786", ""):
        check_listens(address, encrypted)
        with pytest.raises(ConfigError, match="Dask runs whatever it is sent"):
            check_listens(address, clear)


def test_a_file_that_is_missing_is_named(files: dict[str, Path]) -> None:
    files["tls_key"].unlink()
    with pytest.raises(ConfigError, match=r"there is no file .*tls_key\.pem"):
        reach("dask://scheduler.example:8786", FleetConfig(**files))


@pytest.mark.parametrize("which", ["tls_ca", "tls_certificate", "tls_key"])
def test_files_that_cannot_be_used_are_refused(files: dict[str, Path], which: str) -> None:
    for content in ("junk", trustme.CA().private_key_pem.bytes().decode()):
        files[which].write_text(content)
        with pytest.raises(ConfigError, match="cannot be used together"):
            reach("dask://scheduler.example:8786", FleetConfig(**files))


def test_half_of_the_certificates_are_none() -> None:
    with pytest.raises(ValueError, match="all three"):
        FleetConfig(tls_ca=Path("ca.pem"))


@pytest.mark.parametrize(
    "url",
    ["dask://", "tcp://127.0.0.1:1", "dask://u:p@127.0.0.1:1", "dask://127.0.0.1:x", "dask://h/p"],
)
def test_what_is_no_scheduler_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="dask://HOST:PORT"):
        reach(url, FleetConfig())
