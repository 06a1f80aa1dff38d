"""The replay of real minute bars through the real chain, behind the bench ``adaptive_ttl``."""
