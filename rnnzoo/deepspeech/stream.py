"""Words while they are spoken."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from rnnzoo.ctc import Grammar, PrefixBeamSearch, greedy
from rnnzoo.deepspeech.audio import check_rate, checked
from rnnzoo.deepspeech.decode import DecodingOptions, transcript_of
from rnnzoo.deepspeech.frames import FrameStream
from rnnzoo.deepspeech.network import Recognizer
from rnnzoo.deepspeech.preprocess import SpeechPreprocessor
from rnnzoo.deepspeech.result import Transcript
from rnnzoo.errors import InputError, MissingDependencyError


class TranscriptStream:
    """Sound in pieces of any size, text at any time.

    What is kept of the sound is its spectrogram and the network's output, some 20 kB a second, for
    the transcript's times and picture.

    Parameters
    ----------
    recognizer : Recognizer
        Forward-only, with running normalisation.
    preprocessor : SpeechPreprocessor
    options : DecodingOptions
    search : PrefixBeamSearch or None
        As `rnnzoo.deepspeech.decode.search_for` gives it; None is greedy.
    grammar : Grammar, optional
        The one that the search has.
    sampling_rate : int, optional
        Of what is fed, in hertz; the network's by default.

    Raises
    ------
    InputError
        If the network needs the whole recording.
    MissingDependencyError
        For another rate than the network's without soxr.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        preprocessor: SpeechPreprocessor,
        options: DecodingOptions,
        search: PrefixBeamSearch | None = None,
        grammar: Grammar | None = None,
        sampling_rate: int | None = None,
    ) -> None:
        self._frames = FrameStream(recognizer)
        self._recognizer, self._preprocessor, self._options = recognizer, preprocessor, options
        self._rate = preprocessor.config.sampling_rate
        self._resampler: Any = None
        self.sampling_rate = self._rate
        if sampling_rate is not None:
            self.sampling_rate = check_rate(sampling_rate, "the stream")
        if self.sampling_rate != self._rate:
            try:
                import soxr
            except ImportError as error:
                feature = f"Sound at {self.sampling_rate:,} Hz"
                raise MissingDependencyError(feature, "soxr", "audio") from error
            self._resampler = soxr.ResampleStream(
                self.sampling_rate, self._rate, 1, dtype="float32"
            )
        self._search, self._grammar = search, grammar
        self._log_probs: list[np.ndarray] = []
        self._mels: list[np.ndarray] = []
        self._tail = np.zeros(0, np.float32)
        self._count = 0
        self._finished: Transcript | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is None and self._finished is None:
            self.finish()

    def feed(self, samples: Any) -> None:
        """Go on with samples [samples] or [samples, channels], floats of full scale 1 or whole
        numbers of that of their type.

        Raises
        ------
        InputError
            If they are no samples, or after `finish`.
        """
        if self._finished is not None:
            raise InputError("this stream is finished: open another one by model.stream()")
        if not np.size(samples):
            return
        heard = checked(samples, self.sampling_rate, "the stream").samples
        self._push(heard if self._resampler is None else self._resampler.resample_chunk(heard))

    def _push(self, samples: np.ndarray) -> None:
        self._count += len(samples)
        self._keep(self._frames.feed(samples))
        config = self._recognizer.config
        whole = np.concatenate([self._tail, samples])
        count = (len(whole) - config.frame_length) // config.frame_step + 1
        if count > 0:
            self._mels.append(self._recognizer.spectrogram(whole[None])[0].numpy().astype("f2"))
            whole = whole[count * config.frame_step :]
        self._tail = whole

    def _keep(self, log_probs: np.ndarray) -> None:
        self._log_probs.append(log_probs)
        if self._search is not None:
            self._search.feed(log_probs)

    def _together(self) -> np.ndarray:
        nothing = np.zeros((0, self._recognizer.config.num_symbols), np.float32)
        self._log_probs = [np.concatenate([nothing, *self._log_probs])]
        return self._log_probs[0]

    def partial(self) -> str:
        """The likeliest text of what was heard so far; its last words may still change."""
        if self._finished is not None:
            return self._finished.text
        found = [greedy(self._together())] if self._search is None else self._search.best()
        return self._preprocessor.text(found[0].symbols).strip() if found else ""

    def finish(self) -> Transcript:
        """The transcript, once no more sound comes."""
        if self._finished is None:
            if self._resampler is not None:
                self._push(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True))
            self._keep(self._frames.finish())
            log_probs = self._together()
            count = self._options.num_hypotheses
            found = [greedy(log_probs)] if self._search is None else self._search.finish(count)
            nothing = np.zeros((0, self._recognizer.config.num_mels), np.float16)
            self._finished = transcript_of(
                "stream",
                self._count / self._rate,
                [(0.0, log_probs, np.concatenate([nothing, *self._mels]), found)],
                self._preprocessor,
                self._recognizer.config.seconds_per_frame,
                self._grammar,
            )
        return self._finished
