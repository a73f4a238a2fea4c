"""Every formula once more, literally, in numpy float64 and for ONE sample of shape (C, *spatial).

Written from the papers' formulas, without a look at guidance/: slow and plain on purpose.
"""

import numpy as np


def cfg(c, u, w):
    return u + w * (c - u)


def compose(c, u, negatives, w, weights):
    out = cfg(c, u, w)
    for n, b in zip(negatives, weights, strict=True):
        out = out - b * (n - u)
    return out


def perpendicular(a, p):
    square = np.vdot(p, p)
    return a if square == 0 else a - np.vdot(a, p) / square * p


def perp_neg(c, u, negatives, w, weights):
    p = c - u
    inner = p.copy()
    for n, b in zip(negatives, weights, strict=True):
        inner -= b * perpendicular(n - u, p)
    return u + w * inner


def partial_negative(empty, negative, nu):
    return (1 - nu) * empty + nu * negative


def dynamic_threshold(d, p):
    s = max(1.0, np.quantile(np.abs(d), p))
    return np.clip(d, -s, s) / s


def mimic_threshold(c, u, w, m, p, per_channel, startpoint, measure, phi):
    if per_channel:
        channels = [
            mimic_threshold(ci[None], ui[None], w, m, p, False, startpoint, measure, phi)
            for ci, ui in zip(c, u, strict=True)
        ]
        return np.concatenate(channels)
    M, G = cfg(c, u, m), cfg(c, u, w)
    Mc, Gc = M - M.mean(), G - G.mean()
    if measure == "ad":
        a_M, a_G = np.abs(Mc).max(), np.quantile(np.abs(Gc), p)
    else:
        n = max(G.size - 1, 1)
        a_M, a_G = np.sqrt((Mc**2).sum() / n), np.sqrt((Gc**2).sum() / n)
    if startpoint == "mean" and measure == "ad":
        bound = max(a_M, a_G)
        R = G if bound == 0 else np.clip(Gc, -bound, bound) / bound * a_M + G.mean()
    elif a_G == 0:
        R = G
    elif startpoint == "mean":
        R = Gc / a_G * a_M + G.mean()
    else:
        R = G * a_M / a_G
    return phi * R + (1 - phi) * G


