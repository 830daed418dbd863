"""Makes reference.json: numbers of other libraries that the Go code is held to.

pip install numpy scipy statsmodels krippendorff choix; python reference.py > reference.json
"""
import json, math, sys
import numpy as np, scipy.stats as st, statsmodels.api as sm, krippendorff, choix

rng = np.random.default_rng(20240601)
out = {"versions": {m.__name__: m.__version__ for m in (np, sys.modules["scipy"], sys.modules["statsmodels"])}}

out["wilson"] = []
for x, n in [(0, 10), (5, 10), (9, 10), (15, 18), (81, 100), (263, 1000)]:
    c = st.binomtest(x, n).proportion_ci(method="wilson")
    out["wilson"].append({"x": x, "n": n, "low": c.low, "high": c.high})

# Bradley-Terry: strengths by choix (its own MM), and strengths with standard errors by a binomial GLM.
wins = [[0, 12, 7.5, 20], [8, 0, 11, 9], [12.5, 9, 0, 16], [5, 6, 4, 0]]
k = len(wins)
theta = None
data = []
for i in range(k):
    for j in range(k):
        data += [(i, j)] * int(2 * wins[i][j])  # half wins: each comparison twice
theta = choix.mm_pairwise(k, data, max_iter=100000, tol=1e-13)
rows, y = [], []
for i in range(k):
    for j in range(i + 1, k):
        r = np.zeros(k); r[i], r[j] = 1, -1
        rows.append(r); y.append([wins[i][j], wins[j][i]])
X = np.array(rows)
B = np.vstack([np.eye(k - 1), -np.ones(k - 1)])  # s = B b has sum 0
fit = sm.GLM(np.array(y), X @ B, family=sm.families.Binomial()).fit(tol=1e-14, maxiter=200)
s = B @ fit.params
se = np.sqrt(np.diag(B @ fit.cov_params() @ B.T))
out["bradley_terry"] = {"wins": wins, "choix": list(theta - np.mean(theta)), "glm": list(s), "se": list(se)}

# Krippendorff: his example of 2011 (4 observers, 12 units), and a random table with gaps.
nan = float("nan")
example = [[1, 2, 3, 3, 2, 1, 4, 1, 2, nan, nan, nan], [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, nan, 3],
           [nan, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, nan], [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, nan]]
table = rng.integers(0, 3, (5, 40)).astype(float)
table[1:, :20] = table[0, :20]
table[rng.random(table.shape) < 0.2] = nan
out["krippendorff"] = []
for t in (np.array(example), table):
    out["krippendorff"].append({"values": [[None if math.isnan(v) else v for v in u] for u in t.T.tolist()],
        "nominal": krippendorff.alpha(t, level_of_measurement="nominal"), "interval": krippendorff.alpha(t, level_of_measurement="interval")})

# Bootstrap: BCa of a mean, with enough resamples that their own noise is small.
x = rng.gamma(1.0, 1.0, 25)
b = st.bootstrap((x,), np.mean, n_resamples=200000, method="BCa", rng=rng)
out["bootstrap"] = {"values": list(x), "low": b.confidence_interval.low, "high": b.confidence_interval.high}

# Hedged capital by the formulas of Waudby-Smith and Ramdas, theorem 3, with whole vectors at once.
def hedged(x, m, alpha=0.05, c=0.5):
    t = np.arange(1, len(x) + 1)
    mu = (0.5 + np.cumsum(x)) / (t + 1)
    var = (0.25 + np.cumsum((x - mu) ** 2)) / (t + 1)
    lam = np.sqrt(2 * np.log(2 / alpha) / (np.concatenate([[0.25], var[:-1]]) * t * np.log(t + 1)))
    up = np.cumprod(1 + np.minimum(lam, c / m) * (x - m))
    down = np.cumprod(1 - np.minimum(lam, c / (1 - m)) * (x - m))
    return np.maximum(up, down).max() / 2 >= 1 / alpha
x = rng.choice([0, 0.5, 1], 300, p=[0.25, 0.1, 0.65])
grid = np.arange(1, 1000) / 1000
left = [[float(m) for m in grid if not hedged(x[:n], m)] for n in (20, 100, 300)]
out["sequence"] = {"scores": list(x), "counts": [20, 100, 300], "low": [l[0] for l in left], "high": [l[-1] for l in left]}
json.dump(out, sys.stdout, indent=1)
