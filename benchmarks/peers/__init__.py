"""The same workloads in other libraries, one module each, named after the library."""