def angle(a, b):
    """Kahan's formula on unit vectors, exact at any angle."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    return 2 * np.arctan2(np.linalg.norm(a - b), np.linalg.norm(a + b))


def angle_domain(c, u, w, limit):
    if w <= 1:
        return cfg(c, u, w)
    if not c.any() or not u.any():
        return c
    theta = angle(c, u)
    if np.pi - theta < 2e-3:
        return c
    a = min((w - 1) * theta, limit)
    e = c - np.vdot(c, u) / np.vdot(u, u) * u
    k = np.sin(a) / np.sin(theta) if np.sin(theta) > 1e-3 else w - 1
    return np.cos(a) * c + k * e


def rotate(c, u, w, limit):
    """Polar coordinates in the plane of u and c, u at angle 0."""
    if w <= 1:
        return cfg(c, u, w)
    if not c.any() or not u.any():
        return c
    theta = angle(c, u)
    if theta < 1e-9 or np.pi - theta < 2e-3:
        return c
    along = u / np.linalg.norm(u)
    across = c - np.vdot(c, along) * along
    across = across / np.linalg.norm(across)
    turned = theta + min((w - 1) * theta, limit, np.pi - theta)
    return np.linalg.norm(c) * (np.cos(turned) * along + np.sin(turned) * across)


def effective_scale(d, c, u):
    delta = c - u
    square = np.vdot(delta, delta)
    return 1.0 if square == 0 else np.vdot(d - u, delta) / square


def signal_noise(sigma, kind):
    """(a, s) of x = a x0 + s eps in the coordinates of the hooks."""
    return (1.0, sigma) if kind == "ve" else (1.0 - sigma, sigma)


def eps(x, d, sigma, kind):
    a, s = signal_noise(sigma, kind)
    return (x - a * d) / s


def v(x, d, sigma, kind):
    """VP: v = a eps - s x0 with a^2 + s^2 = 1. Flow: dx/dt = eps - x0."""
    e = eps(x, d, sigma, kind)
    if kind == "flow":
        return e - d
    root = np.sqrt(1 + sigma**2)
    return (1 / root) * e - (sigma / root) * d


def score(x, d, sigma, kind):
    """The gradient of log N(x; a x0, s^2) at the posterior mean of x0."""
    a, s = signal_noise(sigma, kind)
    return -(x - a * d) / s**2


def apg(c, u, w, eta, r, momentum, before=None):
    """Algorithm 1: the update, and the momentum to hand on."""
    m = c - u
    if before is not None:
        m = m + momentum * before
    g = m
    if r > 0 and np.linalg.norm(m) > r:
        g = m * (r / np.linalg.norm(m))
    parallel = np.zeros_like(c) if not c.any() else np.vdot(g, c) / np.vdot(c, c) * c
    return c + (w - 1) * (g - parallel + eta * parallel), m


def beta_cfg(c, u, x, w, gamma, sigma, kind, reference=None, floor=0.0):
    """In eps, and back."""
    a, s = signal_noise(sigma, kind)
    eps_c, eps_u = eps(x, c, sigma, kind), eps(x, u, sigma, kind)
    d = eps_c - eps_u
    length = np.linalg.norm(d)
    r = 1.0 if reference is None else reference * np.sqrt(d.size)
    weight = max(floor, w * (r / length) ** gamma if length > 0 else w)
    return (x - s * (eps_u + weight * d)) / a


def ratio_aware_scale(c, u, x, w_max, alpha):
    """With the velocities of a flow model at t = 1, which no ratio of them depends on."""
    v_c, v_u = v(x, c, 1.0, "flow"), v(x, u, 1.0, "flow")
    rho = np.linalg.norm(v_c - v_u) / np.linalg.norm(v_u)
    return 1 + (w_max - 1) * np.exp(-alpha * rho)


def cfg_zero_star(c, u, w, x):
    """In velocities times t, and back."""
    v_c, v_u = x - c, x - u
    s = np.vdot(v_c, v_u) / np.vdot(v_u, v_u) if v_u.any() else 0.0
    return x - (s * v_u + w * (v_c - s * v_u))


def tcfg(c, u, x):
    """With a singular value decomposition of the two vectors."""
    rows = np.stack([(x - u).ravel(), (x - c).ravel()])
    uu, uc, cc = rows[0] @ rows[0], rows[0] @ rows[1], rows[1] @ rows[1]
    if np.hypot(uu - cc, 2 * uc) <= 1e-6 * (uu + cc):
        return u
    first = np.linalg.svd(rows, full_matrices=False)[2][0]
    return x - ((rows[0] @ first) * first).reshape(u.shape)


def rescale(g, c, phi):
    if g.std() == 0:
        return g
    return phi * (c.std() / g.std()) * g + (1 - phi) * g


def rescale_denoised(g, c, x, sigma, kind, space, phi):
    """There, and back."""
    if space == "x0":
        return rescale(g, c, phi)
    a, s = signal_noise(sigma, kind)
    if space == "eps":
        return (x - s * rescale(eps(x, g, sigma, kind), eps(x, c, sigma, kind), phi)) / a
    there = rescale(v(x, g, sigma, kind), v(x, c, sigma, kind), phi)
    return x - s * there if kind == "flow" else x / (1 + s**2) - s / np.sqrt(1 + s**2) * there


def energy_preserving(g, c, x, energy):
    there, wanted = x - g, x - c
    return x - np.sqrt(energy(wanted) / energy(there)) * there if energy(there) > 0 else g


def energy(values):
    return np.vdot(values, values)


def middle_energy(values):
    """Of the squares from the 45th to the 55th percentile, as ranks."""
    squares = np.sort(values.ravel() ** 2)
    last = len(squares) - 1
    return squares[int(np.floor(0.45 * last)) : int(np.ceil(0.55 * last)) + 1].sum()


def blur(row):
    return np.convolve(np.pad(row, 2, mode="edge"), np.array([1, 4, 6, 4, 1]) / 16, mode="valid")


def smaller(row):
    b = blur(row)
    return b[::2] if len(row) % 2 else (b[::2] + b[1::2]) / 2


def larger(row, size):
    """Linear interpolation between the places that `smaller` took the values from."""
    places = 2 * np.arange(len(row)) + (0 if size % 2 else 0.5)
    return blur(np.interp(np.arange(size), places, row))


def down(picture):
    return np.apply_along_axis(smaller, 1, np.apply_along_axis(smaller, 0, picture))


def up(picture, shape):
    rows = np.apply_along_axis(larger, 0, picture, shape[0])
    return np.apply_along_axis(larger, 1, rows, shape[1])


def laplacian_pyramid(picture, levels):
    if levels == 1:
        return [picture]
    below = down(picture)
    return [picture - up(below, picture.shape), *laplacian_pyramid(below, levels - 1)]


def fdg(c, u, w, gains):
    def guided(pair):
        pyramids = zip(*(laplacian_pyramid(picture, len(gains)) for picture in pair), strict=True)
        *fine, image = [cfg(cl, ul, w * gain) for (cl, ul), gain in zip(pyramids, gains, strict=True)]
        for level in reversed(fine):
            image = up(image, level.shape) + level
        return image

    pairs = zip(pictures_of(c), pictures_of(u), strict=True)
    return np.stack([guided(pair) for pair in pairs]).reshape(c.shape)


def pictures_of(t):
    """The pictures of a sample (C, *spatial): its last two dimensions, or the rows of a sound."""
    return t.reshape(-1, *((1, t.shape[-1]) if t.ndim == 2 else t.shape[-2:]))


def fresca(c, u, w, low, high, cutoff):
    def filtered(picture):
        rows, columns = (np.fft.fftfreq(n) / 0.5 for n in picture.shape)
        gain = np.where(np.sqrt(rows[:, None] ** 2 + columns**2) <= cutoff, low, high)
        return np.fft.ifft2(np.fft.fft2(picture) * gain).real

    return u + w * np.stack([filtered(picture) for picture in pictures_of(c - u)]).reshape(c.shape)


def skim(a, b, k, s, x):
    """A with the values that the original skims moved towards B, and where those are."""
    g = b + k * (a - b)
    mask = (np.sign(a - b) == np.sign(a)) & (np.sign(k * a - (k - 1) * b) == np.sign(a))
    if x is not None:
        mask &= np.sign(g) == np.sign(g - x)
    return np.where(mask, a - (k - s) / k * (a - b), a), mask


def skimmed(c, u, w, x, s, full):
    if w <= 1:
        return cfg(c, u, w)
    u, _ = skim(u, c, w, 0 if full else s, x)
    c, _ = skim(c, u, w - 1, s, x)
    return cfg(c, u, w)


def skimmed_exact(c, u, w, x, s, full):
    if w <= 1:
        return cfg(c, u, w)
    _, negative = skim(u, c, w, s, x)
    _, positive = skim(c, u, w - 1, s, x)
    reached = np.where(negative | positive, min(s, w), w)
    return cfg(c, u, np.where(negative & full, 1.0, reached))


def pmc(c, u, w, gamma, floor):
    delta = c - u
    a, b, q = np.vdot(delta, delta), np.vdot(c, delta), np.vdot(c, c)
    if w <= 1 or a == 0:
        return c + (w - 1) * delta
    s = np.sqrt(b * b + (gamma**2 - 1) * a * q)
    cap = (gamma**2 - 1) * q / (b + s) if b > 0 else (s - b) / a
    return c + max(min(w - 1, cap), floor * (w - 1)) * delta


def momentum_guidance(d, x, sigma, kind, alpha, beta, low, high, m=None):
    """The corrected prediction, and the average to hand on."""
    v = (x - d) / sigma
    m = v if m is None else m
    t = sigma if kind == "flow" else sigma / (1 + sigma)
    moved = v + alpha * (v - m) if low <= t <= high else v
    return x - sigma * moved, (1 - beta) * v + beta * m


def dct_matrix(n):
    """Orthonormal DCT-II, row by frequency."""
    k, j = np.arange(n)[:, None], np.arange(n)[None]
    rows = np.sqrt(2 / n) * np.cos(np.pi * (j + 0.5) * k / n)
    rows[0] /= np.sqrt(2)
    return rows


def high_pass(r):
    """Every frame through the sigmoid high-pass of HiGS; a signal without rows has height 1."""
    height, width = r.shape[-2:] if r.ndim > 2 else (1, r.shape[-1])
    frames = r.reshape(-1, height, width)
    a, b = dct_matrix(height), dct_matrix(width)
    i, j = np.arange(height)[:, None] / height, np.arange(width)[None] / width
    mask = 1 / (1 + np.exp(-50 * (np.sqrt(i**2 + j**2) - 0.05)))
    return np.stack([a.T @ (mask * (a @ f @ b.T)) @ b for f in frames]).reshape(r.shape)


def higs(d, sigma, kind, weight, a, eta, low, high, bias_correction, g=None, n=0):
    """Equations 5 to 9: the corrected prediction, and the average to hand on, which n predictions have gone into."""
    if n == 0:
        return d, a * d
    seen = g / (1 - (1 - a) ** n) if bias_correction else g
    r = d - seen
    along = np.zeros_like(d) if not d.any() else np.vdot(r, d) / np.vdot(d, d) * d
    t = sigma if kind == "flow" else sigma / (1 + sigma)
    now = weight * np.sqrt((t - low) / (high - low)) if low < t <= high else 0.0
    return d + now * high_pass(r - along + eta * along), a * d + (1 - a) * g


def smc(c, u, w, sigma, lam, gain, relative, chatter_free, p=None):
    """The guided prediction, and the corrected error to hand on."""
    if w == 1:
        return c, p
    e = (c - u) / sigma
    k = gain * np.abs(e).mean() if relative else gain
    if chatter_free:
        hat = np.sign(e) * np.maximum(np.abs(e) - k, 0)
    else:
        hat = e - k * np.sign(e + (lam - 1) * (e if p is None else p))
    return u + w * sigma * hat, hat


def norm_limit(g, c, k, scope):
    if scope == "pixel":
        out = np.empty_like(g)
        for place in np.ndindex(g.shape[1:]):
            pixel = (slice(None), *place)
            out[pixel] = norm_limit(g[pixel], c[pixel], k, "sample")
        return out
    most = k * np.linalg.norm(c)
    return g if np.linalg.norm(g) <= most else g * (most / np.linalg.norm(g))


def amplified(step, x, eta):
    """A step whose part orthogonal to x is eta times as long."""
    square = np.vdot(x, x)
    radial = np.zeros_like(x) if square == 0 else np.vdot(step, x) / square * x
    return radial + eta * (step - radial)


def tag(d, x, eta):
    """The prediction of which the Euler step from sigma 2 to 1 is the amplified one."""
    derivative = (x - d) / 2.0
    step = amplified((1.0 - 2.0) * derivative, x, eta)
    return x + 2.0 * step


def scaled_noise(d, x, sigma, kind, r):
    """The prediction whose noise is r times that of d."""
    a, s = signal_noise(sigma, kind)
    return (x - s * r * eps(x, d, sigma, kind)) / a


def tsr(d, x, sigma, kind, k, spread):
    a, s = signal_noise(sigma, kind)
    if a == 0:
        return d
    if s == 0:
        return x / a + k * (d - x / a)  # the limit of r is k
    snr = a**2 / s**2
    r = (snr * spread**2 + 1) / (snr * spread**2 / k + 1)
    return scaled_noise(d, x, sigma, kind, r)


def contrastive(c, u, n, w, tau, sigma, kind, mean):
    a, s = signal_noise(sigma, kind)

    def sigmoid(z):
        return np.exp(-np.logaddexp(0.0, -z))

    def square(d):
        """Of the difference of two noise predictions, from that of the denoised ones."""
        squares = (a / s * d) ** 2
        return squares.mean() if mean else squares.sum()

    toward = 2 * w * sigmoid(tau * square(c - u)) * (c - u)
    away = 2 * w * sigmoid(-tau * square(n - u)) * (n - u)
    return u + toward - away


def dynamic_posterior(p, after, x, n, b, sigma, sigma_after, kind, tau, delta, p_min, p_max):
    """One DDPM step in the paper's VP coordinates: p after x (at sigma, with D_n and D_b) became `after`."""

    def in_vp(x, sigma):
        a, s = signal_noise(sigma, kind)
        return x / np.sqrt(a**2 + s**2), a**2 / (a**2 + s**2)

    (z, abar), (z_after, abar_after) = in_vp(x, sigma), in_vp(after, sigma_after)
    alpha = abar / abar_after
    variance = (1 - abar_after) / (1 - abar) * (1 - alpha)

    def distance(d):
        noise = (z - np.sqrt(abar) * d) / np.sqrt(1 - abar)
        mean = (z - (1 - alpha) / np.sqrt(1 - abar) * noise) / np.sqrt(alpha)
        return ((z_after - mean) ** 2).sum()

    exponent = (-tau * (distance(n) - distance(b)) + delta) / (2 * variance)
    return np.clip(p * np.exp(np.minimum(exponent, 700)), p_min, p_max)


