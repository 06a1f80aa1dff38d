"""The parts of the bench ``fleet``."""
