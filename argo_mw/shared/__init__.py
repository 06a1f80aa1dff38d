"""Stores that instances share: the contract, and the drivers that need no server."""