def dynamic_negative(b, n, lam0, p):
    return b - lam0 * p / (1 - p) * (n - b)


def safe_latent(c, u, concept, w, sigma, kind, s, threshold, s_m, beta, warm=True, nu=0.0):
    """D, and the momentum to hand on, all of it in eps at x = 0, of which differences do not depend."""
    zero = np.zeros_like(c)
    e_c, e_u, e_s = (eps(zero, d, sigma, kind) for d in (c, u, concept))
    mu = np.where(e_c - e_s < threshold, np.minimum(1, s * np.abs(e_c - e_s)), 0)
    gamma = mu * (e_s - e_u) + s_m * nu
    guided = e_u + w * (e_c - e_u - (gamma if warm else 0))
    a, noise = signal_noise(sigma, kind)
    return -noise * guided / a, beta * nu + (1 - beta) * gamma


def add_term(d, c, bad, scale, rescale):
    result = d + scale * (c - bad)
    deviation = result.std(ddof=1) if result.size > 1 else 0.0
    ratio = 1.0 if deviation == 0 else c.std(ddof=1) / deviation
    return result * (rescale * ratio + 1 - rescale)


def distilled_pair(low, high, g1, g2):
    """The pair of which a guided model shows D(g) = g D_c + (1 - g) D_u at two values: two equations, solved."""
    equations = np.array([[g1, 1 - g1], [g2, 1 - g2]])
    pair = np.linalg.solve(equations, np.stack([low.ravel(), high.ravel()]))
    return pair[0].reshape(low.shape), pair[1].reshape(low.shape)


