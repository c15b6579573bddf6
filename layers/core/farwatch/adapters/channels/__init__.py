"""One module per channel: how its message is written, and how it is sent."""
