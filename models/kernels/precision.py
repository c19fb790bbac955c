"""In which precision matrix products of training are worth doing."""

from functools import lru_cache

import torch


@lru_cache(maxsize=8)
def product_type(device: torch.device) -> torch.dtype:
    """``bfloat16`` where the hardware multiplies it natively (about twice as fast), else ``float32``.

    Eight bits of mantissa with the range of single precision: enough for logits and gradients, which Adam normalises;
    weights, sums and everything a device runs stay in single precision.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    native = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return torch.bfloat16 if native is not None and native() else torch.float32
