"""Colour pictures of a stage by MuJoCo's Filament renderer: physically based light and materials, on Vulkan.

Filament takes looks from the model when a scene of its own is built, so one is built anew for every arrangement; meshes and
textures are uploaded once. Its post-processing is left off: that dithers with noise which is another in every picture. What is
read instead is linear light in 8 bits, once weak and once strong, and joined here. Ids and depth stay with picture.Painter,
whose eye is used.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NamedTuple

import cv2
import numpy as np

from qwen_seg_ros.errors import MissingExtraError
from qwen_seg_ros.geometry.arrays import RgbImage
from qwen_seg_ros.offline.sim.stage import RGB_ROLE, Stage
from qwen_seg_ros.offline.sim.world import SKY, mujoco

SAMPLES = 2  # along each side of a pixel
EXPOSURES = (0.5, 4.0)  # strengths of light of the two pictures that are joined
WHITE_LUX = np.pi * 1.2 * 2**15  # that a white surface needs to be drawn as 1, seen by Filament's camera (f/16, 1/125 s, ISO 100)
WHITE_SKY = 27_000.0  # the same for light from everywhere, measured: Filament's environment is no even one
FRONT_SHARE = 0.7  # of the light from where the camera is: here it comes from everywhere
# The classic renderer adds light as a screen shows it, Filament as it is: to the power of 2.2. Less keeps shadows coloured.
GAMMA = 1.8
SHOULDER = 0.8  # brighter linear light is compressed
DULL = 0.95  # roughness lost at full shininess
APT = "apt install mesa-vulkan-drivers libvulkan1"


class Built(NamedTuple):
    """What Filament draws. A tuple lets go of its last item first, as it must be here."""

    scene: Any
    lights: Any
    things: Any


class FilamentPainter:
    """Draws `width` x `height` colour pictures of one stage; make it after the stage's classic Painter.

    Raises:
        MissingExtraError: without Filament or a Vulkan driver, saying what to install.
    """

    def __init__(self, stage: Stage, width: int, height: int) -> None:
        self.stage, self.mjrf = stage, load_filament()
        self.context = self.mjrf.Context(self.mjrf.ContextConfig(graphics_api=self.mjrf.GraphicsApi.GRAPHICS_API_VULKAN))
        self.solids = [int(stage.geoms[index][0]) for index, item in enumerate(stage.objects) if item.solid]
        self.resources = self._upload()
        self.buffer = np.empty((SAMPLES * height, SAMPLES * width, 3), np.uint8)
        self.target = self._target()
        self.read = self.mjrf.ReadRequest(target=self.target)
        self.read.set_buffer(self.buffer)
        self.built: list[Built] = []

    def rebuild(self) -> None:
        """Take over what the stage shows now; without it, pictures show what it showed the last time."""
        self.built = []
        mujoco.mj_kinematics(self.stage.model, self.stage.data)
        mujoco.mj_camlight(self.stage.model, self.stage.data)
        with self._materials():
            self.built = [self._build(exposure) for exposure in EXPOSURES]

    def colour(self, eye: mujoco.MjvGLCamera) -> RgbImage:
        """What the eye of a classic Painter sees now."""
        with self._materials():
            weak, strong = (self._draw(built, eye) for built in self.built)
        light = np.where(strong < 255, strong / np.float32(EXPOSURES[1]), weak / np.float32(EXPOSURES[0])) / 255
        height, width = light.shape[0] // SAMPLES, light.shape[1] // SAMPLES
        return displayed(cv2.resize(compressed(light), (width, height), interpolation=cv2.INTER_AREA))

    @contextmanager
    def _materials(self) -> Iterator[None]:
        """Materials as Filament takes them; it reads them when it builds and when it draws. Metal is real and has no picture of
        steel. What has a grain cannot be physically based, which -1 says."""
        model, painted = self.stage.model, self.stage.model.mat_texid.copy()
        textures = painted[:, RGB_ROLE]
        metal = textures == model.texture("metal").id
        grained = (textures >= 0) & (model.tex_type[textures] == mujoco.mjtTexture.mjTEXTURE_CUBE) & ~metal
        model.mat_texid[metal, RGB_ROLE] = -1
        model.mat_metallic[:] = np.where(grained, -1, metal)
        model.mat_roughness[:] = np.where(grained, -1, 1 - DULL * model.mat_shininess)
        try:
            yield
        finally:
            model.mat_texid[:] = painted  # the classic renderer draws with these

    def _upload(self) -> Any:
        """Meshes and textures of the model, made-up shapes in the size of a unit cube."""
        model = self.stage.model
        for index, item in enumerate(self.stage.objects):
            if item.solid:
                self.stage.stretch(index, np.ones(3))
        model.tex_colorspace[model.tex_nchannel >= 3] = mujoco.mjtColorSpace.mjCOLORSPACE_SRGB
        return self.mjrf.ModelResources(self.context, model)

    def _target(self) -> Any:
        height, width, _ = self.buffer.shape
        colours = self.mjrf.PixelFormat.PIXEL_FORMAT_RGB8
        target = self.context.create_render_target(self.mjrf.RenderTargetConfig(width=width, height=height, color_format=colours))
        target.resize(width, height)
        return target

    def _build(self, exposure: float) -> Built:
        model = self.stage.model
        sky, lamp = light_levels(model)
        scene = self.context.create_scene(self.mjrf.SceneParams())
        scene.configure_from_model(model)
        model.numeric(SKY).data[:] = exposure * sky * WHITE_SKY
        lights = self.mjrf.ModelLights(scene, self.resources)
        lights.update(self.stage.data)  # sets places, and brightness to that of a lamp without a unit
        for number, rgb in enumerate(model.light_diffuse):
            level, away_m2 = max(float(rgb.max()), 1e-6), float(np.sum(model.light_pos[number] ** 2))
            lights.get_light(number).set_color(rgb / level)
            lights.get_light(number).set_intensity(exposure * lamp * level * WHITE_LUX * away_m2)
        things = self.mjrf.ModelRenderables(scene, self.resources)
        for geom in self.solids:
            size_m = 2 * model.geom_size[geom]
            things.get_renderable(mujoco.mjtObj.mjOBJ_GEOM, geom).set_size(size_m.astype(np.float32))
        things.update(self.stage.data)
        return Built(scene, lights, things)

    def _draw(self, built: Built, eye: mujoco.MjvGLCamera) -> np.ndarray:
        """(SAMPLES H, SAMPLES W, 3) uint8, linear."""
        height, width, _ = self.buffer.shape
        request = self.mjrf.RenderRequest(
            scene=built.scene, camera=self._camera(eye), viewport=self.mjrf.Rect(0, 0, width, height), target=self.target,
            post_processing=False, haze=False,
        )  # fmt: skip
        self.context.wait_for_frame(self.context.render([request], [self.read]))
        return self.buffer.copy()

    def _camera(self, eye: mujoco.MjvGLCamera) -> Any:
        fields = ("pos", "forward", "up", "frustum_center", "frustum_width", "frustum_bottom", "frustum_top", "frustum_near",
                  "frustum_far")  # fmt: skip
        return self.mjrf.Camera(**{name: getattr(eye, name) for name in fields})


def light_levels(model: mujoco.MjModel) -> tuple[float, float]:
    """Linear light from everywhere, and of a lamp with the colour (1, 1, 1); 1 makes white of white. Both what is in shadow and
    what all lamps reach are as bright on a screen as the numbers of the model make them with the classic renderer."""
    sky = float(np.mean(model.vis.headlight.ambient) + FRONT_SHARE * np.mean(model.vis.headlight.diffuse))
    lamps = max(float(model.light_diffuse.max(axis=1).sum()), 1e-6)
    return sky**GAMMA, ((sky + lamps) ** GAMMA - sky**GAMMA) / lamps


def compressed(light: np.ndarray) -> np.ndarray:
    """Linear rgb (..., 3) of any size -> 0..1 of the same hue: as it is up to SHOULDER, then ever slower."""
    top = light.max(axis=-1, keepdims=True)
    room = 1 - SHOULDER
    tamed = SHOULDER + room * (1 - np.exp(-(top - SHOULDER) / room))
    return np.where(top > SHOULDER, light * (tamed / np.maximum(top, SHOULDER)), light).astype(np.float32)


def displayed(light: np.ndarray) -> RgbImage:
    """Linear rgb 0..1 -> sRGB as IEC 61966-2-1 has it, uint8."""
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055)
    return np.rint(curve * 255).astype(np.uint8)


def load_filament() -> ModuleType:
    """MuJoCo's module of Filament. Without a driver the renderer would end the process, so that is looked at first.

    Raises:
        MissingExtraError: saying what to install.
    """
    try:
        from mujoco import mjrf
        from mujoco.studio import window  # noqa: F401  where Filament finds its material files
    except (ImportError, OSError) as problem:
        message = f"the Filament renderer needs MuJoCo 4 with its studio: pip install 'qwen-seg-ros[sim]' ({problem})"
        raise MissingExtraError(message) from problem
    if not _vulkan_starts():
        raise MissingExtraError(f"the Filament renderer needs Vulkan with a driver: as root, {APT}; or use --renderer classic")
    return mjrf


def _vulkan_starts() -> bool:
    """Whether the loader is there and finds a driver."""
    try:
        loader = ctypes.CDLL("libvulkan.so.1")
    except OSError:
        return False
    wish, instance = (ctypes.c_uint64 * 8)(1), ctypes.c_void_p()  # VkInstanceCreateInfo: its type is 1, nothing is asked for
    if loader.vkCreateInstance(wish, None, ctypes.byref(instance)) != 0:
        return False
    loader.vkDestroyInstance(instance, None)
    return True
