"""The fields of a node as they were when its turn began."""

from __future__ import annotations

from collections import deque
from copy import copy
from types import FunctionType
from typing import Any

from llambdao.journal.states import UNCHANGING

__all__ = ["copied", "is_mutable"]


def is_mutable(value: Any) -> bool:
    """Could somebody change it without assigning it anew?"""
    cls = value.__class__
    if cls is str or cls is int:
        return False
    return not isinstance(value, (*UNCHANGING, FunctionType, type))


def copied(value: Any) -> Any:
    """A copy of a collection, all the way down, and of what else can be copied; not of nodes."""
    cls = value.__class__
    if cls is list or cls is tuple or cls is deque:
        parts = [copied(one) if is_mutable(one) else one for one in value]
        return deque(parts, value.maxlen) if cls is deque else cls(parts)
    if cls is dict:
        return {key: copied(one) if is_mutable(one) else one for key, one in value.items()}
    try:
        return copy(value)
    except Exception:  # noqa: BLE001  # it cannot be copied, so it stays as it is
        return value
