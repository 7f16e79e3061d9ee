"""Modules written for DEEPaaS 2 (webargs 5, marshmallow 3), served here without an edited line.

They must also run under DEEPaaS 2.6.0 itself: that is how the expected answers of the tests were
found. So nothing in this package knows of Modelyard.
"""
