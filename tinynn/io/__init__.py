"""Reading and writing: nested states in safetensors files, and reports for TensorBoard."""

from tinynn.io.checkpoint import CheckpointError, load, save
from tinynn.io.summary import SummaryWriter

__all__ = ["CheckpointError", "SummaryWriter", "load", "save"]
