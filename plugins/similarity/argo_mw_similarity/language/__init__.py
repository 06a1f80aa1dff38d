"""What a prompt says, as far as one can tell without a model."""
