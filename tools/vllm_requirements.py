"""Print what a wheel of vLLM requires, without the packages of torch's family.

torch itself is installed before, in the tested build, and vLLM's requirement would replace it. torchaudio, torchvision
and torchcodec are for sound and pictures.

    python tools/vllm_requirements.py WHEEL
"""

from __future__ import annotations

import sys
import zipfile
from email.parser import BytesParser

from pip._vendor.packaging.requirements import Requirement

LEFT_OUT = frozenset({"torch", "torchaudio", "torchcodec", "torchvision"})


def requirements(wheel: str) -> list[str]:
    """Lines for pip: the requirements of a wheel on this platform, extras aside."""
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        fields = BytesParser().parsebytes(archive.read(metadata))
    wanted = [Requirement(line) for line in fields.get_all("Requires-Dist", [])]
    return [
        str(each)
        for each in wanted
        if each.name not in LEFT_OUT and (each.marker is None or each.marker.evaluate({"extra": ""}))
    ]


if __name__ == "__main__":
    print("\n".join(requirements(sys.argv[1])))
