"""The vendors of the bench of ``race``: over sockets, and simulated."""
