"""The kernel measured beside bare generators and beside other libraries."""
