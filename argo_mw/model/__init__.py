"""The values that travel through the chain."""
