import math

import pytest
import torch

from labkit.distances import cosine_similarities

F64 = torch.float64
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA"))]


def rows(n, dim=4, seed=0):
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=F64)


@pytest.mark.parametrize("device", DEVICES)
def test_equal_to_the_loop(device):
    a, b = rows(5), rows(3, seed=1)
    for x, y, got in (
        (a, b, cosine_similarities(a.to(device), b.to(device))),
        (a, a, cosine_similarities(a.to(device))),
    ):
        expected = [[math.fsum(p * q for p, q in zip(u, v, strict=True)) for v in y.tolist()] for u in x.tolist()]
        lengths = [[math.hypot(*u) * math.hypot(*v) for v in y.tolist()] for u in x.tolist()]
        torch.testing.assert_close(
            got.cpu(), torch.tensor(expected, dtype=F64) / torch.tensor(lengths, dtype=F64), rtol=1e-13, atol=1e-15
        )


def test_gradients():
    a, b = rows(4).requires_grad_(), rows(3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(cosine_similarities, (a, b))
    assert torch.autograd.gradgradcheck(cosine_similarities, (a, b))
    assert torch.autograd.gradcheck(cosine_similarities, a)


def test_a_row_of_zeros_has_cosine_0_and_gradient_0():
    a = torch.tensor([[0.0, 0.0], [3.0, 4.0]], requires_grad=True)
    cosines = cosine_similarities(a)
    assert torch.equal(cosines.detach(), torch.tensor([[0.0, 0.0], [0.0, 1.0]]))
    cosines.sum().backward()
    assert torch.equal(a.grad[0], torch.zeros(2))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_autocast_do_not_lower_it(dtype):
    a, b = rows(6).to(dtype), rows(5, seed=1).to(dtype)
    expected = cosine_similarities(a.float(), b.float())
    assert expected.dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(cosine_similarities(a, b), expected)
        assert torch.equal(cosine_similarities(a.float()), cosine_similarities(a.float(), a.float()))
    assert cosine_similarities(a, b.double()).dtype == cosine_similarities(a.double(), b).dtype == F64


def test_bad_input():
    a = rows(3)
    for bad in (a[0], a.int(), a.tolist()):
        with pytest.raises(ValueError, match=r"^a must be a floating-point tensor"):
            cosine_similarities(bad)
        with pytest.raises(ValueError, match=r"^b must be a floating-point tensor"):
            cosine_similarities(a, bad)
    with pytest.raises(ValueError, match=r"^b must have as many columns as a, 4, got 3$"):
        cosine_similarities(a, a[:, :3])
    with pytest.raises(ValueError, match=r"^b must be on the device of a, cpu, got meta$"):
        cosine_similarities(a, torch.empty(2, 4, device="meta"))
