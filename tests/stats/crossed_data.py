"""Data sets whose lme4 estimates are known: simulated crossed data, and the penicillin assay of
Davies & Goldsmith (1972).

`simulate` repeats the generator behind the reference values (numpy PCG64, 6 decimals); lme4 1.1-31,
lmerTest 3.1-3, R 4.2.2, bobyqa with rhoend 1e-9.
"""

import numpy as np
import pandas as pd

# diameters of zones (mm) - 15, base 36: 24 plates of six samples each
PENICILLIN = (
    "c8b886c8b886a6a995b8a885a7b78597a874958674b7b996969775969874b8b996a7b995b9b9a7b8b885b8a997a7a885a69885a7988496"
    "8664b8b996a69773a7a775969794969763"
)

# average reaction times (ms) of 18 subjects on days 0 to 9 of sleep deprivation, Belenky et al.
# (2003), as in lme4
SLEEPSTUDY = (
    "249.56 258.7047 250.8006 321.4398 356.8519 414.6901 382.2038 290.1486 430.5853 466.3535 222.7339 205.2658 "
    "202.9778 204.707 207.7161 215.9618 213.6303 217.7272 224.2957 237.3142 199.0539 194.3322 234.32 232.8416 "
    "229.3074 220.4579 235.4208 255.7511 261.0125 247.5153 321.5426 300.4002 283.8565 285.133 285.7973 297.5855 "
    "280.2396 318.2613 305.3495 354.0487 287.6079 285 301.8206 320.1153 316.2773 293.3187 290.075 334.8177 293.7469 "
    "371.5811 234.8606 242.8118 272.9613 309.7688 317.4629 309.9976 454.1619 346.8311 330.3003 253.8644 283.8424 "
    "289.555 276.7693 299.8097 297.171 338.1665 332.0265 348.8399 333.36 362.0428 265.4731 276.2012 243.3647 "
    "254.6723 279.0244 284.1912 305.5248 331.5229 335.7469 377.299 241.6083 273.9472 254.4907 270.8021 251.4519 "
    "254.6362 245.4523 235.311 235.7541 237.2466 312.3666 313.8058 291.6112 346.1222 365.7324 391.8385 404.2601 "
    "416.6923 455.8643 458.9167 236.1032 230.3167 238.9256 254.922 250.7103 269.7744 281.5648 308.102 336.2806 "
    "351.6451 256.2968 243.4543 256.2046 255.5271 268.9165 329.7247 379.4445 362.9184 394.4872 389.0527 250.5265 "
    "300.0576 269.8939 280.5891 271.8274 304.6336 287.7466 266.5955 321.5418 347.5655 221.6771 298.1939 326.8785 "
    "346.8555 348.7402 352.8287 354.4266 360.4326 375.6406 388.5417 271.9235 268.4369 257.2424 277.6566 314.8222 "
    "317.2135 298.1353 348.1229 340.28 366.5131 225.264 234.5235 238.9008 240.473 267.5373 344.1937 281.1481 "
    "347.5855 365.163 372.2288 269.8804 272.4428 277.8989 281.7895 279.1705 284.512 259.2658 304.6306 350.7807 "
    "369.4692 269.4117 273.474 297.5968 310.6316 287.1726 329.6076 334.4818 343.2199 369.1417 364.1236 "
)
# yields (g) of dyestuff, five preparations of six batches, Davies & Goldsmith (1972)
DYESTUFF = [
    *(1545, 1440, 1440, 1520, 1580, 1540, 1555, 1490, 1560, 1495, 1595, 1550, 1605, 1510, 1560),
    *(1445, 1440, 1595, 1465, 1545, 1595, 1630, 1515, 1635, 1625, 1520, 1455, 1450, 1480, 1445),
]
# contagious bovine pleuropneumonia, Lesnoff et al. (2004): herd, incidence, size and period, as in
# lme4
CBPP_HERD = "aaaabbbccccddddeeeeffffgggghiiiijjjjkkkkllllmmmmnnnnoooo"
CBPP_INCIDENCE = [
    *(2, 3, 4, 0, 3, 1, 1, 8, 2, 0, 2, 2, 0, 2, 0, 5, 0, 0, 1, 3, 0, 0, 1, 8, 1, 3, 0, 12),
    *(2, 0, 0, 0, 1, 1, 0, 2, 0, 5, 3, 1, 2, 1, 0, 0, 1, 2, 0, 0, 11, 0, 0, 0, 1, 1, 1, 0),
]
CBPP_SIZE = [
    *(
        14,
        12,
        9,
        5,
        22,
        18,
        21,
        22,
        16,
        16,
        20,
        10,
        10,
        9,
        6,
        18,
        25,
        24,
        4,
        17,
        17,
        18,
        20,
        16,
        10,
        9,
        5,
        34,
    ),
    *(
        9,
        6,
        8,
        6,
        22,
        22,
        18,
        22,
        25,
        27,
        22,
        22,
        10,
        8,
        6,
        5,
        21,
        24,
        19,
        23,
        19,
        2,
        3,
        2,
        19,
        15,
        15,
        15,
    ),
]
CBPP_PERIOD = "12341231234123412341234123411234123412341234123412341234"


def sleepstudy() -> pd.DataFrame:
    reaction = [float(v) for v in SLEEPSTUDY.split()]
    subject = [f"s{i:02d}" for i in np.repeat(np.arange(18), 10)]
    return pd.DataFrame(
        {"reaction": reaction, "days": np.tile(np.arange(10), 18), "subject": subject}
    )


def dyestuff() -> pd.DataFrame:
    return pd.DataFrame({"yield_g": DYESTUFF, "batch": np.repeat(list("ABCDEF"), 5)})


def cbpp() -> pd.DataFrame:
    frame = pd.DataFrame({"herd": list(CBPP_HERD), "incidence": CBPP_INCIDENCE, "size": CBPP_SIZE})
    return frame.assign(period=list(CBPP_PERIOD), healthy=frame["size"] - frame["incidence"])


def penicillin() -> pd.DataFrame:
    value = [float(int(c, 36) + 15) for c in PENICILLIN]
    return pd.DataFrame(
        {
            "diameter": value,
            "plate": np.repeat([f"p{k:02d}" for k in range(24)], 6),
            "sample": list("ABCDEF") * 24,
        }
    )


def simulate(n_models: int, n_items: int, seed: int = 1) -> pd.DataFrame:
    """y = .5 + .3 log_params + arch + .15 log_tokens + family + model + (i0 + i1 log_params)_item +
    e.
    """
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
        {
            "y": y,
            "log_params": params[m],
            "log_tokens": tokens[m],
            **labels,
            "family": [f"f{k:03d}" for k in family[m]],
        }
    )


def conditions() -> pd.DataFrame:
    """24 models by 30 items of two conditions; condition b adds N(0.3, 0.4) by model, and 0.5 more
    to architecture moe.
    """
    frame = simulate(24, 30)
    second = frame["item"].str[-1].astype(int) % 2 == 1
    own = np.round(np.random.default_rng(4).normal(0.3, 0.4, 24), 3)[
        frame["model"].str[1:].astype(int)
    ]
    y = np.round(frame["y"] + second * (own + 0.5 * (frame["arch"] == "moe")), 6)
    return frame.assign(y=y, cond=np.where(second, "b", "a"))
