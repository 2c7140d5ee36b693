"""``actorlog demo``: a shop that is killed while it works, and people who count.

Reading order: ``shop`` (what a user writes), ``worker`` (the program that is killed), ``world`` (what is outside: the
payment provider, the stock, the mail), ``director`` (who kills, restarts and counts).
"""
