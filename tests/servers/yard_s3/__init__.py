"""S3 servers that tests start, and a proxy that breaks the way to them.

`moto` knows conditional writes and checks no signature; `rclone` checks signatures. The fixtures of
these names are in fixtures.py; tests/conftest.py makes them everybody's.
"""
