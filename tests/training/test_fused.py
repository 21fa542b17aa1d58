"""The compiled training step: values and gradients of torch's, for every representation that it has."""
from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from native import load_training

torch = pytest.importorskip("torch")

from refcodec import fields
from refcodec.encoder import fused
from refcodec.encoder.rays import ALPHA_WEIGHT, Samples, shade
from refcodec.fields import DifSizes, GridSizes, MlpSizes, TriplaneSizes, VmSizes, field_header
from refcodec.syntax.headers import Mapping

load_training()

BOX = np.array([[-1.0, -0.8, -1.2], [1.1, 0.9, 1.3]])
SMALL = dict(render_hidden=16)
SIZES = {
    "dif": DifSizes(6, (5, 7), (4, 3), (2.0, 3.3), fusion_hidden=12, features=9, **SMALL),
    "vm": VmSizes(3, 5, 14, features=6, **SMALL),
    "vm-without-basis": VmSizes(4, 6, 14, features=0, **SMALL),
    "vm-of-144-features": VmSizes(2, 48, 6, features=0, **SMALL),
    "triplane": TriplaneSizes(4, 14, 9, **SMALL),
    "grid": GridSizes(9, 8, 6, **SMALL),
}
LEAST = 1e-4


def case(name: str, seed: int, rays: int = 70):
    """A random field with tensors (z, y, x, C), and a random batch of rays of 0 to 12 samples."""
    header = field_header(SIZES[name], BOX, ticks_per_second=30, background=(20, 120, 250))
    # Dense enough that weights are no differences of nearly equal numbers, which torch rounds in its own way.
    header = dataclasses.replace(header, parameters=dataclasses.replace(header.parameters, density_shift=1.0))
    rng, tensors = np.random.default_rng(seed), []
    for info in header.tensors:
        spread = 0.7 if info.mapping != Mapping.NONE else 1.3 / np.sqrt(info.shape[3])
        values = rng.normal(0, spread, (*info.shape[1:], info.shape[0]))
        tensors.append(torch.from_numpy(values.astype(np.float32)).requires_grad_())
    counts = rng.integers(0, 13, rays)
    ray = np.repeat(np.arange(rays), counts)
    slot = np.concatenate([np.arange(c) for c in counts])
    position = rng.uniform(BOX[0] - 0.01, BOX[1] + 0.01, (len(ray), 3))
    direction = rng.normal(size=(rays, 3))
    direction /= np.linalg.norm(direction, axis=1)[:, None]
    target, weight = rng.uniform(0, 1, (rays, 4)), rng.uniform(0.3, 3, rays)
    real = [torch.from_numpy(a.astype(np.float32)) for a in (position, direction, target, weight)]
    samples = Samples(torch.from_numpy(ray), torch.from_numpy(slot), real[0], real[1], (rays, 13))
    return header, tensors, samples, *real[2:]


def by_torch(header, tensors, samples, target, weight):
    field = fields.build(header, [t.permute(3, 0, 1, 2) for t in tensors], fields.TorchOps())
    step = float(np.linalg.norm(np.subtract(*header.box))) / header.samples_per_diagonal
    colour, opacity = shade(field, samples, step, LEAST)
    alpha = opacity - target[:, 3]
    of_colour = (colour - target[:, :3] - alpha[:, None] * torch.tensor(header.background) / 255).square().mean(1)
    error = torch.stack([of_colour, ALPHA_WEIGHT * alpha.square()], 1)
    loss = (weight[:, None] * error).sum(1).mean()
    return error.detach(), torch.autograd.grad(loss, tensors, allow_unused=True)


def by_kernel(header, tensors, samples, target, weight, threads=1, wanted=None, **options):
    shading = fused.FusedShading(header, opacity_weight=ALPHA_WEIGHT, least_weight=LEAST, threads=threads)
    return shading(tensors, range(len(tensors)) if wanted is None else wanted, samples, target, weight, **options)


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("rays", [1, 33, 70])
def test_values_and_gradients_are_torchs(name, rays):
    given_case = case(name, 3 + rays, rays)
    error, gradients = by_torch(*given_case)
    step = by_kernel(*given_case)
    torch.testing.assert_close(step.error, error, rtol=1e-4, atol=1e-6)
    for t, expected in enumerate(gradients):
        expected = torch.zeros_like(given_case[1][t]) if expected is None else expected
        scale = float(expected.abs().max()) or 1.0
        assert float((step.gradients[t] - expected).abs().max()) < 1e-4 * scale + 1e-9, t


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), name=st.sampled_from(list(SIZES)))
def test_threads_change_nothing(seed, name):
    given_case = case(name, seed)
    one, three = by_kernel(*given_case), by_kernel(*given_case, threads=3)
    assert torch.equal(one.error, three.error)
    assert all(torch.equal(one.gradients[t], three.gradients[t]) for t in one.gradients)


