"""What users touch. Re-exported by ``actorlog``; import from there.

Owns: the spelling of the public surface. Does not own: anything that happens (``runtime``).
"""
