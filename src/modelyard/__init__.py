"""Modelyard takes a model from raw data to live traffic with proof at every step."""

from typing import Any

__all__ = ["connect", "load", "load_dataset", "load_model", "load_pipeline", "log_dataset", "train"]


def __getattr__(name: str) -> Any:
    """What Python uses of it, imported when it is used: a command that needs none of it starts quicker."""
    if name in __all__:
        from modelyard import api, training

        return getattr(training if name == "train" else api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
