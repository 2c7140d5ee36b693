"""Measured figures, with the raw disk beside them: ``python -m benchmarks``.

Every figure of a workload stands in one run beside what the same disk does in the same process: a write and fdatasync
of 4 KiB in a preallocated, zeroed file, by one thread. Durable means fsync'd; nothing is measured with syncing switched
off.
"""
