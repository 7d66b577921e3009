"""An LSTM layer that looks at a text through a soft window (Graves 2013, arXiv 1308.0850, section
5.1).

The window of one step goes into the next, so that the layer runs step by step on every device.
As in `lstm.py`, what does not recur is one product over all steps, and the gradient is written
out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from rnnzoo.layers.lstm import Orthogonal, gates, step_store


class WindowState(NamedTuple):
    """What goes from step to step: h and the window w [batch, units], [batch, symbols], the cell
    state c and the window's position kappa [batch, K], the last two in float32."""

    h: Any
    w: Any
    c: Any
    kappa: Any


def _places(p: tf.Tensor, kappa: tf.Tensor, width: Any) -> tuple[tf.Tensor, ...]:
    """alpha, beta, the step of kappa and kappa [batch, K] (equations 48 to 51), the distance
    kappa - u and exp(-beta (kappa - u)^2) [batch, K, width]; u counts from 1."""
    alpha, beta, step = tf.split(tf.exp(tf.cast(p, tf.float32)), 3, axis=-1)
    kappa = kappa + step
    u = tf.range(1, width + 1, dtype=tf.float32)
    distance = kappa[:, :, None] - u
    return alpha, beta, step, kappa, distance, tf.exp(-beta[:, :, None] * distance * distance)


def window_step(
    z: tf.Tensor,
    state: WindowState,
    text: tf.Tensor,
    kernel: tf.Tensor,
    window_kernel: tf.Tensor,
    window_bias: tf.Tensor,
) -> tuple[WindowState, tf.Tensor]:
    """One step of the layer.

    Parameters
    ----------
    z : [batch, 4 units]
        The input's projection x W + b, gates in Keras' order i, f, g, o.
    state : WindowState
    text : [batch, width, symbols]
        The characters c_u as one-hot rows, zero behind the text.
    kernel : [units + symbols, 4 units]
        Of h and w of the step before.
    window_kernel, window_bias : [units, 3 K], [3 K]
        Of alpha hat, beta hat and kappa hat (equation 48).

    Returns
    -------
    state : WindowState
    phi : [batch, width]
        The window's weight of each character (equation 46), float32.
    """
    joined = tf.matmul(tf.concat([state.h, state.w], -1), kernel)
    _, _, _, o, c, tanh_c = gates(z + joined, state.c)
    h = tf.cast(o * tanh_c, z.dtype)
    p = tf.matmul(h, window_kernel) + window_bias
    alpha, _, _, kappa, _, near = _places(p, state.kappa, tf.shape(text)[1])
    phi = tf.reduce_sum(alpha[:, :, None] * near, 1)
    w = tf.einsum("bu,bua->ba", tf.cast(phi, text.dtype), text)  # (47)
    return WindowState(h, w, c, kappa), phi


def _run(z: tf.Tensor, state: WindowState, text: tf.Tensor, *weights: tf.Tensor) -> tuple[Any, ...]:
    """All steps: h, w, phi, c and kappa, each [time, batch, ...]."""
    steps, batch = z.shape[0] or tf.shape(z)[0], z.shape[1]
    units, symbols, k = state.h.shape[-1], text.shape[-1], state.kappa.shape[-1]
    stores = [
        step_store(steps, units, z.dtype, batch),
        step_store(steps, symbols, z.dtype, batch),
        step_store(steps, units, tf.float32, batch),
        step_store(steps, k, tf.float32, batch),
        tf.TensorArray(tf.float32, steps, element_shape=[batch, text.shape[1]]),
    ]

    def body(t: Any, *loop: Any) -> tuple[Any, ...]:
        state, phi = window_step(z[t], WindowState(*loop[:4]), text, *weights)
        values = (*state, phi)
        return (t + 1, *state, *(s.write(t, x) for s, x in zip(loop[4:], values, strict=True)))

    _, *found = tf.while_loop(lambda t, *_: t < steps, body, (0, *state, *stores))
    h, w, c, kappa, phi = (store.stack() for store in found[4:])
    return h, w, phi, c, kappa


