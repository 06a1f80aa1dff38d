"""Whether two prompts ask the same: what differs between them, and what that forbids."""
