"""Shapes of what goes in and out: resources, arguments, errors, OpenAPI.

Knows marshmallow, never aiohttp.
"""
