"""Data sets whose lme4 estimates are known: simulated crossed data, and the penicillin assay of Davies & Goldsmith (1972).

`simulate` repeats the generator behind the reference values (numpy PCG64, 6 decimals); lme4 1.1-31, lmerTest 3.1-3, R 4.2.2,
bobyqa with rhoend 1e-9.
"""

import numpy as np
import pandas as pd

# diameters of zones (mm) - 15, base 36: 24 plates of six samples each
PENICILLIN = (
    "c8b886c8b886a6a995b8a885a7b78597a874958674b7b996969775969874b8b996a7b995b9b9a7b8b885b8a997a7a885a69885a7988496"
    "8664b8b996a69773a7a775969794969763"
)


def penicillin() -> pd.DataFrame:
    value = [float(int(c, 36) + 15) for c in PENICILLIN]
    return pd.DataFrame(
        {"diameter": value, "plate": np.repeat([f"p{k:02d}" for k in range(24)], 6), "sample": list("ABCDEF") * 24}
    )


def simulate(n_models: int, n_items: int, seed: int = 1) -> pd.DataFrame:
    """y = .5 + .3 log_params + arch + .15 log_tokens + family + model + (i0 + i1 log_params)_item + e."""
    rng = np.random.default_rng(seed)
    n_families = max(6, n_models // 6)
    family = np.arange(n_models) % n_families
    params = np.round(rng.uniform(7, 10.5, n_models), 4)
    params = np.round(params - params.mean(), 4)
    tokens = np.round(rng.uniform(9.5, 12.5, n_models), 4)
    tokens = np.round(tokens - tokens.mean(), 4)
    arch = rng.integers(0, 3, n_models)
    effect = np.array([0.0, 0.10, -0.20])[arch]
    families, models = rng.normal(0, 0.20, n_families), rng.normal(0, 0.25, n_models)
    covariance = np.array([[0.80**2, 0.3 * 0.80 * 0.15], [0.3 * 0.80 * 0.15, 0.15**2]])
    items = rng.multivariate_normal([0, 0], covariance, n_items)
    m, i = (g.ravel() for g in np.meshgrid(np.arange(n_models), np.arange(n_items), indexing="ij"))
    base = (
        0.30 * params[m]
        + effect[m]
        + 0.15 * tokens[m]
        + families[family[m]]
        + models[m]
        + items[i, 0]
        + items[i, 1] * params[m]
    )
    y = np.round(0.5 + base + rng.normal(0, 0.60, base.size), 6)
    labels = {
        "arch": np.array(["dense", "moe", "ssm"])[arch][m],
        "model": [f"m{k:04d}" for k in m],
        "item": [f"i{k:05d}" for k in i],
    }
    return pd.DataFrame(
        {"y": y, "log_params": params[m], "log_tokens": tokens[m], **labels, "family": [f"f{k:03d}" for k in family[m]]}
    )
