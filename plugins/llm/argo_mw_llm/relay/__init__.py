"""The gateway's side: requests of its clients, passed on in their own protocols."""
