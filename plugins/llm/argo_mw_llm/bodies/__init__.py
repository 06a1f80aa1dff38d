"""Bodies of requests and answers: in pieces, as events, as JSON; all of them bounded."""
