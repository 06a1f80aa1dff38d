"""What every other room stands on: time, tasks, errors, the log."""
