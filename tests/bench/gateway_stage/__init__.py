"""What the bench of the gateway is made of: proxies in processes of their own, and a load."""
