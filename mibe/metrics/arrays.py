"""numpy, imported when first used: it costs a tenth of a second, and listing tasks or parsing outputs needs none of it.

Modules of this package write `from mibe.metrics.arrays import np` where others write `import numpy as np`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    FloatArray: TypeAlias = NDArray[np.float64]
    IntArray: TypeAlias = NDArray[np.int64]
    BoolArray: TypeAlias = NDArray[np.bool_]
else:
    FloatArray = IntArray = BoolArray = Any

    class _Numpy:
        def __getattr__(self, name: str) -> Any:
            import numpy

            value = getattr(numpy, name)
            # The next use finds it here, without coming this way.
            setattr(self, name, value)
            return value

    np = _Numpy()

__all__ = ["BoolArray", "FloatArray", "IntArray", "np"]
