"""What holds for all tests."""

import gc


def pytest_collection_finish():
    """What pytest keeps of thousands of tests is not looked through at every collection."""
    gc.collect()
    gc.freeze()
