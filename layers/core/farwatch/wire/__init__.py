"""The formats that cross a process boundary: agent batches and queue messages."""
