"""The stage of the bench ``instructions``."""
