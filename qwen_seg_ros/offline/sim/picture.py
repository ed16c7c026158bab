"""Pictures of a stage by MuJoCo's OpenGL renderer: colour, and ids with exact depth, from a pinhole camera."""

import numpy as np

from qwen_seg_ros.geometry.arrays import DepthImage, Matrix4, RgbImage
from qwen_seg_ros.geometry.camera import Camera
from qwen_seg_ros.offline.sim.stage import Stage
from qwen_seg_ros.offline.sim.world import mujoco

ID_FLAGS = np.array([mujoco.mjtRndFlag.mjRND_SEGMENT.value, mujoco.mjtRndFlag.mjRND_IDCOLOR.value])
NOT_DRAWN = -1  # segmentation id of what an id picture leaves out


class Painter:
    """Draws `width` x `height` pictures of one stage; not for use by two threads (one OpenGL context)."""

    def __init__(self, stage: Stage, width: int, height: int) -> None:
        self.stage, self.width, self.height = stage, width, height
        self.rect = mujoco.MjrRect(0, 0, width, height)
        self.gl = mujoco.GLContext(width, height)
        self.gl.make_current()
        self.context = mujoco.MjrContext(stage.model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self.context)
        self.context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        self.scene = mujoco.MjvScene(stage.model, maxgeom=1000)
        self.option = mujoco.MjvOption()
        self.option.geomgroup[:] = [1, 1, 1, 0, 0, 0]

    def look(self, camera: Camera, base_from_camera: Matrix4) -> None:
        """All pictures up to the next look are taken from here."""
        model, data, view = self.stage.model, self.stage.data, mujoco.MjvCamera()
        self.gl.make_current()
        opengl = base_from_camera[:3, :3] @ np.diag([1.0, -1.0, -1.0])  # x right, y up, looking along -z
        mujoco.mju_mat2Quat(model.cam_quat[0], opengl.ravel())
        model.cam_pos[0] = base_from_camera[:3, 3]
        model.cam_fovy[0] = np.rad2deg(2 * np.arctan(camera.height / 2 / camera.fy))
        mujoco.mj_kinematics(model, data)
        mujoco.mj_camlight(model, data)
        for mesh in self.stage.stretched:
            mujoco.mjr_uploadMesh(model, self.context, mesh)
        self.stage.stretched.clear()
        view.type, view.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, 0
        mujoco.mjv_updateScene(model, data, self.option, None, view, mujoco.mjtCatBit.mjCAT_ALL, self.scene)
        self._aim(camera)

    @property
    def eye(self) -> mujoco.MjvGLCamera:
        """The camera of the last look: MuJoCo keeps one for each eye of a viewer and draws from between them."""
        return mujoco.mjv_averageCamera(self.scene.camera[0], self.scene.camera[1])

    def colour(self) -> RgbImage:
        return self._draw(0, None)[::-1].copy()

    def ids_and_depth(self, shown: list[int]) -> tuple[np.ndarray, DepthImage]:
        """Numbers 1.. (H, W) uint8 in the order of `shown`, 0 = something else; metres (H, W) along the axis."""
        buffer = np.empty((self.height, self.width), np.float32)
        code = self._draw(1, buffer)[::-1]
        return self._numbers(shown)[_as_number(code)], self._metres(buffer[::-1])

    def alone(self, index: int) -> np.ndarray:
        """bool (H, W): where an object would be seen if nothing else were there."""
        geoms, own = self.scene.geoms[: self.scene.ngeom], set(self.stage.geoms[index].tolist())
        others = [g for g in geoms if not (g.objtype == mujoco.mjtObj.mjOBJ_GEOM and g.objid in own)]
        before = [g.segid for g in others]
        for geom in others:
            geom.segid = NOT_DRAWN
        code = self._draw(1, None)[::-1]
        for geom, segid in zip(others, before, strict=True):
            geom.segid = segid
        return _as_number(code) > 0

    def _aim(self, camera: Camera) -> None:
        """The frustum of the intrinsics, with centres of pixels at whole numbers."""
        for eye in self.scene.camera:
            near = eye.frustum_near
            left, right = (-0.5 - camera.cx) / camera.fx * near, (self.width - 0.5 - camera.cx) / camera.fx * near
            eye.frustum_center, eye.frustum_width = (left + right) / 2, (right - left) / 2
            eye.frustum_top = (camera.cy + 0.5) / camera.fy * near
            eye.frustum_bottom = (camera.cy + 0.5 - self.height) / camera.fy * near

    def _draw(self, flag: int, distances: np.ndarray | None) -> np.ndarray:
        """(H, W, 3) uint8, lowest row first; flag 1: ids as colours."""
        colours = np.empty((self.height, self.width, 3), np.uint8)
        self.gl.make_current()
        self.scene.flags[ID_FLAGS] = flag
        mujoco.mjr_render(self.rect, self.scene, self.context)
        mujoco.mjr_readPixels(colours, distances, self.rect, self.context)
        return colours

    def _numbers(self, shown: list[int]) -> np.ndarray:
        """Number of an object for each id that MuJoCo writes."""
        owner = np.zeros(self.stage.model.ngeom, np.uint8)
        for number, index in enumerate(shown, 1):
            owner[self.stage.geoms[index]] = number
        table = np.zeros(self.scene.ngeom + 1, np.uint8)
        for geom in self.scene.geoms[: self.scene.ngeom]:
            if geom.segid != NOT_DRAWN and geom.objtype == mujoco.mjtObj.mjOBJ_GEOM:
                table[geom.segid + 1] = owner[geom.objid]
        return table

    def _metres(self, buffer: np.ndarray) -> DepthImage:
        """MuJoCo's reversed z-buffer (1 = near, 0 = far) -> metres along the axis."""
        model = self.stage.model
        near, far = (v * model.stat.extent for v in (model.vis.map.znear, model.vis.map.zfar))
        return (near * far / (near + buffer.astype(np.float64) * (far - near))).astype(np.float32)


def _as_number(code: np.ndarray) -> np.ndarray:
    """MuJoCo writes the number of a drawn thing in red, green and blue."""
    return code.astype(np.int32) @ np.array([1, 256, 65536], np.int32)