def cads(y, n, gamma, s, psi):
    """Algorithm 1 of the paper, one conditioning."""
    noisy = np.sqrt(gamma) * y + s * np.sqrt(1 - gamma) * n
    if np.std(y) == 0:
        return noisy
    rescaled = (noisy - np.mean(noisy)) / np.std(noisy) * np.std(y) + np.mean(y)
    return psi * rescaled + (1 - psi) * noisy


def adaptive_similarity(c, u, x, sigma, kind, space):
    p, q = (eps(x, d, sigma, kind) if space == "eps" else x - d for d in (c, u))
    lengths = np.linalg.norm(p) * np.linalg.norm(q)
    return 0.0 if lengths == 0 else np.vdot(p, q) / lengths


def uncond_reuse(c, difference, sigma, sigma_last, kind, frozen):
    """D_u whose distance to D_c is, in the quantity that is held, what it was at sigma_last."""

    def quantity(d, sigma):
        return d if frozen == "x0" else (eps if frozen == "eps" else v)(0.0, d, sigma, kind)

    held = quantity(difference, sigma_last) - quantity(0.0, sigma_last)
    unit = quantity(1.0, sigma) - quantity(0.0, sigma)
    return c - held / unit


def nag(positive, negative, s, tau, alpha, q):
    """Algorithm 1 of the paper, token by token."""
    result = np.empty_like(positive)
    for token in np.ndindex(positive.shape[:-1]):
        z, zt = positive[token], s * positive[token] - (s - 1) * negative[token]
        lengths = [np.sum(np.abs(t) ** q) ** (1 / q) for t in (zt, z)]
        # R is infinite where z is zero and zt is not; its zh has no length then.
        ratio = np.inf if lengths[1] == 0 else lengths[0] / lengths[1]
        zh = zt if ratio <= tau else zt * (tau / ratio)
        result[token] = alpha * zh + (1 - alpha) * z
    return result


