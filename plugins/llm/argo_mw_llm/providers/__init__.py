"""The upstreams: each provider's SDK, what is known of it, and what it allows."""
