"""The HTTP surface: composes the rooms below; one file a resource."""
