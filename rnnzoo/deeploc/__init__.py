"""Where a protein goes: DeepLoc (2017) and Sønderby et al. (2015)."""

from rnnzoo.deeploc.decode import DecisionOptions, Node, likelihood_tree
from rnnzoo.deeploc.network import DeepLocConfig, build_network
from rnnzoo.deeploc.preprocess import PreprocessorConfig, ProteinPreprocessor
from rnnzoo.deeploc.result import Localization
from rnnzoo.deeploc.task import ProteinLocalizer

__all__ = [
    "DecisionOptions",
    "DeepLocConfig",
    "Localization",
    "Node",
    "PreprocessorConfig",
    "ProteinLocalizer",
    "ProteinPreprocessor",
    "build_network",
    "likelihood_tree",
]
