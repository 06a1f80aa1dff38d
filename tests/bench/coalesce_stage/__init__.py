"""What the bench of coalesce, and its fault tests, run in processes of their own."""
