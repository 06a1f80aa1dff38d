"""What requests may cost and have cost: bounds, estimates, prices and usage."""
