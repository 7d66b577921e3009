"""The localizer: proteins in, `Localization` out."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf
import tqdm

from rnnzoo.config import choose_options
from rnnzoo.deeploc.decode import DecisionOptions
from rnnzoo.deeploc.network import DeepLocConfig, build_network, weight_shapes
from rnnzoo.deeploc.preprocess import PreprocessorConfig, Protein, ProteinPreprocessor
from rnnzoo.deeploc.result import Localization
from rnnzoo.errors import ConfigError, InputError
from rnnzoo.export import Graph, network_graph
from rnnzoo.head import Described, Rows, check_names
from rnnzoo.inputs import batches_by_length, check_batch_size, raw_inputs
from rnnzoo.parts import Parts
from rnnzoo.task import Task

WINDOW = 512  # proteins that are sorted by length at a time
_RESIDUES_AT_ONCE = 2**15


@keras.saving.register_keras_serializable(package="rnnzoo")
class ProteinLocalizer(Task):
    """A network, or several that are averaged, that reads where a protein goes in the cell.

    Parameters
    ----------
    config : DeepLocConfig
    preprocessor : ProteinPreprocessor
    decoding : DecisionOptions
        Defaults of what `predict` takes by keyword.
    dtype : str
        A dtype policy, or "auto" (see `rnnzoo.precision`).

    Examples
    --------
    >>> import rnnzoo
    >>> localizer = rnnzoo.load("deeploc-attn")
    >>> found = localizer.predict("MKVLAAGIVGLLLAQWWG")
    >>> abs(sum(found.likelihoods.values()) - 1) < 1e-5
    True
    >>> localizer.config.num_members, rnnzoo.load("deeploc-attn", num_members=1).config.num_members
    (3, 1)
    """

    family = "deeploc"
    raw_kind = "proteins"
    config_type = DeepLocConfig
    preprocessor_config_type = PreprocessorConfig
    decoding_type = DecisionOptions
    changeable = ("dropout", "input_dropout")
    heads = ("locations", "num_members")
    parts: ClassVar[Parts] = {
        "convolutions": ("member_*/conv_*", "member_*/second_conv/*"),
        "encoder": ("member_*/conv_*", "member_*/second_conv/*", "member_*/bilstm/*"),
        "decoder": ("member_*/decoder/*",),
        "attention": ("member_*/decoder/attention/*",),
        "dense": ("member_*/dense/*",),
        "head": ("member_*/location/*", "member_*/membrane/*"),
    }
    build_network = staticmethod(build_network)
    weight_shapes = staticmethod(weight_shapes)

    def __init__(
        self,
        config: DeepLocConfig,
        preprocessor: ProteinPreprocessor,
        decoding: DecisionOptions | None = None,
        dtype: str = "auto",
        **kwargs: Any,
    ) -> None:
        names = preprocessor.config.locations
        if len(names) != config.num_locations:
            raise ConfigError(
                f"the network tells {config.num_locations} locations apart, the preprocessor names "
                f"{len(names)}: they belong to different checkpoints"
            )
        super().__init__(config, preprocessor, decoding, dtype, **kwargs)

    @staticmethod
    def open_preprocessor(
        config: PreprocessorConfig, asset: Callable[[str], bytes]
    ) -> ProteinPreprocessor:
        return ProteinPreprocessor(config)

    def graphs(self) -> dict[str, Graph]:
        axes = {"location": "batch", "importance": "batch chain", "membrane": "batch"}
        return {"network": network_graph(self.network, residues="batch chain", **axes)}

    @classmethod
    def new_head(
        cls, old: Described, changes: Mapping[str, Any], asset: Callable[[str], bytes]
    ) -> Described:
        """Fewer members, the first ones; other locations: the layer that tells them apart is made
        anew, membrane or not is kept."""
        network, preprocessor, rows = old.network, old.preprocessor, {}
        if "num_members" in changes:
            count = changes["num_members"]
            network = choose_options(network, {"num_members": count})
            if count > old.network.num_members:
                raise InputError(
                    f"this checkpoint has {old.network.num_members} members, got "
                    f"num_members={count}"
                )
        locations = check_names("locations", changes.get("locations", preprocessor.locations))
        if locations != preprocessor.locations:
            new: tuple[None, ...] = (None,) * len(locations)
            for member in range(network.num_members):
                rows[f"member_{member}/location/kernel"] = Rows(1, new)
                rows[f"member_{member}/location/bias"] = Rows(0, new)
            network = choose_options(network, {"num_locations": len(locations)})
            preprocessor = choose_options(preprocessor, {"locations": locations})
        return Described(network, preprocessor, rows=rows)

    # --- training --------------------------------------------------------------------------

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """`location` [batch, num_locations] and, if the network tells, `membrane` [batch, 1]."""
        out = self.network(inputs, training=training)
        labels = {"location": out["location"]}
        if self.config.membrane:
            labels["membrane"] = out["membrane"][:, None]
        return labels

    def compile(self, optimizer: Any = None, loss: Any = "auto", **kwargs: Any) -> None:
        """As `keras.Model.compile`; by default Adam at 3e-4 with clipped gradients, and
        cross-entropy over locations and over membrane-bound or soluble where that is known."""
        if loss == "auto":
            mean = "mean_with_sample_weight"
            loss = {"location": keras.losses.SparseCategoricalCrossentropy(reduction=mean)}
            if self.config.membrane:
                loss["membrane"] = keras.losses.BinaryCrossentropy(reduction=mean)
        super().compile(optimizer=optimizer, loss=loss, **kwargs)

    def check_pairs(self, pairs: list[tuple[Any, Any]]) -> None:
        names = self.preprocessor.config.locations
        for number, (protein, target) in enumerate(pairs):
            place, membrane = _labels(target)
            if place not in names:
                raise InputError(
                    f"target {number}: unknown location {place!r}; this network's are "
                    f"{', '.join(names)}"
                )
            if membrane not in (True, False, None):
                raise InputError(
                    f"target {number}: expected (location, membrane) with True for "
                    f"membrane-bound, False for soluble or None; got {target!r}"
                )
            try:
                found = list(self.preprocessor.proteins([protein]))
            except InputError as error:
                raise InputError(f"input {number}: {error}") from error
            if len(found) != 1:
                raise InputError(
                    f"input {number} holds {len(found)} proteins: give one for each target"
                )

    def training_batch(self, inputs: list[Any], targets: list[Any]) -> tuple[Any, Any, Any]:
        """Residues, labels and their weights. A target is a location's name, or (location,
        membrane) with True for membrane-bound, False for soluble, None for unknown."""
        # not `proteins`: an id may be there twice, as of a rare location that is drawn again
        chains = [self.preprocessor.clean(one) for one in self.preprocessor.records(inputs)]
        names = {name: number for number, name in enumerate(self.preprocessor.config.locations)}
        pairs = [_labels(target) for target in targets]
        labels = {"location": np.array([names[place] for place, _ in pairs], np.int32)}
        weights = {"location": np.ones(len(pairs), np.float32)}
        if self.config.membrane:
            known = np.array([m is not None for _, m in pairs], np.float32)
            labels["membrane"] = np.array([[bool(m)] for _, m in pairs], np.float32)
            weights["membrane"] = known
        return self.preprocessor.encode(chains), labels, weights

    # --- prediction ------------------------------------------------------------------------

    def example(self) -> Any:
        return "MKV"

    def predict(
        self,
        inputs: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        skipped: list[InputError] | None = None,
        **options: Any,
    ) -> Any:
        """Tell where proteins go.

        Parameters
        ----------
        inputs : a sequence, FASTA text, path of a FASTA file (plain or gzipped), an open one, (id,
            sequence) pair, Biopython's `Seq` or `SeqRecord`, or an iterable or tf.data.Dataset of
            these
            See `rnnzoo.deeploc.preprocess` for the rule for letters.
        batch_size : int, optional
            Proteins at once, at most; fewer of long ones. Does not change the result.
        verbose : "auto", 0 or 1
            A progress bar on standard error; "auto" shows it on a terminal for many inputs.
        skipped : list, optional
            Leave out records that cannot be read and put their errors here, instead of raising
            the first.
        **options
            Fields of `DecisionOptions`: membrane_threshold.

        Returns
        -------
        Localization, or a list of them for FASTA and for several inputs

        Raises
        ------
        InputError
            For a record that cannot be read, with its name and line; for unknown options.

        Examples
        --------
        >>> import rnnzoo
        >>> localizer = rnnzoo.load("deeploc-attn")
        >>> [found.name for found in localizer.predict(">a\\nMKVLAAG\\n>b\\nMSDEEKLL")]
        ['a', 'b']
        """
        single = self.preprocessor.is_single(inputs)
        found = list(self.stream(inputs, batch_size, verbose, skipped, **options))
        if single and not found:
            raise (skipped or [InputError("there was nothing to read")])[-1]
        return found[0] if single else found

    def stream(
        self,
        inputs: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        skipped: list[InputError] | None = None,
        **options: Any,
    ) -> Iterator[Localization]:
        """As `predict`, one result after the other. Of a file of any size 512 proteins are in
        memory at once, and some 100 bytes for each id, so that none comes twice.

        Examples
        --------
        >>> import rnnzoo
        >>> localizer = rnnzoo.load("deeploc-attn")
        >>> next(localizer.stream([("a", "MKVLAAG"), ("b", "MSDEEKLL")])).name
        'a'
        """
        chosen = choose_options(self.decoding, options)
        batch_size = check_batch_size(batch_size, 64)
        if isinstance(inputs, tf.data.Dataset):
            inputs = _one_by_one(inputs)
        elif tf.is_tensor(inputs):
            inputs, _ = raw_inputs(inputs)
        proteins = self.preprocessor.proteins(inputs, skipped)
        return self._stream(proteins, batch_size, verbose, chosen)

    def _stream(
        self,
        proteins: Iterable[Protein],
        batch_size: int,
        verbose: Any,
        options: DecisionOptions,
    ) -> Iterator[Localization]:
        limit = self.preprocessor.config.max_length
        proteins = iter(proteins)
        window = list(itertools.islice(proteins, WINDOW))
        hidden = (None if len(window) > 64 else True) if verbose == "auto" else not verbose
        with tqdm.tqdm(unit="protein", disable=hidden, leave=False) as bar:
            while window:
                found: dict[int, Localization] = {}
                lengths = [min(len(protein.sequence), limit) for protein in window]
                for rows in batches_by_length(lengths, batch_size, _RESIDUES_AT_ONCE):
                    found.update(
                        zip(rows, self._read([window[n] for n in rows], options), strict=True)
                    )
                    bar.update(len(rows))
                for n in range(len(window)):
                    yield found.pop(n)
                window = list(itertools.islice(proteins, WINDOW))

    def _read(self, proteins: list[Protein], options: DecisionOptions) -> Iterator[Localization]:
        residues = self.preprocessor.encode(protein.sequence for protein in proteins)
        out = self._outputs(residues=residues)
        names, limit = self.preprocessor.config.locations, self.preprocessor.config.max_length
        for row, protein in enumerate(proteins):
            length = len(protein.sequence)
            membrane = float(out["membrane"][row]) if self.config.membrane else None
            yield Localization(
                location=names[int(out["location"][row].argmax())],
                name=protein.name,
                sequence=protein.sequence,
                likelihoods=dict(zip(names, out["location"][row].tolist(), strict=True)),
                membrane=membrane,
                membrane_bound=None if membrane is None else membrane >= options.membrane_threshold,
                importance=self.preprocessor.spread(out["importance"][row], length),
                read=min(length, limit),
            )


def _one_by_one(dataset: tf.data.Dataset) -> Iterator[Any]:
    """The strings, or tuples of strings, of a data set, batched or not."""
    spec = dataset.element_spec
    parts = spec if isinstance(spec, tuple) else (spec,)
    if not all(isinstance(part, tf.TensorSpec) and part.dtype == tf.string for part in parts):
        raise InputError(
            "expected a tf.data.Dataset of strings, or of (id, sequence) pairs of strings; its "
            f"elements are {spec}"
        )
    yield from (dataset.unbatch() if len(parts[0].shape) else dataset).as_numpy_iterator()


def _labels(target: Any) -> tuple[Any, Any]:
    """Location and membrane of a target."""
    pair = target if isinstance(target, (tuple, list)) else (target, None)
    return (pair[0], pair[1]) if len(pair) == 2 else (target, None)
