"""CFG++ as a step weight: the CFG scale that turns a first-order step into a CFG++ step.

Paper: Chung, Kim, Park, Nam, Ye 2024, "CFG++: Manifold-constrained Classifier Free Guidance for Diffusion
Models", arXiv 2406.08070. The weight is derived by us: the CFG++ step takes the clean part from
D_lam = D_u + lam (D_c - D_u) and the noise from D_u; solving the sampler's own step for w gives the same x'.
Formula, sampling from s to s' < s:
    ve    x' = D_lam + (s'/s)(x - D_u)                          w = lam s/(s - s')
    flow  x' = (1-t') D_lam + (t'/t)(x - (1-t) D_u)             w = lam t (1-t')/(t - t')
Formula, unsampling from s to s' > s, where the roles are swapped (clean part D_u, noise from D_lam), as the
authors do:
    ve    x' = D_u + (s'/s)(x - D_lam)                          w = lam s'/(s' - s)
    flow  x' = (1-t') D_u + (t'/t)(x - (1-t) D_lam)             w = lam t' (1-t)/(t' - t)
An ancestral sampler steps to sigma_down and then adds noise; its s' above is `ancestral_sigma_down(s, s', ...)`.
The weight is exact for euler, ddim and euler ancestral with their eta; no weight is exact for multistep or two-stage
samplers.
Space: free. Shapes: none, floats in and out. Units: sigmas are the host's; lam in [0, 1], the paper's lambda,
is NOT a host scale: 0.6 is about w = 7.5.
Identity: none; lam = 0 is unconditional. The last step (s' = 0) and the first flow step (t = 1) have w = lam.
Departures: w grows with the number of steps; so does the guidance of CFG++, which discretises no one ODE. For flow
models the step is that of the host's euler_cfg_pp and euler_ancestral_cfg_pp; the host's 2M, 2S and res forms use
s/(s - s') for flow too. On a flow model the host's euler_ancestral and euler_ancestral_cfg_pp step to different
sigma_down at equal eta, so no weight makes them agree. Ours is CFG++ with the sigma_down of the sampler that runs.
"""

import math

__all__ = ["ancestral_sigma_down", "cfgpp_scale"]


def cfgpp_scale(lam: float, sigma: float, sigma_next: float, *, kind: str, limit: float | None = None) -> float:
    """The host scale w of the step from `sigma` to `sigma_next` (or to an ancestral sampler's sigma_down).

    `limit` caps the weight, which grows without bound as steps get shorter. A step between equal sigmas takes the
    limit. Raises ValueError for such a step without a limit, and for sigmas that are negative, infinite or above the
    1 of a flow model.
    """
    _check_sigmas(sigma, sigma_next, kind)
    if sigma == sigma_next:
        if limit is None:
            raise ValueError(f"CFG++ has no weight for a step from sigma {sigma:g} to itself; set a limit.")
        return limit if lam else 0.0
    weight = lam * _STEP[kind](max(sigma, sigma_next), min(sigma, sigma_next))
    return weight if limit is None else min(limit, weight)


def ancestral_sigma_down(sigma: float, sigma_next: float, *, eta: float, kind: str) -> float:
    """The sigma that the host's euler_ancestral steps to before it adds noise.

    ve: sqrt(s'^2 - up^2), up = min(s', eta s' sqrt(1 - s'^2/s^2)); flow: t' (1 + eta (t'/t - 1)). eta = 0
    gives sigma_next. Raises ValueError for a rising sigma, from which there is no ancestral step, unless eta is 0.
    """
    _check_sigmas(sigma, sigma_next, kind)
    if eta == 0 or sigma_next == 0:
        return sigma_next
    if sigma_next > sigma:
        raise ValueError(f"an ancestral step cannot rise from sigma {sigma:g} to {sigma_next:g}.")
    return _SIGMA_DOWN[kind](sigma, sigma_next, eta)


def _ve_down(sigma: float, sigma_next: float, eta: float) -> float:
    up = min(1.0, eta * math.sqrt(1.0 - (sigma_next / sigma) ** 2))
    return sigma_next * math.sqrt(1.0 - up**2)


def _flow_down(t: float, t_next: float, eta: float) -> float:
    return t_next * (1.0 + eta * (t_next / t - 1.0))


# By the higher and the lower level of a step: unsampling swaps the roles of the predictions, and so the two levels.
_STEP = {
    "ve": lambda high, low: high / (high - low),
    "flow": lambda high, low: high * (1.0 - low) / (high - low),
}
_SIGMA_DOWN = {"ve": _ve_down, "flow": _flow_down}


def _check_sigmas(sigma: float, sigma_next: float, kind: str) -> None:
    top = 1.001 if kind == "flow" else math.inf
    if not (0.0 <= sigma <= top and 0.0 <= sigma_next <= top and math.isfinite(sigma + sigma_next)):
        raise ValueError(f"sigma {sigma:g} to {sigma_next:g} is not a step of a {kind} model.")
