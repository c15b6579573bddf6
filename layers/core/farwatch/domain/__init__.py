"""Farwatch: domain."""