def window_recurrence(
    z: tf.Tensor,
    state: WindowState,
    text: tf.Tensor,
    kernel: tf.Tensor,
    window_kernel: tf.Tensor,
    window_bias: tf.Tensor,
    training: bool = False,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, WindowState]:
    """All steps of the layer, all projections of the input made before.

    Parameters
    ----------
    z : [time, batch, 4 units]
    state : WindowState
        Before the first step.
    text, kernel, window_kernel, window_bias
        As of `window_step`.
    training : bool
        Use the gradient that is written out; no gradient goes to the text.

    Returns
    -------
    h : [time, batch, units]
    w : [time, batch, symbols]
    phi : [time, batch, width], float32
        Without a gradient in training.
    state : WindowState
        After the last step; without a gradient in training.
    """
    if training:
        h, w, phi, c_last, kappa_last = _with_gradient(
            z, *state, text, kernel, window_kernel, window_bias
        )
        last = WindowState(h[-1], w[-1], c_last, kappa_last)
        return h, w, phi, WindowState(*(tf.stop_gradient(part) for part in last))
    h, w, phi, c, kappa = _run(z, state, text, kernel, window_kernel, window_bias)
    return h, w, phi, WindowState(h[-1], w[-1], c[-1], kappa[-1])


@tf.custom_gradient
def _with_gradient(
    z: tf.Tensor,
    h0: tf.Tensor,
    w0: tf.Tensor,
    c0: tf.Tensor,
    kappa0: tf.Tensor,
    text: tf.Tensor,
    kernel: tf.Tensor,
    window_kernel: tf.Tensor,
    window_bias: tf.Tensor,
) -> tuple[tuple[tf.Tensor, ...], Callable[..., Any]]:
    weights = (kernel, window_kernel, window_bias)
    h, w, phi, c, kappa = _run(z, WindowState(h0, w0, c0, kappa0), text, *weights)
    steps, width = tf.shape(z)[0], tf.shape(text)[1]
    units, dtype = h0.shape[-1], z.dtype

    def gradient(dh_out: Any, dw_out: Any, *_: Any) -> tuple[Any, ...]:
        before = tf.concat(
            [tf.concat([h0[None], h[:-1]], 0), tf.concat([w0[None], w[:-1]], 0)], -1
        )  # [time, batch, units + symbols]
        previous_c = tf.concat([c0[None], c[:-1]], 0)
        previous_kappa = tf.concat([kappa0[None], kappa[:-1]], 0)
        all_z = z + _product(before, kernel)
        all_p = _product(h, window_kernel) + window_bias
        kernel_t, window_kernel_t = tf.transpose(kernel), tf.transpose(window_kernel)

        def backward(
            t: Any, d_before: Any, dc: Any, dkappa: Any, dzs: Any, dps: Any
        ) -> tuple[Any, ...]:
            dh, dw = tf.split(d_before, [units, text.shape[-1]], -1)
            # the window
            dphi = tf.einsum("ba,bua->bu", dw + dw_out[t], text)
            alpha, beta, step, _, distance, near = _places(all_p[t], previous_kappa[t], width)
            weighed = near * tf.cast(dphi, tf.float32)[:, None, :]
            moment = weighed * distance
            dkappa = dkappa - 2.0 * alpha * beta * tf.reduce_sum(moment, -1)
            dp = tf.concat(
                [
                    alpha * tf.reduce_sum(weighed, -1),
                    -alpha * beta * tf.reduce_sum(moment * distance, -1),
                    dkappa * step,
                ],
                -1,
            )
            dp = tf.cast(dp, dtype)
            # the cell
            dh = tf.cast(dh + dh_out[t] + tf.matmul(dp, window_kernel_t), tf.float32)
            i, f, g, o, _, tanh_c = gates(all_z[t], previous_c[t])
            dc = dc + dh * o * (1.0 - tanh_c * tanh_c)
            dz = tf.concat(
                [
                    dc * g * i * (1.0 - i),
                    dc * previous_c[t] * f * (1.0 - f),
                    dc * i * (1.0 - g * g),
                    dh * tanh_c * o * (1.0 - o),
                ],
                -1,
            )
            dz = tf.cast(dz, dtype)
            d_before = tf.matmul(dz, kernel_t)
            return t - 1, d_before, dc * f, dkappa, dzs.write(t, dz), dps.write(t, dp)

        _, d_before, dc, dkappa, dzs, dps = tf.while_loop(
            lambda t, *_: t >= 0,
            backward,
            (
                steps - 1,
                tf.zeros_like(before[0]),
                tf.zeros_like(c0),
                tf.zeros_like(kappa0),
                step_store(steps, 4 * units, dtype),
                step_store(steps, window_bias.shape[0], dtype),
            ),
        )
        dz, dp = dzs.stack(), dps.stack()
        dh0, dw0 = tf.split(d_before, [units, text.shape[-1]], -1)
        return (
            dz,
            dh0,
            dw0,
            dc,
            dkappa,
            tf.zeros_like(text),
            _gradient_of_kernel(before, dz),
            _gradient_of_kernel(h, dp),
            tf.cast(tf.reduce_sum(tf.cast(dp, tf.float32), [0, 1]), dtype),
        )

    return (h, w, phi, c[-1], kappa[-1]), gradient


