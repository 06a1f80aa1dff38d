"""The chain: a call's way through layers to an upstream."""