def in_ve(x, sigma, kind):
    """x = a x0 + s eps as the VE state x/a at the level s/a."""
    a, s = signal_noise(sigma, kind)
    return x / a, s / a


def from_ve(z, sigma, kind):
    return signal_noise(sigma, kind)[0] * z


def cfgpp_step(x, clean, noisy, sigma, sigma_next, kind):
    a, s = signal_noise(sigma, kind)
    a_next, s_next = signal_noise(sigma_next, kind)
    return a_next * clean + s_next * (x - a * noisy) / s


def cfgpp_2m(x, guided, uncond, before, sigmas, kind, mixed):
    """As the samplers write it, in VE coordinates."""
    z, here = in_ve(x, sigmas[1], kind)
    h_last = np.log(in_ve(x, sigmas[0], kind)[1] / here)
    h = np.log(here / in_ve(x, sigmas[2], kind)[1])
    r = h_last / h
    current = guided if mixed else uncond
    z = guided - np.exp(-h) * uncond - np.expm1(-h) / (2 * r) * (current - before) + np.exp(-h) * z
    return from_ve(z, sigmas[2], kind)


def cfgpp_2s_middle(x, guided, uncond, sigma, sigma_middle, kind, mixed):
    z, here = in_ve(x, sigma, kind)
    half = np.log(here / in_ve(x, sigma_middle, kind)[1])
    if mixed:
        z = np.exp(-half) * (z + guided - uncond) - np.expm1(-half) * guided
    else:
        z = np.exp(-half) * z - np.expm1(-half) * uncond
    return from_ve(z, sigma_middle, kind)


