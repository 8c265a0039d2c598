"""Nodes made of nodes."""
