"""The stage of the bench ``miss``."""
