"""The vendors' protocols, free of sockets."""
