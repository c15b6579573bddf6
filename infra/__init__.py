"""Farwatch: infra."""
