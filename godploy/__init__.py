"""Godploy: a push to a git repository becomes a running, routed service."""

__version__ = "0.1.0"
