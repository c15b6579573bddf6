"""Farwatch: adapters."""
