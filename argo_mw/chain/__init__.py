"""The chain: how a call finds its way through layers to an upstream."""
