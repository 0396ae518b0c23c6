"""Reading and writing: nested states in safetensors files."""

from tinynn.io.checkpoint import CheckpointError, load, save

__all__ = ["CheckpointError", "load", "save"]
