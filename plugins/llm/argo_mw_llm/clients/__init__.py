"""Clients of the providers' own SDKs, with the chain in between."""
