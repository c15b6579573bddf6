"""Farwatch: host monitoring that pages once, for the right thing, with the cause in the message."""

__version__ = "0.1.0"