def _product(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """x [time, batch, features] times a kernel, as one product."""
    shape = tf.shape(x)
    flat = tf.matmul(tf.reshape(x, [-1, x.shape[-1]]), kernel)
    return tf.reshape(flat, [shape[0], shape[1], kernel.shape[-1]])


def _gradient_of_kernel(x: tf.Tensor, dy: tf.Tensor) -> tf.Tensor:
    return tf.matmul(
        tf.reshape(x, [-1, x.shape[-1]]), tf.reshape(dy, [-1, dy.shape[-1]]), transpose_a=True
    )


@keras.saving.register_keras_serializable(package="rnnzoo")
class WindowLSTM(keras.layers.Layer):
    """An LSTM that reads a text while it goes: section 5.1 of the paper, equations 46 to 52.

    Parameters
    ----------
    units : int
    num_windows : int
        K, the Gaussians of the window.
    advance : float
        How many characters the window goes on at a step, before training.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.layers import WindowLSTM
    >>> points = np.ones((2, 5, 3), "float32")
    >>> text = np.eye(4, dtype="float32")[[[0, 1, 2], [3, 3, 1]]]  # [batch, width, symbols]
    >>> h, w, phi, state = WindowLSTM(8, num_windows=2)(points, text)
    >>> h.shape, w.shape, phi.shape
    (TensorShape([2, 5, 8]), TensorShape([2, 5, 4]), TensorShape([2, 5, 3]))
    """

    def __init__(
        self, units: int, num_windows: int = 10, advance: float = 0.07, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.units, self.num_windows, self.advance = units, num_windows, advance

    def build(self, x_shape: Any, text_shape: Any = None) -> None:
        units, symbols, width = self.units, text_shape[-1], 4 * self.units
        self.kernel = self.add_weight(
            name="kernel", shape=(x_shape[-1], width), initializer="glorot_uniform"
        )
        self.recurrent_kernel = self.add_weight(
            name="recurrent_kernel", shape=(units, width), initializer=Orthogonal()
        )
        self.text_kernel = self.add_weight(
            name="text_kernel", shape=(symbols, width), initializer="glorot_uniform"
        )
        self.bias = self.add_weight(name="bias", shape=(width,), initializer=self._first_bias)
        self.window_kernel = self.add_weight(
            name="window_kernel",
            shape=(units, 3 * self.num_windows),
            initializer=keras.initializers.RandomNormal(stddev=0.05),
        )
        self.window_bias = self.add_weight(
            name="window_bias", shape=(3 * self.num_windows,), initializer=self._first_window
        )
        self.built = True

    def _first_bias(self, shape: Any, dtype: Any = None) -> Any:
        """1 for the forget gates (Jozefowicz et al. 2015), 0 for the others."""
        ones = keras.ops.ones((self.units,), dtype)
        return keras.ops.concatenate([0 * ones, ones, 0 * ones, 0 * ones])

    def _first_window(self, shape: Any, dtype: Any = None) -> Any:
        """Windows that add up to 1 and go on by `advance`."""
        values = keras.ops.log([1.0 / self.num_windows, 0.5, self.advance])
        return keras.ops.cast(keras.ops.repeat(values, self.num_windows), dtype)

    def initial_state(self, batch: Any, symbols: int) -> WindowState:
        """Zeros, [batch, ...]."""
        dtype = self.compute_dtype
        return WindowState(
            tf.zeros([batch, self.units], dtype),
            tf.zeros([batch, symbols], dtype),
            tf.zeros([batch, self.units]),
            tf.zeros([batch, self.num_windows]),
        )

    def kernels(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """What each step multiplies by: the kernel of h and w, and the window's, with its bias. To
        be made once for a loop of `step`, as the first is joined of two."""
        dtype = self.compute_dtype
        recurrent = [
            tf.cast(tf.convert_to_tensor(weight), dtype)
            for weight in (self.recurrent_kernel, self.text_kernel)
        ]
        window = (self.window_kernel, self.window_bias)
        return (
            tf.concat(recurrent, 0),
            *(tf.cast(tf.convert_to_tensor(weight), dtype) for weight in window),
        )

    def _project(self, x: Any) -> tf.Tensor:
        """x W + b, of x [..., features]."""
        dtype = self.compute_dtype
        kernel, bias = (tf.cast(tf.convert_to_tensor(v), dtype) for v in (self.kernel, self.bias))
        return tf.tensordot(tf.cast(x, dtype), kernel, 1) + bias

    def call(
        self, x: Any, text: Any, state: WindowState | None = None, training: bool = False
    ) -> tuple[Any, Any, Any, WindowState]:
        """h [batch, time, units], w [batch, time, symbols], phi [batch, time, width] (float32) and
        the last state, of x [batch, time, features] and one-hot text [batch, width, symbols]."""
        text = tf.cast(text, self.compute_dtype)
        if state is None:
            state = self.initial_state(tf.shape(x)[0], text.shape[-1])
        z = tf.transpose(self._project(x), [1, 0, 2])
        h, w, phi, last = window_recurrence(
            z, WindowState(*state), text, *self.kernels(), training=bool(training)
        )
        return (*(tf.transpose(out, [1, 0, 2]) for out in (h, w, phi)), last)

    def step(
        self, x: Any, text: Any, state: WindowState, kernels: Any = None
    ) -> tuple[WindowState, Any]:
        """One step for x [batch, features]: the state after it and phi [batch, width]."""
        text = tf.cast(text, self.compute_dtype)
        kernels = kernels or self.kernels()
        return window_step(self._project(x), WindowState(*state), text, *kernels)

    def compute_output_spec(
        self, x: Any, text: Any, state: Any = None, training: bool = False
    ) -> Any:
        batch, time = x.shape[:2]
        dtype, symbols = self.compute_dtype, text.shape[-1]
        return (
            keras.KerasTensor((batch, time, self.units), dtype),
            keras.KerasTensor((batch, time, symbols), dtype),
            keras.KerasTensor((batch, time, text.shape[1]), "float32"),
            WindowState(
                keras.KerasTensor((batch, self.units), dtype),
                keras.KerasTensor((batch, symbols), dtype),
                keras.KerasTensor((batch, self.units), "float32"),
                keras.KerasTensor((batch, self.num_windows), "float32"),
            ),
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "num_windows": self.num_windows,
            "advance": self.advance,
        }
