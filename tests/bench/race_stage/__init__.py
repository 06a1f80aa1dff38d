"""What the bench of ``race`` is played with: vendors over sockets, and vendors made up."""