def test_only_what_is_wanted():
    given_case = case("vm", 5)
    every, some = by_kernel(*given_case), by_kernel(*given_case, wanted={2, 7, 12})
    assert set(some.gradients) == {2, 7, 12}
    assert all(torch.equal(some.gradients[t], every.gradients[t]) for t in some.gradients)
    alone = by_kernel(*given_case, differentiate=False)
    assert not alone.gradients and torch.equal(alone.error, every.error)


def test_rays_without_samples():
    header, tensors, samples, target, weight = case("vm", 6)
    none = dataclasses.replace(samples, ray=samples.ray[:0], slot=samples.slot[:0], position=samples.position[:0])
    error, _ = by_torch(header, tensors, none, target, weight)
    step = by_kernel(header, tensors, none, target, weight)
    torch.testing.assert_close(step.error, error)
    assert not any(g.any() for t, g in step.gradients.items() if header.tensors[t].mapping != Mapping.NONE)


def test_what_it_serves():
    def serves(sizes):
        return fused.serves(field_header(sizes, BOX, ticks_per_second=30))

    assert all(map(serves, SIZES.values()))
    assert not serves(MlpSizes(position_frequencies=2, hidden_layers=2, hidden=16, skip_layer=0))


@pytest.mark.parametrize("change", ["row", "short table", "other field", "rays", "ends", "word"])
def test_wrong_sizes_are_refused(change):
    """The extension judges every size itself: whatever is described to it, no other memory is touched."""
    module = fused.kernel()
    header, tensors, samples, target, weight = case("vm", 8)
    shading = fused.FusedShading(header, opacity_weight=1, least_weight=LEAST, threads=1)
    arrays = [t.detach().numpy() for t in tensors]
    words = shading._words.copy()
    tables, layers = [arrays[t] for t in shading._slots], [arrays[t] for t in shading._layers]
    if change == "word":
        for at in range(len(words)):
            for value in (-1, 5, 1 << 20):
                wrong = words.copy()
                wrong[at] = value
                try:
                    module.field(wrong, shading._reals, tables, [None] * len(tables), layers)
                except ValueError:
                    pass
        for end in range(len(words)):
            with pytest.raises(ValueError):
                module.field(words[:end], shading._reals, tables, [None] * len(tables), layers)
        return
    if change == "row":
        words[1] = 3
    if change == "short table":
        tables[0] = tables[0][:-1]
    if change in ("row", "short table"):
        with pytest.raises(ValueError):
            module.field(words, shading._reals, tables, [None] * len(tables), layers)
        return
    field = module.field(words, shading._reals, tables, [None] * len(tables), layers)
    ends = torch.bincount(samples.ray, minlength=70).cumsum(0).to(torch.int32).numpy()
    n = len(samples.ray)

    def batch(ends):
        inputs = [a.numpy() for a in (samples.position, samples.direction, target, weight)]
        return module.batch(field, *inputs, ends, np.empty((70, 2), np.float32),
                            np.empty((n, shading.row), np.float32), np.empty(n, np.uint8))

    if change == "ends":
        with pytest.raises(ValueError):
            batch(ends[::-1].copy())
    elif change == "rays":
        for first, last in ((-1, 3), (0, 71), (5, 5)):
            with pytest.raises(ValueError):
                module.shade(field, batch(ends), first, last, None)
    else:
        words[1] += 1
        other = module.field(words, shading._reals, tables, [None] * len(tables), layers)
        with pytest.raises(ValueError):
            module.shade(other, batch(ends), 0, 70, None)


@pytest.mark.parametrize("representation, system", [
    ("vm", "ecrf"), ("dif", "rate-aware"), ("triplane", "masked-wavelet")])
def test_training_goes_the_same_way(representation, system):
    """Values of the tensors after some iterations of a real frame, with the kernel and without."""
    from checkout import ROOT
    from refcodec.datasets import load_dataset
    from refcodec.encoder import presets, rays, systems, train

    frame = load_dataset(ROOT / "demo/fox", frames=range(1)).frames[0]
    pictures = [rays.TrainingPicture(v.camera.scaled(0.25), v.load(4)) for v in frame.split("train")][:6]
    plan, _ = systems.plan(system, representation)
    sizes = {"vm": VmSizes(2, 4, 24), "dif": DifSizes(6, (5, 7), (4, 3), (2.0, 3.3)),
             "triplane": TriplaneSizes(4, 24, 12)}
    header = field_header(sizes[representation], BOX, ticks_per_second=30, samples_per_diagonal=64)
    errors = []
    for on in (True, False):
        settings = presets.TrainingSettings(intra_iterations=12, rays=128, fused=on)
        trainer = train.FieldTrainer(header, pictures, settings, plan, None)
        assert (trainer.shading is not None) == on
        errors.append([])
        for i in range(12):
            moment = trainer.schedule.at(i)
            trainer.prepare(moment)
            errors[-1].append(float(trainer.descend(moment)))
    assert errors[0] == pytest.approx(errors[1], rel=5e-3)
