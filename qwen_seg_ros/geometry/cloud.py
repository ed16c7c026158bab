"""Unorganised point clouds: voxel grids and clusters. Open3D takes a second to load, so only the first clusters do it."""

from threading import Thread
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.geometry.arrays import Points

if TYPE_CHECKING:
    from open3d.geometry import PointCloud


def voxel_numbers(points: NDArray, voxel_m: float) -> NDArray[np.int64]:
    """For points (N, 3) the number 0..V-1 of the voxel each lies in, (N,); every number occurs.

    The grid is anchored at the frame's origin, so the order of the points does not matter. (Open3D's own down-sampling does
    not say which point went where, which `voxel_mean` needs.)
    """
    if len(points) == 0:
        return np.zeros(0, np.int64)
    cells = np.floor(np.ascontiguousarray(points.T, np.float64) / voxel_m).astype(np.int64)
    x, y, z = cells - cells.min(axis=1, keepdims=True)
    return np.unique((x * (y.max() + 1) + y) * (z.max() + 1) + z, return_inverse=True)[1]


def voxel_mean(values: NDArray, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
    """Mean of values (N, C) per voxel number (N,) -> (V, C)."""
    count = np.bincount(numbers)
    sums = [np.bincount(numbers, weights=channel) for channel in np.asarray(values).T]
    return (np.stack(sums, axis=1) / count[:, None]).astype(np.float32)


def voxel_down(points: NDArray, voxel_m: float) -> Points:
    """One mean point per occupied voxel."""
    return voxel_mean(points, voxel_numbers(points, voxel_m)) if len(points) else np.zeros((0, 3), np.float32)


def as_open3d(points: NDArray) -> "PointCloud":
    import open3d as o3d

    return o3d.geometry.PointCloud(o3d.utility.Vector3dVector(np.asarray(points, np.float64)))


def load_open3d() -> Thread:
    """Begin to load what `clusters` needs, beside other work; the thread ends when it is there. For who cannot wait later."""
    loading = Thread(target=as_open3d, args=(np.zeros((0, 3)),), name="load Open3D")
    loading.start()
    return loading


def clusters(points: NDArray, radius_m: float, min_points: int) -> NDArray[np.int64]:
    """DBSCAN labels (N,): 0.. = cluster, -1 = noise. Voxelise first: the cost grows with the density."""
    return np.asarray(as_open3d(points).cluster_dbscan(radius_m, min_points), np.int64)
