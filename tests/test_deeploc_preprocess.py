"""FASTA and sequences: what is read, how, and what is refused by name and line."""

import gzip
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnzoo.deeploc import PreprocessorConfig, ProteinPreprocessor
from rnnzoo.deeploc.fasta import read_fasta, stream_fasta
from rnnzoo.deeploc.residues import BLOSUM62, LETTERS, RESIDUES, TABLES
from rnnzoo.errors import InputError

FASTA = ">sp|P1|A first\nMKV\nLLA*\n\n>b\nms-d. e\n; a remark\n>c\nMUOX\n"
EXPECTED = [("sp|P1|A", "MKVLLA"), ("b", "MSDE"), ("c", "MUOX")]


@pytest.fixture
def preprocessor():
    return ProteinPreprocessor(PreprocessorConfig(("Nucleus", "Cytoplasm"), max_length=10))


def read(preprocessor, inputs, skipped=None):
    return [(p.name, p.sequence) for p in preprocessor.proteins(inputs, skipped)]


def test_blosum62_is_biopythons():
    substitution_matrices = pytest.importorskip("Bio.Align.substitution_matrices")
    matrix = substitution_matrices.load("BLOSUM62")
    expected = [[matrix[a][b] for b in RESIDUES] for a in RESIDUES]
    np.testing.assert_array_equal(BLOSUM62, expected)


def test_ambiguous_letters_are_the_mean_of_what_they_may_be():
    row = dict(zip(LETTERS, TABLES["one-hot"][1:], strict=True))
    np.testing.assert_allclose(row["B"], (row["D"] + row["N"]) / 2)
    np.testing.assert_allclose(row["X"], 1 / 20)
    assert not TABLES["blosum62"][0].any()


def test_fasta_as_text_file_gzip_and_stream(preprocessor, tmp_path):
    (tmp_path / "a.fasta").write_text(FASTA)
    (tmp_path / "packed.anything").write_bytes(gzip.compress(FASTA.encode()))
    (tmp_path / "mac.fa").write_bytes(FASTA.replace("\n", "\r").encode())
    (tmp_path / "latin.fa").write_bytes(FASTA.replace(" first", " \xe9").encode("latin-1"))
    (tmp_path / "windows.fa").write_bytes(b"\xef\xbb\xbf" + FASTA.replace("\n", "\r\n").encode())
    for inputs in (
        FASTA,
        str(tmp_path / "a.fasta"),
        tmp_path / "a.fasta",
        tmp_path / "packed.anything",
        tmp_path / "windows.fa",
        tmp_path / "mac.fa",
        tmp_path / "latin.fa",
        stream_fasta(io.BytesIO(FASTA.encode()), "a stream"),
        EXPECTED,
    ):
        assert read(preprocessor, inputs) == EXPECTED


def test_sequences_pairs_and_lists(preprocessor):
    assert read(preprocessor, "mkvla") == [("sequence_1", "MKVLA")]
    assert read(preprocessor, ("x", "MKV")) == [("x", "MKV")]
    assert read(preprocessor, ["MKV", ("x", "MSD")]) == [("sequence_1", "MKV"), ("x", "MSD")]
    assert read(preprocessor, np.array(["MKV"])) == [("sequence_1", "MKV")]
    assert preprocessor.is_single("MKV")
    assert preprocessor.is_single(("x", "MKV"))
    assert not preprocessor.is_single(FASTA)
    assert not preprocessor.is_single(["MKV"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (">a\nMK1\n", r"'a' \(the FASTA text, line 1\): '1' at residue 3"),
        (">a\nMKV\n>empty\n\n>b\nMK", r"'empty' \(the FASTA text, line 3\): .* empty"),
        (">a\n*\n", "empty"),
        (">a\nMKV\n>a\nMKV\n", r"'a' \(.*line 3\): the id was there before"),
        (">dna\n" + "ACGT" * 10, r"'dna' \(.*line 1\).*DNA"),
        (">rna\n" + "ACGUN" * 10, "RNA"),
        (">dna\n" + "ACGTACGTACGTACGTRACGTACGT", "DNA"),
        (">dna\n" + "AT" * 12, "DNA"),
        ("MKV\n>a\nMKV", "'>' at residue 4"),
        (">a\nMKÉ", "'É'"),
        (">a\nMKß", "'ß'"),
        (">a\nMKı", "'ı'"),
        ("data.pep", "cannot read data.pep"),
        ("M\x00/V", "cannot read"),
    ],
)
def test_what_cannot_be_read_is_named(preprocessor, text, message):
    with pytest.raises(InputError, match=message):
        read(preprocessor, text)


