"""Where a network is trained, and in which precision."""

import os

import torch
from torch import nn


def choose_device(device: str | torch.device, dtype: torch.dtype = torch.float32) -> torch.device:
    """The device meant by `device`; "auto": CUDA, else MPS (which has no float64), else the CPU. Raises ValueError."""
    if device != "auto":
        return device if isinstance(device, torch.device) else _named(device)
    found = torch.accelerator.current_accelerator(check_available=True)
    usable = found is not None and (found.type == "cuda" or (found.type == "mps" and dtype != torch.float64))
    return _own(found) if usable else torch.device("cpu")


def _own(device: torch.device) -> torch.device:
    """Of several GPUs the one that belongs to this process of torchrun."""
    several = device.type == "cuda" and device.index is None and world_size() > 1
    return torch.device("cuda", int(os.environ["LOCAL_RANK"])) if several else device


def _named(name: str) -> torch.device:
    here = choose_device("auto").type
    try:
        chosen = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device: got {name!r}, expected 'auto', 'cpu', 'cuda', 'cuda:1' or 'mps'") from error
    count = torch.cuda.device_count() if here == "cuda" else 1
    if chosen.type not in ("cpu", here) or (chosen.index or 0) >= count:
        raise ValueError(f"device: got {name!r}, expected one of this machine, which has {count} of {here}")
    return _own(chosen)


def place_of(module: nn.Module) -> tuple[torch.device, torch.dtype]:
    """The device and the floating-point type of a module's tensors; without any, the CPU and float32."""
    first = next((t for t in (*module.parameters(), *module.buffers()) if t.is_floating_point()), torch.empty(0))
    return first.device, first.dtype


def choose_precision(precision: str, device: torch.device, dtype: torch.dtype = torch.float32) -> str:
    """ "32-true" or "bf16-mixed"; "auto": bf16-mixed where the GPU computes in it, unless the network is float64."""
    if precision not in ("auto", "32-true", "bf16-mixed"):
        raise ValueError(f"precision: got {precision!r}, expected 'auto', '32-true' or 'bf16-mixed'")
    if precision != "auto":
        return precision
    mixes = device.type == "cuda" and dtype != torch.float64 and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16-mixed" if mixes else "32-true"


def world_size() -> int:
    """How many processes share a run: as many as torchrun has started, else 1."""
    torchrun = torch.distributed.is_available() and torch.distributed.is_torchelastic_launched()
    return int(os.environ["WORLD_SIZE"]) if torchrun else 1
