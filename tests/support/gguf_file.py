"""A denoiser as a GGUF file, as people find them: its matrices in 8 bits."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np


def save_as_gguf(transformer: Any, file: Path) -> None:
    """Write a transformer's tensors; weights of linear layers whose rows are whole blocks of 32 numbers become Q8_0.

    Converters keep other parameters in float32, such as Z-Image's pad tokens.
    """
    writer = gguf.GGUFWriter(file, "flux")
    for key, tensor in transformer.state_dict().items():
        values = tensor.numpy().astype(np.float32)
        if key.endswith(".weight") and values.ndim == 2 and values.shape[1] % 32 == 0:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(key, gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(key, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
