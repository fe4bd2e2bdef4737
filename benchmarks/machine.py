"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from ctypes import CDLL, c_char_p
from importlib.metadata import version
from pathlib import Path

import numpy as np

_LIBRARIES = Path(np.__file__).parents[1] / "numpy.libs"


def describe() -> str:
    """Processor, cores, versions, and which matrix kernel numpy has picked, in two lines."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "vowpalwabbit"))
    return (
        f"{_processor()}, {os.cpu_count()} cores, {platform.system()}\n"
        f"Python {platform.python_version()}, {versions}, BLAS: {_blas()}"
    )


def _processor() -> str:
    """The processor's name with family and model, which tell generations with the same name apart."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return platform.processor() or platform.machine()
    lines = [line.partition(":") for line in path.read_text(encoding="utf-8").splitlines()]
    facts = {key.strip(): value.strip() for key, _, value in lines}
    name = facts.get("model name", platform.machine())
    return f"{name} (family {facts.get('cpu family', '?')}, model {facts.get('model', '?')})"


def _blas() -> str:
    """Kernel and threads of the OpenBLAS that comes with numpy; of another library what numpy was built with."""
    for path in sorted(_LIBRARIES.glob("libscipy_openblas64_*")):
        library = CDLL(str(path))
        library.scipy_openblas_get_corename64_.restype = c_char_p
        kernel = library.scipy_openblas_get_corename64_().decode()
        return f"OpenBLAS, kernel {kernel}, {library.scipy_openblas_get_num_threads64_()} threads"
    built = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"{built['name']} {built['version']}"
