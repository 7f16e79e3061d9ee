"""Who may call, and what: keys, permissions, and the log of changes and refusals.

`gate.py` knows the keys, `enforcing.py` asks it for every request by HTTP; the lane asks once for
each head that it has not seen, gRPC once for each call.
"""
