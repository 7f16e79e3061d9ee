"""The built-in image classifier: trains a small residual network on folders of pictures (torch)."""
