"""Nodes, messages, waits, the scheduler and the plain driver; everything else stands on these."""
