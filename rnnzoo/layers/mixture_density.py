"""The mixture density output of Graves 2013 (arXiv 1308.0850, section 4.1): where the pen goes
next, as a mixture of two-dimensional Gaussians, and whether it is lifted, as a Bernoulli
probability.

All of it is computed in float32 under every dtype policy; sums of densities are log-sum-exps.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from keras import ops

_LOG_2 = math.log(2.0)
_LEAST_LOG_SIGMA = -7.0
_MOST_RHO_HAT = 8.0  # |rho| below 1 - 2.3e-7: nearer to 1, float32 holds no density


class Mixture(NamedTuple):
    """Parameters of the output y_t (equations 18 to 22), each [..., M] but the last, which is
    [...]: `log_pi`, `mu_1`, `mu_2`, `log_sigma_1`, `log_sigma_2`, `rho`, and ln(1 - rho^2) without
    cancellation; `lift`, the logit of e."""

    log_pi: Any
    mu_1: Any
    mu_2: Any
    log_sigma_1: Any
    log_sigma_2: Any
    rho: Any
    log_one_minus_rho_squared: Any
    lift: Any


def output_dim(num_components: int) -> int:
    """How many numbers y hat has: 1 + 6 M.

    Examples
    --------
    >>> from rnnzoo.layers.mixture_density import output_dim
    >>> output_dim(20)
    121
    """
    return 1 + 6 * num_components


def mixture_of(y: Any, bias: Any = 0.0) -> Mixture:
    """The parameters that the network's output y hat stands for; rho hat within -8 to 8,
    sigma hat at least -7.

    Parameters
    ----------
    y : [..., 1 + 6 M]
    bias : float or tensor that broadcasts to [..., 1]
        b of section 5.4, 0 or more: sigma = exp(sigma hat - b) and pi = softmax(pi hat (1 + b))
        (equations 61 and 62), for neater writing.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.layers.mixture_density import mixture_of
    >>> found = mixture_of(np.zeros((5, 13), "float32"))  # of two components
    >>> found.log_pi.shape, float(found.log_sigma_1[0, 0])
    (TensorShape([5, 2]), 0.0)
    """
    y = ops.cast(y, "float32")
    pi, mu_1, mu_2, sigma_1, sigma_2, rho = ops.split(y[..., 1:], 6, axis=-1)
    # held within bounds, the gradient going on as if it were not: it comes back
    rho = rho + ops.stop_gradient(ops.clip(rho, -_MOST_RHO_HAT, _MOST_RHO_HAT) - rho)
    size = ops.abs(rho)
    return Mixture(
        ops.log_softmax(pi * (1.0 + bias), axis=-1),
        mu_1,
        mu_2,
        ops.maximum(sigma_1, _LEAST_LOG_SIGMA) - bias,
        ops.maximum(sigma_2, _LEAST_LOG_SIGMA) - bias,
        ops.tanh(rho),
        2.0 * (_LOG_2 - size - ops.softplus(-2.0 * size)),
        y[..., 0],
    )


def log_density(mixture: Mixture, offsets: Any) -> Any:
    """ln of the density of offsets [..., 2] (equations 23 to 25), [...]: natural logarithm, per
    unit of area.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.layers.mixture_density import log_density, mixture_of
    >>> density = log_density(mixture_of(np.zeros((1, 7), "float32")), np.zeros((1, 2), "float32"))
    >>> round(float(np.exp(density[0]) * 2 * np.pi), 4)  # the peak of a round Gaussian
    1.0
    """
    offsets = ops.cast(offsets, "float32")
    a = (offsets[..., 0:1] - mixture.mu_1) * ops.exp(-mixture.log_sigma_1)
    b = (offsets[..., 1:2] - mixture.mu_2) * ops.exp(-mixture.log_sigma_2)
    # z / (1 - rho^2) of (25) as b^2 + (a - rho b)^2 / (1 - rho^2): no cancellation near |rho| = 1.
    room = mixture.log_one_minus_rho_squared
    sign = ops.where(mixture.rho < 0, -1.0, 1.0)
    below_one = ops.exp(room) / (1.0 + sign * mixture.rho)  # 1 - |rho|
    across = (a - sign * b) + sign * below_one * b
    z = ops.square(b) + ops.square(across) * ops.exp(-room)
    log_gaussian = -(
        0.5 * z + 0.5 * room + mixture.log_sigma_1 + mixture.log_sigma_2 + math.log(2.0 * math.pi)
    )  # (24)
    return ops.logsumexp(mixture.log_pi + log_gaussian, axis=-1)


def log_lift(mixture: Mixture, lifted: Any) -> Any:
    """ln of the probability that the pen is lifted after this point, or is not: of `lifted`, 1 or
    0, of shape [...]. The last two cases of equation 26.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.layers.mixture_density import log_lift, mixture_of
    >>> found = log_lift(mixture_of(np.zeros((1, 7), "float32")), np.ones(1, "float32"))
    >>> round(float(np.exp(found[0])), 4)
    0.5
    """
    lifted = ops.cast(lifted, "float32")
    return -ops.softplus((1.0 - 2.0 * lifted) * mixture.lift)
