"""Pictures of what the networks look at."""

import dataclasses

import numpy as np
import pytest
from conftest import INSULIN, loaded_once

from rnnzoo.deeploc.residues import RESIDUES, TABLES
from rnnzoo.errors import InputError
from rnnzoo.inspect import attention_profile, filter_logos, plot_logos


@pytest.fixture(scope="module")
def model():
    return loaded_once("deeploc-attn")


def test_the_profile_is_the_mean_at_both_ends(model):
    found = model.predict([INSULIN, INSULIN[30:], "MSKL"])
    profile = attention_profile(found, labels=["a", "a", "b"], length=20)
    assert profile.counts == {"a": 2, "b": 1}
    scaled = [r.importance * len(r.sequence) for r in found]
    np.testing.assert_allclose(profile.start["a"], (scaled[0][:20] + scaled[1][:20]) / 2)
    np.testing.assert_allclose(profile.end["a"], (scaled[0][-20:] + scaled[1][-20:]) / 2)
    np.testing.assert_allclose(profile.end["b"][-4:], scaled[2])
    assert np.isnan(profile.start["b"][4:]).all()
    assert len(profile.plot().axes) == 4
    assert profile.to_dict()["a"]["proteins"] == 2
    with pytest.raises(InputError, match="labels"):
        attention_profile(found, labels=["a"])
    assert attention_profile(found[0]).counts == {"Extracellular": 1}


def test_alike_is_1_whatever_the_length(model):
    long = model.predict(INSULIN * 11)
    alike = np.where(long.importance > 0, 1 / long.read, 0).astype(np.float32)
    profile = attention_profile([dataclasses.replace(long, importance=alike)], labels=["a"])
    np.testing.assert_allclose(profile.start["a"], 1, rtol=1e-5)
    np.testing.assert_allclose(profile.end["a"], 1, rtol=1e-5)


def test_a_filter_made_for_a_motif_shows_it(model):
    """A width-3 filter that is set to like SKL has a logo that reads SKL, where SKL stands."""
    network = model.network.get_layer("member_0")
    convolution = network.convolutions[1]
    kept = convolution.get_weights()
    motif = [RESIDUES.index(letter) for letter in "SKL"]
    kernel = kept[0].copy()
    kernel[:, :, 0] = TABLES["blosum62"][np.array(motif) + 1]
    rng = np.random.default_rng(0)
    chains = ["".join(rng.choice(list(RESIDUES), 60)) for _ in range(30)]
    labels = ["Peroxisome"] * 15 + ["Nucleus"] * 15
    chains = [c + "SKL" if n < 15 else c for n, c in enumerate(chains)]
    try:
        convolution.set_weights([kernel, 0 * kept[1]])
        logos = filter_logos(model, chains, labels, threshold=0.95)
    finally:
        convolution.set_weights(kept)
    (logo,) = [one for one in logos if (one.width, one.number) == (3, 0)]
    assert logo.consensus == "SKL"
    assert logo.location == "Peroxisome"
    assert logo.position > 0.9
    assert logo.windows >= 15
    assert logo.information.sum(1).max() < np.log2(100)
    assert [one.enrichment for one in logos] == sorted(one.enrichment for one in logos)[::-1]
    assert logo.to_dict()["consensus"] == "SKL"
    assert len(plot_logos(logos[:4]).axes) == 6


def test_what_cannot_be_shown_is_said(model):
    with pytest.raises(InputError, match="labels"):
        filter_logos(model, ["MKV"], [])
    with pytest.raises(InputError, match="member"):
        filter_logos(model, ["MKV"], ["a"], member=99)
    with pytest.raises(InputError, match="no logos"):
        plot_logos([])
