"""rnnzoo: the classic recurrent networks for Keras 3, with real pretrained weights.

import rnnzoo
rnnzoo.load("seq2seq-en-fr").predict("Where is the station?")
"""

from __future__ import annotations

import importlib.metadata
from typing import TYPE_CHECKING, Any

from rnnzoo import errors
from rnnzoo.keras_files import let_keras_know
from rnnzoo.registry import info, list_models, load, register, register_family

if TYPE_CHECKING:
    from rnnzoo.task import Task

__version__ = importlib.metadata.version("rnnzoo")
__all__ = [
    "Task",
    "__version__",
    "errors",
    "info",
    "list_models",
    "load",
    "register",
    "register_family",
]


def __getattr__(name: str) -> Any:
    if name == "Task":  # imports TensorFlow, so only when asked for
        from rnnzoo.task import Task

        return Task
    raise AttributeError(f"module 'rnnzoo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__


let_keras_know()  # so that keras.saving.load_model opens our files
