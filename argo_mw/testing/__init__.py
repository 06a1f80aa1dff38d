"""What authors of plugins and programs need to test them."""
