"""What the tools tell of the processor."""

import processor
import pytest


@pytest.mark.parametrize(
    ("flags", "told", "lacks"),
    [
        ("fma avx avx2", "AMD EPYC (AVX2)", True),
        ("avx2 avx512f avx512_bf16", "AMD EPYC (AVX2, AVX512, AVX512-BF16)", False),
    ],
)
def test_instructions_are_told(tmp_path, monkeypatch, flags, told, lacks):
    own = f"model name\t: AMD EPYC\nflags\t\t: fpu {flags}\n\n"
    (tmp_path / "cpuinfo").write_text(own * 2)
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    assert processor.processor() == told
    assert processor.lacks_bfloat16() is lacks


def test_where_linux_tells_nothing_there_is_a_name(tmp_path, monkeypatch):
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "missing")
    assert processor.processor()
    assert not processor.lacks_bfloat16()