def test_invalid_records_can_be_left_out(preprocessor):
    skipped = []
    text = ">a\nMKV\n>bad\nMK1\n>a\nMSD\n>\nMM\n>dna\n" + "ACGT" * 9 + "\n>b\nMSD"
    assert read(preprocessor, text, skipped) == [("a", "MKV"), ("line_7", "MM"), ("b", "MSD")]
    assert [str(error).split(":")[0] for error in skipped] == [
        "record 'bad' (the FASTA text, line 3)",
        "record 'a' (the FASTA text, line 5)",
        "record 'dna' (the FASTA text, line 9)",
    ]


def test_a_name_that_nobody_gave_gives_way(preprocessor, tmp_path):
    for name in ("a.fa", "b.fa"):
        (tmp_path / name).write_text(">\nMKV\n>sequence_3\nMSD\n")
    files = [tmp_path / "a.fa", tmp_path / "b.fa", "MM"]
    skipped = []
    found = [name for name, _ in read(preprocessor, files, skipped)]
    assert found == ["line_1", "sequence_3", "line_1_2", "sequence_3_2"]
    assert [str(error).split(" (")[0] for error in skipped] == ["record 'sequence_3'"]


def test_fasta_text_may_begin_with_a_mark_or_a_comment(preprocessor):
    for begin in ("\ufeff", "; a comment\n", "\n"):
        assert read(preprocessor, f"{begin}>a\nMKV\n") == [("a", "MKV")]


def test_a_stop_inside_is_an_unknown_residue_and_u_and_o_have_relatives(preprocessor):
    assert read(preprocessor, "MK*V*") == [("sequence_1", "MKXV")]
    numbers = preprocessor.numbers("CUKOX")
    assert numbers[0] == numbers[1]
    assert numbers[2] == numbers[3]
    assert preprocessor.numbers("A") == [1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no FASTA record"),
        (b"\x00\xff\xfe", "expected FASTA"),
        (b">a\nMK\xffV\n", "at residue 3"),
        (b"no header\n", "line 1: expected FASTA"),
        (FASTA.encode("utf-16"), "UTF-16 text: save it as UTF-8"),
        (gzip.compress(FASTA.encode(), mtime=0)[:20], "broken gzip"),
    ],
)
def test_files_that_are_not_fasta(preprocessor, tmp_path, content, message):
    (tmp_path / "x.fasta").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read(preprocessor, tmp_path / "x.fasta")
    with pytest.raises(InputError, match="cannot read"):
        read(preprocessor, "missing.fasta")
    with pytest.raises(InputError, match="cannot read"):
        read(preprocessor, tmp_path)


def test_a_file_is_read_record_by_record(preprocessor):
    def endless():
        number = 0
        while True:
            number += 1
            yield f">p{number}\n".encode()
            yield b"MKV\n"

    proteins = preprocessor.proteins(read_fasta(endless(), "an endless file"))
    assert [next(proteins).name for _ in range(3)] == ["p1", "p2", "p3"]


def test_long_chains_keep_both_ends_and_importance_finds_its_residues(preprocessor):
    chain = np.arange(1, 21)
    assert preprocessor.cut(chain).tolist() == [1, 2, 3, 4, 5, 16, 17, 18, 19, 20]
    assert preprocessor.cut(chain[:10]).tolist() == list(range(1, 11))
    spread = preprocessor.spread(np.arange(1.0, 11), 13)
    assert spread.tolist() == [1, 2, 3, 4, 5, 0, 0, 0, 6, 7, 8, 9, 10]
    assert preprocessor.spread(np.arange(1.0, 11), 4).tolist() == [1, 2, 3, 4]


def test_padding(preprocessor):
    padded = preprocessor.encode(["MKV", "A"])
    assert padded.shape == (2, 3)
    assert padded[1].tolist() == [1, 0, 0]
    assert preprocessor.encode([]).shape == (0, 1)


@given(text=st.text(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_or_named(text):
    preprocessor = ProteinPreprocessor(PreprocessorConfig(("a", "b")))
    try:
        proteins = list(preprocessor.proteins(">x\n" + text))
    except InputError:
        return
    for protein in proteins:
        assert protein.sequence
        assert (preprocessor.numbers(protein.sequence) > 0).all()


@given(
    names=st.lists(
        st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=9),
        min_size=1,
        max_size=8,
        unique=True,
    ),
    data=st.data(),
)
@settings(max_examples=100, deadline=None)
def test_fasta_that_is_written_is_read_back(names, data):
    chains = [data.draw(st.text(RESIDUES, min_size=1, max_size=40)) for _ in names]
    width = data.draw(st.integers(1, 50))
    text = "".join(
        f">{name} remark\n" + "\n".join(c[n : n + width] for n in range(0, len(c), width)) + "\n"
        for name, c in zip(names, chains, strict=True)
    )
    records = list(read_fasta(text.encode().splitlines(), "text"))
    assert [(r.name, r.letters) for r in records] == list(zip(names, chains, strict=True))


def test_locations_must_differ():
    with pytest.raises(ValueError, match="locations"):
        PreprocessorConfig(("a", "a"))
