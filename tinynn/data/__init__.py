"""Data sets, how they are divided, batched and scaled.

`Dataset`, `TensorDataset`, `Subset` hold samples; `random_split`, `train_val_test_split`, `KFold` divide
them; `DataLoader` yields batches in the order of a `SequentialSampler` or `RandomSampler`; `StandardScaler`
brings features to mean 0 and deviation 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinynn.data.collate import default_collate
from tinynn.data.dataset import Dataset, Subset, TensorDataset
from tinynn.data.loader import DataLoader
from tinynn.data.sampler import RandomSampler, SequentialSampler
from tinynn.data.split import KFold, random_split, train_val_test_split

if TYPE_CHECKING:
    from tinynn.data.scaling import StandardScaler

__all__ = [
    "Dataset",
    "TensorDataset",
    "Subset",
    "random_split",
    "train_val_test_split",
    "KFold",
    "DataLoader",
    "default_collate",
    "SequentialSampler",
    "RandomSampler",
    "StandardScaler",
]


def __getattr__(name: str) -> Any:
    # The scaler is a Module; everything else here works without tinynn.nn, so that is loaded only for it.
    if name == "StandardScaler":
        from tinynn.data.scaling import StandardScaler

        return StandardScaler
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
