"""Amino acids as numbers, and numbers as features.

BLOSUM62 is the log-odds matrix of Henikoff and Henikoff (1992, doi 10.1073/pnas.89.22.10915),
divided by 4 here, so that its entries are of the order of 1. A letter that stands for several
residues has the mean of their rows: B is D or N, Z is E or Q, J is I or L, X any.
"""

from __future__ import annotations

import numpy as np

RESIDUES = "ARNDCQEGHILKMFPSTWYV"
_AMBIGUOUS = {"B": "DN", "Z": "EQ", "J": "IL", "X": RESIDUES}
LETTERS = RESIDUES + "".join(_AMBIGUOUS)
PAD_ID = 0

_BLOSUM62 = """
 4 -1 -2 -2  0 -1 -1  0 -2 -1 -1 -1 -1 -2 -1  1  0 -3 -2  0
-1  5  0 -2 -3  1  0 -2  0 -3 -2  2 -1 -3 -2 -1 -1 -3 -2 -3
-2  0  6  1 -3  0  0  0  1 -3 -3  0 -2 -3 -2  1  0 -4 -2 -3
-2 -2  1  6 -3  0  2 -1 -1 -3 -4 -1 -3 -3 -1  0 -1 -4 -3 -3
 0 -3 -3 -3  9 -3 -4 -3 -3 -1 -1 -3 -1 -2 -3 -1 -1 -2 -2 -1
-1  1  0  0 -3  5  2 -2  0 -3 -2  1  0 -3 -1  0 -1 -2 -1 -2
-1  0  0  2 -4  2  5 -2  0 -3 -3  1 -2 -3 -1  0 -1 -3 -2 -2
 0 -2  0 -1 -3 -2 -2  6 -2 -4 -4 -2 -3 -3 -2  0 -2 -2 -3 -3
-2  0  1 -1 -3  0  0 -2  8 -3 -3 -1 -2 -1 -2 -1 -2 -2  2 -3
-1 -3 -3 -3 -1 -3 -3 -4 -3  4  2 -3  1  0 -3 -2 -1 -3 -1  3
-1 -2 -3 -4 -1 -2 -3 -4 -3  2  4 -2  2  0 -3 -2 -1 -2 -1  1
-1  2  0 -1 -3  1  1 -2 -1 -3 -2  5 -1 -3 -1  0 -1 -3 -2 -2
-1 -1 -2 -3 -1  0 -2 -3 -2  1  2 -1  5  0 -2 -1 -1 -1 -1  1
-2 -3 -3 -3 -2 -3 -3 -3 -1  0  0 -3  0  6 -4 -2 -2  1  3 -1
-1 -2 -2 -1 -3 -1 -1 -2 -2 -3 -3 -1 -2 -4  7 -1 -1 -4 -3 -2
 1 -1  1  0 -1  0  0  0 -1 -2 -2  0 -1 -2 -1  4  1 -3 -2 -2
 0 -1  0 -1 -1 -1 -1 -2 -2 -1 -1 -1 -1 -2 -1  1  5 -2 -2  0
-3 -3 -4 -4 -2 -2 -3 -2 -2 -3 -2 -3 -1  1 -4 -3 -2 11  2 -3
-2 -2 -2 -3 -2 -1 -2 -3  2 -1 -1 -2 -1  3 -3 -2 -2  2  7 -1
 0 -3 -3 -3 -1 -2 -2 -3 -3  3  1 -2  1 -1 -2 -2  0 -3 -1  4
"""
BLOSUM62 = np.array([line.split() for line in _BLOSUM62.split("\n") if line], np.int32)


def _table(rows: np.ndarray) -> np.ndarray:
    """Features of every number: zeros for padding, the residues, means for ambiguous letters."""
    means = [rows[[RESIDUES.index(r) for r in some]].mean(0) for some in _AMBIGUOUS.values()]
    return np.concatenate([np.zeros((1, 20)), rows, means]).astype(np.float32)


TABLES = {"blosum62": _table(BLOSUM62 / 4), "one-hot": _table(np.eye(20))}
