"""Farwatch: collector_agent."""
