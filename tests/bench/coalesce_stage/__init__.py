"""The processes of the bench of coalesce."""
