"""The Laplace approximation of a binomial mixed model's deviance, or its integral by adaptive
quadrature.

    -2 log L ~ min over u of [d(y | u) + u'u] + log |Lambda'Z'WZ Lambda + I|,  d = -2 log p(y | u),  W = n p (1 - p)
    quadrature, of one random effect: L of a level = 1 / (l sqrt(pi)) sum over points (x, w) of w
    exp(x^2 - d(y | u_x) / 2 - u_x^2 / 2),
    u_x = mode + sqrt(2) x / l,  l^2 = the curvature at the mode; (x, w) of Gauss and Hermite. One point is Laplace's.
Sources: Bates et al. (2015), lme4's penalised iteratively reweighted least squares; Pinheiro &
Bates (1995), J. Comp. Graph. Stat. 4.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import expit, gammaln, logsumexp

from transect.stats.mixed.crossed_cholesky import Deviance, Grouping


class Laplace:
    """The Laplace-approximated deviance of a binomial model as a function of theta, or of theta and
    beta, in standard columns.

    Holds the modes of the last evaluation, from which the next one starts.
    """

    def __init__(
        self,
        successes: np.ndarray,
        trials: np.ndarray,
        x: np.ndarray,
        terms: Sequence[Grouping],
        points: int = 1,
        offset: np.ndarray | None = None,
    ):
        self.points = points  # of the quadrature; 1: Laplace
        self.trials, self.x = trials, np.asarray(x, float)  # the given columns
        zero = np.zeros(len(trials))
        self.offset = zero if offset is None else offset  # what is known of the linear predictor
        self.with_beta = Deviance(zero, self.x, terms, reml=False)
        self.without = Deviance(zero, self.x[:, :0], terms, reml=False)
        self.columns = self.with_beta.standard_x
        self.start, self.diagonal = self.without.start, self.without.diagonal
        self.terms = self.without.terms
        self.set_successes(successes)

    def set_successes(self, successes: np.ndarray) -> None:
        """Replace the response and start anew (parametric bootstrap)."""
        self.successes = successes
        n, k = self.trials, successes
        self.constant = -2 * float((gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)).sum())
        self.u = [np.zeros((t.n_levels, t.k)) for t in self.terms]
        self.beta = np.zeros(self.x.shape[1])
        self.vcov = np.full((len(self.beta),) * 2, np.nan)

    def standard(self, beta: np.ndarray) -> np.ndarray:
        """Coefficients of the standard columns, from those of the given ones."""
        return self.with_beta.fixed.root @ beta

    def fixed_part(self, beta: np.ndarray) -> np.ndarray:
        """The linear predictor of every row without its random effects; beta: of the standard
        columns.
        """
        return self.columns @ beta + self.offset

    def joint(self, theta: np.ndarray) -> float:
        """The deviance with beta at the joint mode (nAGQ = 0); sets `beta` and `vcov` (X'V^-1
        X)^-1.
        """
        value, solution = self._iterate(self.with_beta, theta, self.beta)
        inverse = np.linalg.inv(solution.rx)
        self.vcov = inverse.T @ inverse
        return value

    def at(self, theta: np.ndarray, beta: np.ndarray) -> float:
        """The deviance at theta and beta (nAGQ = the points)."""
        value, solution = self._iterate(self.without, theta, beta)
        return value if self.points == 1 else self._integral(theta, beta, solution.lower[:, 0, 0])

    def _integral(self, theta: np.ndarray, beta: np.ndarray, curvature: np.ndarray) -> float:
        """The deviance by quadrature about the modes of the last evaluation; curvature: l of each
        level.
        """
        at, weights = np.polynomial.hermite.hermgauss(self.points)
        codes, columns = self.terms[0].codes, self.without.columns[0].standard[:, 0]
        modes, fixed = self.u[0][:, 0], self.fixed_part(beta)
        parts = []
        for x, weight in zip(at, weights, strict=True):
            u = modes + np.sqrt(2) * x / curvature
            eta = fixed + theta[0] * u[codes] * columns
            log_p = np.bincount(
                codes, self.successes * eta - self.trials * np.logaddexp(0, eta), len(modes)
            )
            parts.append(np.log(weight) + x**2 + log_p - u**2 / 2)
        return (
            -2
            * float(
                (logsumexp(parts, axis=0) - np.log(curvature)).sum()
                - len(modes) * np.log(np.pi) / 2
            )
            + self.constant
        )

    def components(self, theta: np.ndarray) -> pd.DataFrame:
        """group, effect, variance, sd, n_levels of each random effect."""
        rows = []
        for term, factor in zip(self.terms, self.without.factors(theta), strict=True):
            for effect, variance in zip(term.effects, (factor**2).sum(1), strict=True):
                rows.append((term.name, effect, variance, np.sqrt(variance), term.n_levels))
        return pd.DataFrame(rows, columns=["group", "effect", "variance", "sd", "n_levels"])

    def random_part(self, theta: np.ndarray, u: list[np.ndarray]) -> np.ndarray:
        """Z b of every row."""
        total = np.zeros(len(self.trials))
        for term, columns, t, v in zip(
            self.terms, self.without.columns, self.without.standard_factors(theta), u, strict=True
        ):
            total += ((v @ t.T)[term.codes] * columns.standard).sum(1)
        return total

    def _penalised(self, eta: np.ndarray, u: list[np.ndarray]) -> float:
        log_likelihood = self.successes @ eta - self.trials @ np.logaddexp(0, eta)
        return -2 * float(log_likelihood) + sum(float((v * v).sum()) for v in u)

    def _iterate(self, system: Deviance, theta: np.ndarray, beta: np.ndarray):  # type: ignore[no-untyped-def]
        """Penalised iteratively reweighted least squares for u (and beta, where `system` holds X);
        step halving.
        """
        fixed = system is self.without
        u, beta = self.u, np.asarray(beta, float)
        eta = self.fixed_part(beta) + self.random_part(theta, u)
        value, done = self._penalised(eta, u), False
        for _ in range(60):
            p = expit(eta)
            weights = np.maximum(self.trials * p * (1 - p), 1e-10)
            system.set_weights(weights)
            known = self.fixed_part(beta) if fixed else self.offset
            system.set_y(eta - known + (self.successes - self.trials * p) / weights)
            solution = system.solve(theta)
            if (
                done
            ):  # the determinant is that of the modes themselves: its error is linear in theirs
                break
            new_u, new_beta = system.effects(theta, solution), beta if fixed else solution.beta
            for _ in range(12):
                new_eta = self.fixed_part(new_beta) + self.random_part(theta, new_u)
                new = self._penalised(new_eta, new_u)
                if new <= value * (1 + 1e-12):
                    break
                new_u, new_beta = (
                    [(a + b) / 2 for a, b in zip(u, new_u, strict=True)],
                    (beta + new_beta) / 2,
                )
            done = abs(value - new) < 1e-12 * (abs(new) + 1)
            u, beta, eta, value = new_u, new_beta, new_eta, new
        self.u = u
        if not fixed:
            self.beta = beta
        return value + solution.logdet + self.constant, solution
