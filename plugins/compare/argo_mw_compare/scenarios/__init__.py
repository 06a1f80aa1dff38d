"""The promises of the plan, each shown in the situation that it was made for."""
