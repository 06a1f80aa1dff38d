"""The table ``[plugins.fleet]``."""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen, validators

from argo_mw.plugin import Duration


@frozen
class FleetConfig:
    """The table ``[plugins.fleet]``: how this program reaches a scheduler of Dask, or is a worker.

    Attributes:
        tls_ca: The certificates, in PEM, of the authority that all parts of the fleet, and nothing
            else, have their certificates from.
        tls_certificate: This program's own certificate, in PEM.
        tls_key: Its private key, in PEM.
        connect_timeout: Seconds that connecting to the scheduler may take, and the start of local
            workers.
        silence: Seconds after which a worker that does not answer counts as lost.
        slots: Requests of callers that a worker answers at once; each has many subjects.
    """

    tls_ca: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    connect_timeout: Duration = field(default=60.0, validator=validators.gt(0))
    silence: Duration = field(default=30.0, validator=validators.gt(5))
    slots: int = field(default=32, validator=validators.ge(1))

    def __attrs_post_init__(self) -> None:
        """Check that the files for TLS are all given, or none.

        Raises:
            ValueError: Some are missing.
        """
        given = [one is not None for one in (self.tls_ca, self.tls_certificate, self.tls_key)]
        if any(given) and not all(given):
            msg = "tls_ca, tls_certificate and tls_key go together: give all three, or none"
            raise ValueError(msg)

    @property
    def encrypted(self) -> bool:
        """Whether connections are encrypted, and both ends known."""
        return self.tls_ca is not None
