"""What the bench of similarity is made of."""
