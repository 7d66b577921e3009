"""Words while they are spoken."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from rnnzoo.ctc import (
    DecodingOptions,
    Grammar,
    Hypothesis,
    PrefixBeamSearch,
    align,
    frames_needed,
    greedy,
    path_log_prob,
)
from rnnzoo.ctc.decode import confidence_of, nothing_said
from rnnzoo.deepspeech.audio import check_rate, checked
from rnnzoo.deepspeech.decode import transcript_of, words_of
from rnnzoo.deepspeech.frames import FrameStream
from rnnzoo.deepspeech.network import Recognizer
from rnnzoo.deepspeech.preprocess import SpeechPreprocessor
from rnnzoo.deepspeech.result import Transcript, Word
from rnnzoo.engine import OnnxEngine
from rnnzoo.errors import InputError, MissingDependencyError

_SETTLE_SECONDS = 10.0
_LATEST_SECONDS = 30.0
_OPEN_SECONDS = 5.0


class TranscriptStream:
    """Sound in pieces of any size, text at any time.

    Memory and latency do not grow with the stream, its text aside. Once 10 seconds wait, what all
    hypotheses share up to a space is settled, and gets its times. Once 30 seconds wait, the best
    hypothesis is taken up to a space that is 5 seconds old; without one, silence before the first
    word goes if it is as long; otherwise a word is cut, at its longest pause. Spectrogram and
    probabilities are kept for the transcript's picture as long as the stream is no longer than
    `pictured_seconds`.

    Parameters
    ----------
    recognizer : Recognizer
        Forward-only, with running normalisation.
    preprocessor : SpeechPreprocessor
    options : DecodingOptions
    search : PrefixBeamSearch or None
        As `rnnzoo.ctc.search_for` gives it; None is greedy.
    grammar : Grammar, optional
        The one that the search has.
    sampling_rate : int, optional
        Of what is fed, in hertz; the network's by default.
    pictured_seconds : float
        Streams that are longer keep no spectrogram and no probabilities.
    engine : OnnxEngine, optional
        As of `FrameStream`.

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
        pictured_seconds: float = 300.0,
        engine: OnnxEngine | None = None,
    ) -> None:
        self._pictured_seconds = pictured_seconds
        self._frames = FrameStream(recognizer, engine)
        self._recognizer, self._preprocessor, self._options = recognizer, preprocessor, options
        self._rate = preprocessor.config.sampling_rate
        self._seconds_per_frame = recognizer.config.seconds_per_frame
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
        self._log_probs: list[np.ndarray] = []  # of what is not settled
        self._words: list[Word] = []
        self._text = ""
        self._settled_frames = self._settled_symbols = self._waiting = 0
        self._settled_path = self._settled_nothing = self._settled_sure = 0.0
        self._next_try = _SETTLE_SECONDS
        self._pictured: list[np.ndarray] = []  # log-probabilities of what is settled
        self._mels: list[np.ndarray] = []
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

    def _keep(self, log_probs: np.ndarray) -> None:
        if self._count <= self._pictured_seconds * self._rate:
            self._mels.append(self._frames.mels.astype(np.float16))
        else:
            self._mels, self._pictured = [], []
        while len(log_probs):  # settled at the same frames whatever the pieces
            some = max(1, math.ceil(self._next_try / self._seconds_per_frame) - self._waiting)
            now, log_probs = log_probs[:some], log_probs[some:]
            self._log_probs.append(now)
            if self._search is not None:
                self._search.feed(now)
            self._waiting += len(now)
            if len(now) == some:
                self._settle()

    def _settle(self) -> None:
        """Put into words what will not change any more."""
        log_probs, symbols = self._together(), self._best_symbols()
        if self._search is not None and symbols != self._search.best()[0].symbols:
            return  # the best does not fit into the frames: the next may
        late = self._waiting * self._seconds_per_frame >= _LATEST_SECONDS
        count = len(symbols) if late or self._search is None else self._search.agreed()
        alphabet = self._preprocessor.config.alphabet
        spaces = [n for n in range(1, count) if alphabet[symbols[n] - 1] == " "]
        self._next_try += 1.0
        if not spaces and not late:
            return
        first, last = align(log_probs, symbols)
        if late:  # against hypotheses that are kept: what was heard just now stays open
            newest = len(log_probs) - int(_OPEN_SECONDS / self._seconds_per_frame)
            spaces = [n for n in spaces if first[n] < newest]
        if spaces:
            cut, end = spaces[-1], int(first[spaces[-1]])
        else:
            cut, end = self._cut_without_space(first, last, newest)
        self._take(log_probs[:end], symbols[:cut], first[:cut], last[:cut])
        if self._search is not None:
            self._search.commit(cut)
        self._log_probs = [log_probs[end:]]
        self._waiting, self._next_try = len(log_probs) - end, _SETTLE_SECONDS

    def _cut_without_space(
        self, first: np.ndarray, last: np.ndarray, newest: int
    ) -> tuple[int, int]:
        """How many symbols, and up to which frame, are settled of frames that have to go."""
        silent = min([newest, *first[:1].tolist()])
        if silent * self._seconds_per_frame >= _OPEN_SECONDS:
            return 0, silent
        pauses = np.append(first[1:], newest) - last
        cut = int(pauses[first < newest].argmax()) + 1
        return cut, int(last[cut - 1]) + 1

    def _take(
        self, log_probs: np.ndarray, symbols: Sequence[int], first: np.ndarray, last: np.ndarray
    ) -> None:
        """Settled symbols with the frames in which they stand."""
        words = words_of(
            self._preprocessor.text(symbols),
            first,
            last,
            log_probs,
            symbols,
            self._seconds_per_frame,
            self._settled_frames * self._seconds_per_frame,
        )
        self._words += words
        self._text = " ".join([self._text, *(word.text for word in words)]).strip()
        self._settled_frames += len(log_probs)
        path = path_log_prob(log_probs, symbols, first, last)
        self._settled_path += path
        self._settled_sure += path if len(symbols) else 0.0  # an idle time says nothing of a text
        self._settled_nothing += nothing_said(log_probs)
        self._settled_symbols += len(symbols)
        if self._count <= self._pictured_seconds * self._rate:
            self._pictured.append(log_probs.astype(np.float16))

    def _best_symbols(self) -> tuple[int, ...]:
        if self._search is None:
            return greedy(self._together()).symbols
        found = self._with_room(self._search.best())
        found = found or self._with_room(self._search.best(self._options.beam_size))
        return found[0].symbols if found else ()

    def _with_room(self, found: list[Hypothesis]) -> list[Hypothesis]:
        """Those whose symbols fit into the frames that are not settled: one that is kept may have
        had some of its own before."""
        frames = len(self._together())
        return [one for one in found if frames_needed(one.symbols) <= frames]

    def _together(self) -> np.ndarray:
        nothing = np.zeros((0, self._recognizer.config.num_symbols), np.float32)
        self._log_probs = [np.concatenate([nothing, *self._log_probs])]
        return self._log_probs[0]

    def partial(self) -> str:
        """The likeliest text of what was heard so far; its last words may still change."""
        if self._finished is not None:
            return self._finished.text
        rest = self._preprocessor.text(self._best_symbols()).strip()
        return f"{self._text} {rest}".strip()

    def finish(self) -> Transcript:
        """The transcript, once no more sound comes."""
        if self._finished is None:
            if self._resampler is not None:
                self._push(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True))
            self._keep(self._frames.finish())
            log_probs = self._together()
            count = self._options.num_hypotheses
            if self._search is None:
                found = [greedy(log_probs)]
            else:
                found = self._with_room(self._search.finish(self._options.beam_size))[:count]
            nothing = np.zeros((0, self._recognizer.config.num_mels), np.float16)
            begin = self._settled_frames * self._seconds_per_frame
            rest = transcript_of(
                "stream",
                self._count / self._rate,
                [(begin, log_probs, np.concatenate([nothing, *self._mels]), found)],
                self._preprocessor,
                self._seconds_per_frame,
                self._grammar,
                # of a text that is settled in part the whole is asked
                0.0 if self._settled_frames else self._options.min_confidence,
            )
            symbols = found[0].symbols if found else ()
            path = path_log_prob(log_probs, symbols, *align(log_probs, symbols))
            sure = confidence_of(self._settled_sure + path, self._settled_symbols + len(symbols))
            # a search's score is of all its frames, also of those that are settled
            before = self._settled_path if self._search is None or not found else 0.0
            score = before + rest.alternatives[0][1]
            nothing_score = self._settled_nothing + nothing_said(log_probs)
            self._finished = self._whole(rest, sure, score, nothing_score)
        return self._finished

    def _whole(
        self, rest: Transcript, confidence: float, score: float, nothing_score: float
    ) -> Transcript:
        """The transcript of all, of that of what was not settled, with the scores of its text and
        of none."""
        if self._count > self._pictured_seconds * self._rate:
            rest = dataclasses.replace(
                rest, log_probs=rest.log_probs[:0], spectrogram=rest.spectrogram[:0]
            )
        if not self._settled_frames:
            return rest
        text, words = f"{self._text} {rest.text}".strip(), (*self._words, *rest.words)
        if self._grammar is not None and confidence < self._options.min_confidence:
            text, words, score = "", (), nothing_score
        return dataclasses.replace(
            rest,
            text=text,
            words=words,
            confidence=confidence,
            alternatives=((text, score),),
            slots={} if self._grammar is None else self._grammar.fillings(text),
            log_probs=np.concatenate([*self._pictured, rest.log_probs]),
        )
