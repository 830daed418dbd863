#!/usr/bin/env python3
"""Writes samplers.json: trajectories of diffusers' schedulers with settings that the golden cases lack.

    python model/diffusion/testdata/make_samplers.py > model/diffusion/testdata/samplers.json

The network is 0.3*x + 0.1*sin(t), samples have four elements, and the noise of step n is
((5n + 3j) mod 17 - 8)/8 for j = 0..3: exact in float32.
"""
import json, math, warnings

import diffusers, torch

warnings.filterwarnings("ignore")
diffusers.utils.logging.set_verbosity_error()
SD = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
COSINE = dict(beta_schedule="squaredcos_cap_v2")
V = dict(prediction_type="v_prediction")
X0 = dict(prediction_type="sample")
KARRAS = dict(use_karras_sigmas=True)
MIN = dict(final_sigmas_type="sigma_min")


def runs():
    for kw, steps in (({}, 10), (dict(steps_offset=1), 25), (dict(timestep_spacing="trailing"), 10), (dict(timestep_spacing="linspace"), 7),
                      (V, 4), (dict(set_alpha_to_one=True), 9), (COSINE, 12)):
        yield "PNDM", kw, steps
    for kw, steps in (({}, 1), ({}, 2), ({}, 3), (dict(timestep_spacing="linspace"), 4), (dict(set_alpha_to_one=True, timestep_spacing="trailing"), 7)):
        yield "PNDM", dict(skip_prk_steps=True, **kw), steps
    for kw, steps in (({}, 1), (X0, 10), (MIN, 10), (KARRAS, 10), (dict(use_exponential_sigmas=True), 10), (dict(sigma_min=0.1, sigma_max=10.0, **KARRAS), 8),
                      (dict(timestep_spacing="leading", **COSINE), 7), (dict(timestep_spacing="trailing", **V, **KARRAS), 30)):
        yield "EulerDiscrete", kw, steps
    for kw, steps in (({}, 1), (COSINE, 7), (dict(timestep_spacing="leading", steps_offset=1), 3)):
        yield "EulerAncestralDiscrete", kw, steps
    heun = dict(solver_type="heun")
    for kw, steps in (({}, 1), ({}, 2), ({}, 3), (dict(solver_order=1), 10), (heun, 10), (heun, 20), (X0, 10), (dict(solver_order=3), 10), (dict(solver_order=3), 20),
                      (dict(solver_order=3, **V, **KARRAS), 16), (dict(lower_order_final=False), 10), (dict(euler_at_final=True, **MIN), 20), (MIN, 10), (MIN, 20),
                      (dict(**MIN, **KARRAS), 20), (dict(solver_order=3, lower_order_final=False, **MIN), 10), (dict(use_exponential_sigmas=True), 10),
                      (dict(use_lu_lambdas=True), 10), (dict(lambda_min_clipped=-5.1, **COSINE), 10), (dict(lambda_min_clipped=-5.1, **COSINE, **KARRAS), 10),
                      (dict(lambda_min_clipped=-2.0, timestep_spacing="leading", steps_offset=1), 10), (dict(lambda_min_clipped=-2.0, timestep_spacing="trailing"), 10),
                      (dict(rescale_betas_zero_snr=True, timestep_spacing="trailing", **V), 10)):
        yield "DPMSolverMultistep", kw, steps
    for order in (1, 2, 3):
        for kind in ("midpoint", "heun"):
            for pred in ("epsilon", "v_prediction", "sample"):
                base = dict(solver_order=order, solver_type=kind, prediction_type=pred)
                yield "DPMSolverMultistep", dict(algorithm_type="dpmsolver", **base, **MIN), 10 if order < 3 else 16
                if order < 3 and pred != "sample":
                    yield "DPMSolverMultistep", dict(algorithm_type="sde-dpmsolver++", **base), 10
    yield "DPMSolverMultistep", dict(algorithm_type="sde-dpmsolver++", **KARRAS), 20


def trajectory(name, config, steps):
    s = getattr(diffusers, name + "Scheduler")(**config)
    s.set_timesteps(steps)
    if hasattr(s, "set_begin_index"): s.set_begin_index(0)  # Otherwise a timestep that repeats at the start is looked up as the second.
    x = torch.tensor([0.5, -1.25, 2, 0.0625]).view(1, 4, 1, 1) * float(s.init_noise_sigma)
    samples = [x]
    for n, t in enumerate(s.timesteps):
        noise = torch.tensor([((5 * n + 3 * j) % 17 - 8) / 8 for j in range(4)]).view(1, 4, 1, 1)
        e = 0.3 * s.scale_model_input(x, t) + 0.1 * math.sin(float(t))
        if name == "EulerAncestralDiscrete":
            diffusers.schedulers.scheduling_euler_ancestral_discrete.randn_tensor = lambda *a, **k: noise
            x = s.step(e, t, x).prev_sample
        elif name == "DPMSolverMultistep":
            x = s.step(e, t, x, variance_noise=noise).prev_sample
        else:
            x = s.step(e, t, x).prev_sample
        samples.append(x)
    return dict(config=dict(_class_name=name + "Scheduler", **config), steps=steps, init_noise_sigma=float(s.init_noise_sigma),
                timesteps=[float(t) for t in s.timesteps], samples=[v for y in samples for v in y.flatten().tolist()])


def main():
    all = []
    for name, kw, steps in runs():
        all.append(trajectory(name, kw if "beta_schedule" in kw else {**SD, **kw}, steps))
    print('{"diffusers": "%s", "torch": "%s", "runs": [' % (diffusers.__version__, torch.__version__))
    print(",\n".join(json.dumps(r) for r in all))
    print("]}")


if __name__ == "__main__":
    main()
