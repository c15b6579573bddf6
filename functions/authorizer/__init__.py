"""The authoriser: who is asking, for every route of the HTTP API."""
