"""Rigid transforms as (4, 4) matrices named target_from_source, so that frames cancel by eye."""

import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.geometry.arrays import Matrix4, Points, Vector3


def transform(rotation: NDArray, translation: NDArray) -> Matrix4:
    """(3, 3) rotation and (3,) translation -> (4, 4)."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = translation
    return matrix


def inverse(target_from_source: Matrix4) -> Matrix4:
    """source_from_target."""
    rotation = target_from_source[:3, :3].T
    return transform(rotation, -rotation @ target_from_source[:3, 3])


def move_points(target_from_source: Matrix4, points: NDArray) -> Points:
    """Points (N, 3) of the source frame in the target frame, float32."""
    return (np.asarray(points) @ target_from_source[:3, :3].T + target_from_source[:3, 3]).astype(np.float32)


def quaternion_from_rotation(rotation: NDArray) -> NDArray[np.float64]:
    """(3, 3) rotation -> unit quaternion x y z w with w >= 0 (Shepperd's method: stable near half turns)."""
    m = np.asarray(rotation, np.float64).tolist()  # plain numbers: four times as quick to calculate with one by one
    diagonal = [m[0][0], m[1][1], m[2][2]]
    trace = sum(diagonal)
    biggest = max(diagonal)
    if trace >= biggest:
        q = np.array([m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1], 1 + trace])
    else:
        i = diagonal.index(biggest)
        j, k = (i + 1) % 3, (i + 2) % 3
        q = np.empty(4)
        q[i], q[j], q[k] = 1 - trace + 2 * m[i][i], m[j][i] + m[i][j], m[k][i] + m[i][k]
        q[3] = m[k][j] - m[j][k]
    q /= np.linalg.norm(q)
    return q if q[3] >= 0 else -q


def rotation_from_quaternion(quaternion_xyzw: NDArray) -> NDArray[np.float64]:
    """Quaternion x y z w (any length > 0) -> (3, 3) rotation.

    Raises:
        InvalidInputError: for a zero or non-finite quaternion.
    """
    q = np.asarray(quaternion_xyzw, np.float64)
    norm = np.linalg.norm(q)
    if not np.isfinite(norm) or norm < 1e-9:
        raise InvalidInputError(f"a rotation needs a quaternion x y z w of length > 0, got {q.tolist()}")
    x, y, z, w = q / norm
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def rotation_with_z(z_axis: Vector3, x_hint: Vector3) -> NDArray[np.float64]:
    """Right-handed (3, 3) rotation whose z column is `z_axis` and whose x column lies nearest to `x_hint`."""
    z = np.asarray(z_axis, np.float64) / np.linalg.norm(z_axis)
    x = np.asarray(x_hint, np.float64) - z * float(np.dot(z, x_hint))
    if np.linalg.norm(x) < 1e-6:  # the hint is parallel to z: any perpendicular axis will do
        x = np.cross(z, np.eye(3)[int(np.argmin(np.abs(z)))])
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z], axis=1)
