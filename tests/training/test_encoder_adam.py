"""Adam of the encoder is that of torch, without what loading the latter costs."""
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")

from refcodec.encoder.adam import Adam


@pytest.mark.parametrize("betas, eps", [((0.9, 0.999), 1e-8), ((0.9, 0.99), 1e-15)])
def test_updates_are_those_of_torch(betas, eps):
    generator = torch.Generator().manual_seed(1)
    start = {"a": torch.randn((3, 4), generator=generator), "b": torch.randn(5, generator=generator)}
    ours = {name: p.clone() for name, p in start.items()}
    theirs = {name: torch.nn.Parameter(p.clone()) for name, p in start.items()}
    adam = Adam(ours, betas, eps)
    reference = torch.optim.Adam(theirs.values(), betas=betas, eps=eps)
    for i in range(6):
        gradients = {name: torch.randn(p.shape, generator=generator) for name, p in start.items()}
        if i in (2, 3):
            del gradients["b"]
        rate = 0.1 / (1 + i)
        adam.step(gradients, rate)
        for name, p in theirs.items():
            p.grad = gradients.get(name)
        reference.param_groups[0]["lr"] = rate
        reference.step()
    for name, p in theirs.items():
        torch.testing.assert_close(ours[name], p.detach())
        assert not torch.equal(ours[name], start[name])


def test_parameters_without_a_gradient_stay_as_they_are():
    a, b = torch.ones(3), torch.ones(2)
    adam = Adam({0: a, 1: b})
    adam.step({}, 0.1)
    adam.step({0: torch.ones(3)}, 0.1)
    torch.testing.assert_close(a, torch.full((3,), 0.9))
    assert b.tolist() == [1, 1]


def test_torch_compiler_is_not_loaded():
    code = ("import sys, torch\nfrom refcodec.encoder.adam import Adam\na = torch.ones(3)\n"
            "Adam({0: a}).step({0: a.clone()}, 0.1)\nprint('torch._dynamo' in sys.modules)")
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.split() == ["False"]
