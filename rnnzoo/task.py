"""Task: what `rnnzoo.load` returns, in every family."""

from __future__ import annotations

import abc
import dataclasses
import logging
import math
import os
import pathlib
import tempfile
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import keras
import numpy as np

from rnnzoo import checkpoint, graph_cache, hub, precision
from rnnzoo.adapter import Adapter
from rnnzoo.card import card_of, is_as_loaded
from rnnzoo.checkpoint import CONFIG, Checkpoint
from rnnzoo.config import choose_options, read_config
from rnnzoo.engine import Engined
from rnnzoo.errors import CheckpointError, ConfigError, InputError, WeightsError
from rnnzoo.export import write_graph
from rnnzoo.head import Described
from rnnzoo.quantized import check_scheme
from rnnzoo.training import Trainable

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo

_MAX_PARAMETERS = 2**30
_LOGGER = logging.getLogger("rnnzoo")
Path = str | os.PathLike[str]


class Task(Engined, Trainable):
    """A network with the way in and the way out: raw input to result.

    A `keras.Model`: `summary`, `compile`, callbacks and `.keras` files work on it as usual.
    `network` is the plain functional model, `preprocessor` turns raw input into its tensors,
    `decoding` holds the defaults of the options that `predict` takes. `raw_kind` tells the command
    line what to read: "lines" of text, or "proteins". What `rnnzoo.load` may change is named by
    `changeable`, fields of the network's config that leave its weights alone, and by `heads`, which
    change them; the weights that are new then are `new_weights`. `parts` has the patterns of the
    weights of each part that `freeze` knows.
    `origin` is the checkpoint whose weights it was loaded with.

    Examples
    --------
    >>> import rnnzoo
    >>> issubclass(type(rnnzoo.load("seq2seq-en-fr")), rnnzoo.Task)
    True
    """

    family: ClassVar[str]
    raw_kind: ClassVar[str] = "lines"
    config_type: ClassVar[type]
    preprocessor_config_type: ClassVar[type]
    decoding_type: ClassVar[type]
    changeable: ClassVar[tuple[str, ...]] = ()
    heads: ClassVar[tuple[str, ...]] = ()
    config: Any
    network: keras.Model
    preprocessor: Any
    decoding: Any
    origin: Checkpoint | None

    def __init__(
        self,
        config: Any,
        preprocessor: Any,
        decoding: Any = None,
        dtype: str = "auto",
        **kwargs: Any,
    ) -> None:
        policy = keras.DTypePolicy(precision.resolve(dtype))
        super().__init__(dtype=policy, **kwargs)
        self.config, self.preprocessor = config, preprocessor
        self.decoding = decoding or self.decoding_type()
        self.network = self.build_network(config, policy)
        self._forget_graphs()
        self.built = True

    # --- what a family says of itself ------------------------------------------------------

    @staticmethod
    @abc.abstractmethod
    def build_network(config: Any, dtype: Any) -> keras.Model:
        """The network of a config, of the type `config_type`."""

    @staticmethod
    @abc.abstractmethod
    def weight_shapes(config: Any) -> dict[str, tuple[int, ...]]:
        """The shape of every weight by its path, without building the network."""

    @staticmethod
    @abc.abstractmethod
    def open_preprocessor(config: Any, asset: Callable[[str], bytes]) -> Any:
        """The preprocessor of a config; `asset` gives the content of a file by its name."""

    @classmethod
    def new_head(
        cls, old: Described, changes: Mapping[str, Any], asset: Callable[[str], bytes]
    ) -> Described:
        """What a checkpoint describes with another head, for changes that `heads` names.

        Raises
        ------
        InputError
            For a change that cannot be made.
        """
        return old

    def assets(self) -> dict[str, bytes]:
        """The files that a checkpoint holds besides, by their names."""
        return {}

    @abc.abstractmethod
    def predict(
        self, inputs: Any, batch_size: int | None = None, verbose: Any = "auto", **options: Any
    ) -> Any:
        """The family's result for one input, a list of them for several."""

    def example(self) -> Any:
        """Something short to predict of.

        Examples
        --------
        >>> import rnnzoo
        >>> rnnzoo.load("seq2seq-en-fr").example()
        'a'
        """
        return "a"

    def warmup(self, inputs: Any = None, **options: Any) -> None:
        """Trace, compile and convert what `predict` needs, so that the next call is a quick one.

        Parameters
        ----------
        inputs : optional
            What `predict` takes; by default something short of the family's own.
        **options
            Those that `predict` will be called with: some choose what is compiled.

        Examples
        --------
        >>> import rnnzoo
        >>> translator = rnnzoo.load("seq2seq-en-fr")
        >>> translator.warmup(beam_size=1)
        """
        self.predict(self.example() if inputs is None else inputs, verbose=0, **options)

    # --- checkpoints -----------------------------------------------------------------------

    @classmethod
    def from_checkpoint(
        cls,
        opened: Checkpoint,
        dtype: str = "auto",
        weights: bool = True,
        overrides: Mapping[str, Any] | None = None,
        adapter: Adapter | None = None,
        merge_adapter: bool = True,
        quantize: str | None = None,
    ) -> Self:
        """The task that a verified checkpoint folder describes, with an adapter if one is given,
        its weights kept as `quantize` says.

        Everything is checked before the network is built.

        Raises
        ------
        CheckpointError
            Or one of its kinds, if config, files and weights do not fit each other, or the adapter
            belongs to another base.
        InputError
            For an override that the family does not allow, a head that is not the adapter's, and
            what cannot be quantized.
        """
        if quantize is not None:
            check_scheme(quantize)
            if not weights or (adapter is not None and not merge_adapter):
                raise InputError(
                    "quantized weights are for use alone: quantize goes with weights=True and "
                    "merge_adapter=True"
                )
        if adapter is not None:
            adapter.check_base(opened)
            heads = {n: v for n, v in (overrides or {}).items() if n in cls.heads}
            adapter.check_head(heads, {**opened.config.network, **opened.config.preprocessor})
        overrides = {**(adapter.config.overrides if adapter else {}), **(overrides or {})}
        described, stored = cls._describe(opened, overrides)
        held = set(adapter.config.whole) if adapter else set()
        new = tuple(path for path in described.new_weights if path not in held)
        if quantize is not None and new:
            raise InputError(
                f"{', '.join(new)} would begin with new rows, which fit() has to "
                "train: load without quantize, train, and quantize() then"
            )
        shapes = cls.weight_shapes(described.network)
        preprocessor = cls.open_preprocessor(
            described.preprocessor,
            lambda name: described.assets.get(name) or opened.asset(name).read_bytes(),
        )
        decoding = read_config(
            cls.decoding_type, opened.config.decoder, f"{opened.folder / CONFIG}, decoder"
        )
        values = opened.read_weights(stored) if weights else None
        updates = adapter.read_weights(shapes) if adapter else {}
        task = cls(described.network, preprocessor, decoding, dtype)
        fields = dataclasses.asdict(described.network)
        task._loaded_as.overrides = {n: fields.get(n, value) for n, value in overrides.items()}
        task._loaded_as.adapter = adapter
        if values is None:
            return task
        task._loaded_as.changed = tuple(described.rows)
        values = described.renewed(values, task.weights_by_path())
        if adapter and merge_adapter:
            values = adapter.merged(values, updates)
        task.assign_weights(values)
        task.origin = opened
        task.new_weights = new
        if adapter and not merge_adapter:
            task._put_on(adapter, updates)
        if new or described.dropped:
            _LOGGER.warning(_news(opened, new, described.dropped, len(values)))
        if quantize is not None:
            task.quantize(quantize)
        return task

    @classmethod
    def _describe(
        cls, opened: Checkpoint, overrides: Mapping[str, Any]
    ) -> tuple[Described, dict[str, tuple[int, ...]]]:
        """What to build for a checkpoint with some changes, and the shapes of its own weights."""
        where = str(opened.folder / CONFIG)
        network = read_config(cls.config_type, opened.config.network, f"{where}, network")
        changes = {name: overrides[name] for name in cls.heads if name in overrides}
        others = {name: value for name, value in overrides.items() if name not in changes}
        changed = choose_overrides(network, others, cls.changeable, cls.heads)
        stored = cls.weight_shapes(network)
        if sum(math.prod(shape) for shape in stored.values()) > _MAX_PARAMETERS:
            raise ConfigError(f"{where} describes a network of over {_MAX_PARAMETERS:,} parameters")
        preprocessor = read_config(
            cls.preprocessor_config_type, opened.config.preprocessor, f"{where}, preprocessor"
        )
        described = Described(changed, preprocessor)
        if changes:
            described = cls.new_head(described, changes, lambda n: opened.asset(n).read_bytes())
        return described, stored

    def saved_parts(self) -> dict[str, Any]:
        """`network`, `preprocessor`, `decoder` (dicts) and `assets` of a checkpoint."""
        return {
            "network": dataclasses.asdict(self.config),
            "preprocessor": dataclasses.asdict(self.preprocessor.config),
            "decoder": dataclasses.asdict(self.decoding),
            "assets": self.assets(),
        }

    def _graphs_key(self) -> str | None:
        ours = type(self).__module__.partition(".")[0] == "rnnzoo"
        if not ours or self.lora is not None or not is_as_loaded(self):
            return None  # graphs of other code, or of weights that are being worked on
        described = {
            "family": self.family,
            "quantization": self.quantization,
            **self.saved_parts(),
        }
        return graph_cache.key_of(described, self.weight_values())

    def get_config(self) -> dict[str, Any]:
        """What a `.keras` file holds besides the weights."""
        parts = self.saved_parts()
        assets = {name: content.hex() for name, content in parts["assets"].items()}
        names = ("rank", "alpha", "targets", "whole")
        return {
            **parts,
            "assets": assets,
            "policy": self.dtype_policy.name,
            "name": self.name,
            "frozen": self._frozen(),
            "lora": self.lora and {name: getattr(self.lora, name) for name in names},
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """The task that a `.keras` file describes, its weights still to be loaded."""
        chosen = cls.preprocessor_config_type(**config["preprocessor"])
        preprocessor = cls.open_preprocessor(
            chosen, lambda name: bytes.fromhex(config["assets"][name])
        )
        task = cls(
            cls.config_type(**config["network"]),
            preprocessor,
            cls.decoding_type(**config["decoder"]),
            config["policy"],
            name=config["name"],
        )
        for name in config.get("frozen", ()):
            task.weights_by_path()[name].trainable = False
        if config.get("lora"):
            lora = config["lora"]
            task._begin_lora(lora["rank"], lora["alpha"], lora["targets"], lora["whole"])
        return task

    # --- weights ---------------------------------------------------------------------------

    def assign_weights(self, values: Mapping[str, np.ndarray]) -> None:
        """Set every weight of the network.

        Raises
        ------
        WeightsError
            If a weight is missing, unknown or of another shape; none is set then.
        InputError
            For a quantized model, and while low-rank updates are on.
        """
        self._check_float("set weights")
        if self.lora is not None:
            raise InputError(
                "low-rank updates are on, and kernels are the sums of theirs: merge_lora() first, "
                "then set weights"
            )
        variables = self.weights_by_path()
        if set(values) != set(variables):
            odd = sorted(set(values) ^ set(variables))
            raise WeightsError(f"weights and network differ in: {', '.join(odd)}")
        for name, variable in variables.items():
            if tuple(values[name].shape) != tuple(variable.shape):
                raise WeightsError(
                    f"{name} has shape {values[name].shape}, expected {tuple(variable.shape)}"
                )
        for name, variable in variables.items():
            variable.assign(values[name])
        self._forget_engine()

    # --- Keras -----------------------------------------------------------------------------

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """The network's first output for its own input tensors."""
        return self.network(inputs, training=training)

    def save(
        self, filepath: Path, overwrite: bool = True, storage: str | None = None, **kwargs: Any
    ) -> None:
        """Write a checkpoint folder that `rnnzoo.load` reads; a path ending in `.keras` is
        written as Keras does.

        The folder gets a model card, `README.md`, that says what is known of the weights. Edit it
        as you like: what a person wrote is kept by later saves.

        Parameters
        ----------
        filepath : path
            A new folder, or one that holds a checkpoint, which is replaced as a whole.
        overwrite : bool
            False refuses to replace anything.
        storage : "float32", "float16" or "int8"
            How the weights are stored. The two smaller ones round them: measure before you ship.
            By default float32, and int8 for a quantized model, whose integers are stored as they
            are.

        Raises
        ------
        CheckpointError
            If the folder holds something else or cannot be written; nothing is changed then.
        InputError
            For a quantized model and one of Keras' files.

        Examples
        --------
        >>> import tempfile
        >>> import rnnzoo
        >>> translator = rnnzoo.load("seq2seq-en-fr")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     translator.save(f"{folder}/mine")
        ...     again = rnnzoo.load(f"{folder}/mine")
        """
        if str(filepath).endswith((".keras", ".h5", ".hdf5")):
            self._check_float("write one of Keras' files")
            super().save(filepath, overwrite=overwrite, **kwargs)
            return
        if kwargs:
            raise InputError(f"save() to a folder takes no {', '.join(map(repr, kwargs))}")
        if not overwrite and pathlib.Path(filepath).exists():
            raise CheckpointError(f"{filepath} exists and overwrite=False: name another folder")
        name = pathlib.Path(filepath).resolve().name
        self._save_folder(pathlib.Path(filepath), name, name, storage)

    def _save_folder(
        self, folder: pathlib.Path, name: str, address: str, storage: str | None
    ) -> None:
        """Write a checkpoint folder with a card of that name, loaded from that address."""
        self._renew_kernels()
        storage = storage or self.quantization or "float32"
        checkpoint.save_checkpoint(
            folder,
            family=self.family,
            weights=self.weight_values(),
            storage=storage,
            integers=self._integers(),
            card=card_of(self, name, address, storage),
            **self.saved_parts(),
        )

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        token: str | None = None,
        revision: str | None = None,
        commit_message: str | None = None,
        storage: str | None = None,
    ) -> CommitInfo:
        """Publish the model on the Hugging Face Hub, whole or not at all: one commit holds every
        file.

        Log in once with `hf auth login`. The model card is written as by `save`; one that a person
        wrote, here or on the hub, is kept.

        Parameters
        ----------
        repo_id : str
            "organisation/name", or "user/name"; made if it is missing.
        private : bool, optional
            Of a new repository; by default what the organisation says.
        token : str, optional
            By default the one of `hf auth login`, or of `HF_TOKEN`.
        revision : str, optional
            A branch, made if it is missing; "main" by default.
        commit_message : str, optional
        storage : "float32", "float16" or "int8"
            How the weights are stored, as by `save`.

        Returns
        -------
        huggingface_hub.CommitInfo
            A string, the commit's address, with its hash in `oid`. The head of the branch, if
            nothing has changed since.

        Raises
        ------
        InputError
            If `repo_id` or `revision` cannot be one.
        UploadError
            If the hub does not take it: no valid token, no permission, out of reach.

        Examples
        --------
        >>> import rnnzoo
        >>> translator = rnnzoo.load("seq2seq-en-fr")
        >>> commit = translator.push_to_hub("me/my-translator", private=True)  # doctest: +SKIP
        >>> again = rnnzoo.load(f"hf://me/my-translator@{commit.oid}")  # doctest: +SKIP
        """
        target = hub.check_target(repo_id, revision)
        with tempfile.TemporaryDirectory() as temporary:
            folder = pathlib.Path(temporary) / "checkpoint"
            self._save_folder(folder, repo_id.split("/")[1], hub.address_of(target), storage)
            return hub.push_folder(
                folder,
                repo_id,
                private=private,
                token=token,
                revision=revision,
                commit_message=commit_message,
            )

    def export(
        self,
        filepath: Path,
        format: str = "saved_model",
        *,
        graph: str = "network",
        length: int | Mapping[str, int] | None = None,
    ) -> None:
        """Write the network for another runtime, whole or not at all.

        Tensors go in and come out by name, as `graphs()` lists them, in float32. Sizes of batch and
        time stay open for SavedModel and ONNX, from one row on; for LiteRT, which needs no "Flex"
        operators then, the batch is one input and every length is fixed. Inputs are padded on the
        right, as the network's preprocessor pads them. A SavedModel of a model in int8 is in int8
        too, the others hold float32.

        Parameters
        ----------
        filepath : path
            A folder for SavedModel, a file for the others (.onnx, .tflite); what is there is
            replaced.
        format : "saved_model", "onnx" or "litert"
            What runs it: `tf.saved_model.load(path).signatures["serving_default"]`, onnxruntime, or
            `ai_edge_litert.interpreter.Interpreter(path).get_signature_runner()`.
        graph : str
            "network", or another name of `graphs()`: "step" for what steps, with the state's parts
            in as `name` and out as `next_name`.
        length : int or dict, optional
            For LiteRT: the length of every open axis, or of each by its name. Shorter inputs are
            padded as the network pads.

        Raises
        ------
        InputError
            For a format or graph that there is not, a length that is missing or cannot be, and a
            network that computes in 16 bits, save for SavedModel.
        MissingDependencyError
            For ONNX without the extra `export`.
        ExportError
            If a converter fails or the place cannot be written; nothing is changed there then.

        Examples
        --------
        >>> import pathlib, tempfile
        >>> import rnnzoo
        >>> translator = rnnzoo.load("seq2seq-en-fr")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     translator.export(f"{folder}/step", graph="step")
        ...     sorted(path.name for path in pathlib.Path(folder, "step").iterdir())
        ['assets', 'fingerprint.pb', 'saved_model.pb', 'variables']
        """
        graphs = self.graphs()
        if graph not in graphs:
            raise InputError(
                f"this model has no graph {graph!r}; what can be exported: {', '.join(graphs)}"
            )
        write_graph(graphs[graph], self.network, filepath, format, length)


def _news(opened: Checkpoint, new: tuple[str, ...], dropped: tuple[str, ...], count: int) -> str:
    """What a person has to know of a new head."""
    parts = []
    if new:
        parts.append(
            f"{', '.join(new)} {'has' if len(new) == 1 else 'have'} new rows, which fit() has to "
            f"train; the other {count - len(new)} weights are loaded"
        )
    if dropped:
        parts.append(f"left out, as it does not fit: {', '.join(dropped)}")
    return f"{opened.folder.name} with a new head: {'; '.join(parts)}"


def choose_overrides(
    config: Any,
    overrides: Mapping[str, Any],
    allowed: tuple[str, ...],
    besides: tuple[str, ...] = (),
) -> Any:
    """A network's config with the changes that `rnnzoo.load` was asked for; `besides` names what
    else a model can be loaded with.

    Raises
    ------
    InputError
        For a change that the family does not allow.
    """
    for name in overrides:
        if name not in allowed:
            raise InputError(
                f"this model cannot be loaded with another {name!r}; what can be changed: "
                f"{', '.join((*besides, *allowed))}"
            )
    return choose_options(config, overrides)
