"""A GPU that is not there: tensors that say they are on cuda:0, while their values lie on the CPU.

They can be differentiated, and they refuse to meet a tensor that was made on the CPU, as those of a GPU do. So a tensor
on the wrong device turns a test red on any machine, also where torch was built without CUDA. What would make Python
wait for the GPU is noted.

    with pretended.gpu() as waits:
        loss(pretended.on(embeddings), pretended.on(labels)).backward()
"""

import contextlib
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing

GPU = torch.device("cuda", 0)
noted = []
aten = torch.ops.aten
# CUDA too copies a tensor of the CPU, and takes rows by numbers that lie there.
WAITS = {"_local_scalar_dense", "nonzero", "_unique2", "unique_dim", "unique_consecutive", "masked_select", "equal"}
MAY_MIX = {"copy_", "_to_copy", "index", "index_put", "index_put_", "_index_put_impl_"}


class OnGPU(torch.Tensor):
    """A tensor that says it is on the pretended GPU. To torch's own code it is on the CPU, so that autograd works."""

    @staticmethod
    def __new__(cls, values):
        options = {"strides": values.stride(), "storage_offset": values.storage_offset(), "dtype": values.dtype}
        made = torch.Tensor._make_wrapper_subclass(cls, values.shape, device="cpu", **options)
        made.values_here = values.detach()
        return made

    device = property(lambda self: GPU)
    is_cuda = property(lambda self: True)
    is_cpu = property(lambda self: False)

    def __repr__(self):
        return f"OnGPU({self.values_here})"

    def numpy(self, *args, **kwargs):
        raise TypeError(f"can't convert {GPU} device type tensor to numpy. Use Tensor.cpu() first")

    __array__ = numpy

    def tolist(self):
        noted.append("tolist")
        return self.values_here.tolist()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        kwargs, name = kwargs or {}, func.overloadpacket.__name__
        if name in WAITS or (name == "index" and any(one.dtype == torch.bool for one in args[1] if one is not None)):
            noted.append(name)
        leaves = pytree.tree_leaves((args, kwargs))
        here = [one for one in leaves if isinstance(one, torch.Tensor) and not isinstance(one, cls)]
        if any(one.dim() for one in here) and name not in MAY_MIX:  # a scalar may come along
            raise RuntimeError(f"{func}: expected all tensors to be on the same device, got some on {GPU} and on cpu")
        if func is aten.copy_.default and not isinstance(args[0], cls):
            return func(args[0], args[1].values_here, *args[2:], **kwargs)
        plain_args, plain_kwargs = pytree.tree_map_only(cls, lambda one: one.values_here, (args, kwargs))
        out = pytree.tree_map_only(torch.Tensor, cls, func(*plain_args, **plain_kwargs))
        return return_and_correct_aliasing(func, args, kwargs, out)


class _Move(torch.autograd.Function):
    """To the pretended GPU or back; the gradient goes the other way."""

    @staticmethod
    def forward(context, tensor, to_gpu):
        context.to_gpu = to_gpu
        if not to_gpu:
            noted.append("to the CPU")
        return OnGPU(tensor.detach().clone()) if to_gpu else tensor.values_here.clone()

    @staticmethod
    def backward(context, gradient):
        return _Move.apply(gradient, not context.to_gpu), None


def _device_in(func, args, kwargs):
    """The device that a call asks for, or None, and the call's arguments with the CPU in its place."""
    if func in (torch.Tensor.cpu, torch.Tensor.cuda):
        return torch.device("cpu" if func is torch.Tensor.cpu else GPU), (args[0], "cpu"), {}, torch.Tensor.to
    names = {"cpu", "cuda", "cuda:0"}
    positions = [
        i for i, one in enumerate(args) if isinstance(one, torch.device) or (isinstance(one, str) and one in names)
    ]
    asked = kwargs.get("device", args[positions[0]] if positions else None)
    if asked is None and func is torch.Tensor.to and len(args) > 1 and isinstance(args[1], torch.Tensor):
        return args[1].device, (args[0], "cpu", args[1].dtype, *args[2:]), kwargs, func
    if asked is None:
        return None, args, kwargs, func
    args = tuple("cpu" if i in positions else one for i, one in enumerate(args))
    return torch.device(asked), args, {**kwargs, **({"device": "cpu"} if "device" in kwargs else {})}, func


class _Inside(TorchDispatchMode):
    """What torch's own code makes inside a call on tensors of the GPU, F.one_hot for example, it makes there."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        made = not any(isinstance(one, torch.Tensor) for one in pytree.tree_leaves((args, kwargs)))
        return pytree.tree_map_only(torch.Tensor, OnGPU, out) if made else out


class _Calls(TorchFunctionMode):
    """Answers calls that name a device."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.device:
            return func(*args, **(kwargs or {}))
        asked, args, kwargs, func = _device_in(func, args, kwargs or {})
        there = asked is None and any(isinstance(one, OnGPU) for one in args)
        with _Inside() if there else contextlib.nullcontext():
            out = func(*args, **kwargs)
        if asked is None or not isinstance(out, torch.Tensor) or (asked.type == "cuda") == isinstance(out, OnGPU):
            return out
        gradient = kwargs.get("requires_grad", False)
        return OnGPU(out.detach()).requires_grad_() if gradient else _Move.apply(out, asked.type == "cuda")


class _Generator(torch.Generator):
    """Random numbers of the pretended GPU; they come from the CPU."""

    def __new__(cls, device="cpu"):
        made = super().__new__(cls)
        made.place = torch.device(device)
        return made

    device = property(lambda self: self.place)


def on(values):
    """A tensor copied to the pretended GPU, or a module moved there with all that it holds."""
    if not isinstance(values, torch.nn.Module):
        return OnGPU(values.detach().clone()).requires_grad_(values.requires_grad)
    for module in values.modules():
        for name, tensor in module._parameters.items():
            if tensor is not None:
                module._parameters[name] = torch.nn.Parameter(OnGPU(tensor.detach().clone()), tensor.requires_grad)
        for name, tensor in module._buffers.items():
            module._buffers[name] = None if tensor is None else OnGPU(tensor.detach().clone())
    return values


@contextlib.contextmanager
def gpu():
    """Within this, tensors can be made on cuda:0, sent there and back. A list of what the GPU was waited for."""
    noted.clear()
    with _Calls(), mock.patch("torch.Generator", _Generator):
        yield noted
