"""Incident events to people."""
