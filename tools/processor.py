"""What computes here: the processor, and which of its instructions say how fast it may be."""

from __future__ import annotations

import platform
import re
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
_TOLD = {
    "avx2": "AVX2",
    "avx512f": "AVX512",
    "avx512_vnni": "AVX512-VNNI",
    "avx512_bf16": "AVX512-BF16",
    "amx_bf16": "AMX-BF16",
}
_BFLOAT16 = {"avx512_bf16", "amx_bf16"}


def _described() -> tuple[str, set[str]]:
    """Name and flags, as Linux tells them; elsewhere Python's name and none."""
    name, flags = platform.processor() or platform.machine(), set[str]()
    if CPUINFO.exists():
        text = CPUINFO.read_text()
        if found := re.search(r"^model name\s*: (.*)$", text, re.MULTILINE):
            name = found[1]
        if found := re.search(r"^flags\s*: (.*)$", text, re.MULTILINE):
            flags = set(found[1].split())
    return name, flags


def processor() -> str:
    """Its name with those of its instructions that products of matrices are fast by."""
    name, flags = _described()
    told = [words for flag, words in _TOLD.items() if flag in flags]
    return f"{name} ({', '.join(told)})" if told else name


def lacks_bfloat16() -> bool:
    """Whether it is known to have no instructions for bfloat16, which it then has to imitate."""
    _, flags = _described()
    return bool(flags) and flags.isdisjoint(_BFLOAT16)