def cfgpp_2s_end(x, guided, guided_middle, uncond_middle, sigma, sigma_next, kind, mixed):
    z, here = in_ve(x, sigma, kind)
    h = np.log(here / in_ve(x, sigma_next, kind)[1])
    if mixed:
        z = np.exp(-h) * (z + guided - uncond_middle) - np.expm1(-h) * guided_middle
    else:
        z = guided_middle - np.exp(-h) * uncond_middle + np.exp(-h) * z
    return from_ve(z, sigma_next, kind)


def renoise(x, noise, down, sigma_next, kind):
    z, low = in_ve(x, down, kind)
    high = in_ve(x, sigma_next, kind)[1]
    return from_ve(z + np.sqrt(high**2 - low**2) * noise, sigma_next, kind)


def euler_step(x, d, sigma, sigma_next):
    return x + (sigma_next - sigma) * (x - d) / sigma


def rectified_cfgpp(cond, cond_middle, uncond_middle, alpha, t, t_middle):
    """The D whose velocity, seen from any x, is v_c(x) + alpha [v_c(x~) - v_u(x~)]; here from x = 0."""
    velocity = -cond / t + alpha * (-cond_middle + uncond_middle) / t_middle
    return -t * velocity


def shuffle_tokens(tokens, count):
    """Every token in the place of the one before it."""
    return np.stack([tokens[(place + 1) % count] for place in range(count)])


def shuffle_added(before, after, count):
    added = [after[i] - before[i] for i in range(count)]
    return np.stack([before[place] + added[(place + 1) % count] for place in range(count)])
