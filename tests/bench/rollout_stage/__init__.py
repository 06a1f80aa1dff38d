"""The simulated service of the bench of rollout, and the ramps that are judged there."""
