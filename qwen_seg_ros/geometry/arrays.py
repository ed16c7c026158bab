"""Names for the arrays that cross a seam: shape, unit and dtype in one word, and the checks for them."""

import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.errors import InvalidInputError

RgbImage = NDArray[np.uint8]  # (H, W, 3), red first
DepthImage = NDArray[np.float32]  # (H, W), metres along the optical axis, NaN = no measurement
MaskImage = NDArray[np.bool_]  # (H, W)
LabelImage = NDArray[np.uint16]  # (H, W), 0 = background, 1..N = object id
Points = NDArray[np.float32]  # (N, 3), metres
Colors = NDArray[np.uint8]  # (N, 3), red first
BoxPx = NDArray[np.float32]  # (4,), x0 y0 x1 y1 in pixels, the right and lower edge exclusive
Matrix4 = NDArray[np.float64]  # (4, 4), rigid transform target_from_source
Vector3 = NDArray[np.float64]  # (3,)


def describe(array: object) -> str:
    """`uint8 (480, 640, 3)`: what was given, for error messages."""
    if isinstance(array, np.ndarray):
        return f"{array.dtype} {array.shape}"
    return f"{type(array).__name__}"


def require(array: object, name: str, shape: tuple[int | None, ...], dtype: type) -> np.ndarray:
    """Return `array` if it is a NumPy array of this dtype and shape (None = any length).

    Raises:
        InvalidInputError: with the wanted and the given shape and dtype.
    """
    fits = (
        isinstance(array, np.ndarray)
        and array.dtype == dtype
        and array.ndim == len(shape)
        and all(want is None or want == have for want, have in zip(shape, array.shape, strict=True))
    )
    if not fits:
        wanted = ", ".join("*" if n is None else str(n) for n in shape)
        raise InvalidInputError(f"{name} must be {np.dtype(dtype)} ({wanted}), got {describe(array)}")
    return array  # type: ignore[return-value]


def valid_depth(depth_m: NDArray) -> MaskImage:
    """Pixels with a measurement."""
    return np.isfinite(depth_m) & (depth_m > 0)


def frozen(array: np.ndarray) -> np.ndarray:
    """A read-only view: results may be shared between threads."""
    view = array.view()
    view.flags.writeable = False
    return view
