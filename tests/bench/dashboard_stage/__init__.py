"""The programs that the bench of the dashboard measures."""
