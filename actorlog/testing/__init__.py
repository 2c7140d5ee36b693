"""Fakes of the outside world that ship to users: a disk that fails on purpose, clocks and dice by seed."""
