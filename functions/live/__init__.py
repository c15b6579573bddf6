"""The WebSocket API and what is pushed through it."""
