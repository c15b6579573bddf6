"""Ports: what the services need from outside, as Protocols, one module per subject. Adapters implement them."""
