"""House rules of the HTTP API: problems, principals, cursors, idempotency."""
