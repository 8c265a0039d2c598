"""The fields of a node as they were when its turn began."""

from __future__ import annotations

from collections import deque
from copy import copy
from typing import Any

__all__ = ["copied", "is_collection"]

COLLECTIONS = (list, dict, set, deque, bytearray)


def is_collection(value: Any) -> bool:
    """Could somebody change it without assigning it anew? Of other objects nobody knows how."""
    return isinstance(value, COLLECTIONS)


def copied(value: Any) -> Any:
    """A copy of a collection, with those that are in it."""
    cls = value.__class__
    if cls is list or cls is deque:
        parts = [copied(one) if isinstance(one, COLLECTIONS) else one for one in value]
        return parts if cls is list else deque(parts, value.maxlen)
    if cls is dict:
        return {
            key: copied(one) if isinstance(one, COLLECTIONS) else one for key, one in value.items()
        }
    return copy(value)
