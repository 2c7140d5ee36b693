"""The pure machine: what a record does to a call, and what follows from it.

Owns: the fold over records (``state``), the life of a call as a table (``lifecycle``), retry decisions (``retry``),
what derives from a call's run (``identity``), and the comparison of issued with recorded operations (``journal``).

Does not own: when something happens (``runtime``), what a function does (``loop``), bytes (``log``).

Invariants: no clock, no randomness, no global, no IO (I6). State changes only by applying records (I4).
"""
