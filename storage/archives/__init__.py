"""Archives of weights versions: export, verified import, the model card, signed links."""
