"""The compiled world as a stage: objects are shown, moved, stretched and painted, the room is papered, lights are hung."""

import numpy as np

from qwen_seg_ros.offline.sim.catalogue import CatalogueEntry
from qwen_seg_ros.offline.sim.looks import Finish
from qwen_seg_ros.offline.sim.procedural import SOLIDS
from qwen_seg_ros.offline.sim.shapes import Surface
from qwen_seg_ros.offline.sim.world import GRAINS, HIDDEN, REPEATS, SHOWN, WIDE_DEG, compile_world, mujoco, paint_of

UPRIGHT, Y_UP = np.array([1.0, 0, 0, 0]), np.array([np.sqrt(0.5), np.sqrt(0.5), 0, 0])  # body quaternions, w x y z
TINTED, BLEACHED = ("cloth", "metal"), 225  # gray textures, and the mean they get
RGB_ROLE = mujoco.mjtTextureRole.mjTEXROLE_RGB.value


class Stage:
    """Objects are known by their place in `objects`. `stretched`: meshes that changed since the last drawing."""

    def __init__(self, objects: tuple[CatalogueEntry, ...], width: int, height: int) -> None:
        self.objects = objects
        self.model = compile_world(objects, width, height)
        self.data = mujoco.MjData(self.model)
        roots = self.model.body_rootid[self.model.geom_bodyid]
        self.geoms = [np.flatnonzero(roots == self.model.body(f"object{i}").id) for i in range(len(objects))]
        self.walls = {name: [g for g in range(self.model.ngeom) if self.model.geom(g).name.startswith(name)] for name in REPEATS}
        self.stretched: set[int] = set()
        for name in TINTED:
            self._bleach(self.model.texture(name))
        self._unit = {i: self._straighten(i) for i, item in enumerate(objects) if item.solid}
        self._surfaces: dict[int, tuple[Surface, np.ndarray]] = {}

    def clear(self) -> None:
        """Nothing stands on the table."""
        self.model.geom_group[self.model.geom_group == SHOWN] = HIDDEN

    def show(self, index: int) -> None:
        self.model.geom_group[self.geoms[index]] = SHOWN

    def vertices(self, index: int) -> np.ndarray:
        """(V, 3) of all meshes of an object in the base frame, with its body in the origin as it usually stands."""
        mocap = self.model.body(f"object{index}").mocapid[0]
        self.data.mocap_pos[mocap], self.data.mocap_quat[mocap] = 0, self.body_quat(index)
        mujoco.mj_kinematics(self.model, self.data)
        return np.concatenate([self._geom_vertices(geom) for geom in self.geoms[index]])

    def body_quat(self, index: int) -> np.ndarray:
        """That makes it stand as it usually does, w x y z."""
        return Y_UP if self.objects[index].y_up else UPRIGHT

    def surface(self, index: int) -> Surface:
        """As it usually stands, in the size it has now."""
        return self._known(index)[0]

    def put(self, index: int, turn: np.ndarray, place_m: np.ndarray) -> None:
        """Show an object with its surface turned (3, 3) around the surface's origin and that origin at place_m (3,)."""
        mocap, upright = self.model.body(f"object{index}").mocapid[0], np.empty(9)
        mujoco.mju_quat2Mat(upright, self.body_quat(index))
        mujoco.mju_mat2Quat(self.data.mocap_quat[mocap], (turn @ upright.reshape(3, 3)).ravel())
        self.data.mocap_pos[mocap] = place_m - turn @ self._known(index)[1]
        self.show(index)

    def stretch(self, index: int, size_m: np.ndarray) -> None:
        """Give a made-up shape its size (3,)."""
        vertices, normals = self._unit[index]
        mesh = self.model.geom_dataid[self.geoms[index][0]]
        slanted = normals / size_m
        self._mesh_rows("vert", mesh)[:] = vertices * size_m
        self._mesh_rows("normal", mesh)[:] = slanted / np.maximum(np.linalg.norm(slanted, axis=1, keepdims=True), 1e-12)
        self.model.geom_size[self.geoms[index][0]] = size_m / 2  # the grain of a texture is laid over this box
        self.stretched.add(int(mesh))
        self._surfaces.pop(index, None)

    def stretch_randomly(self, index: int, rng: np.random.Generator) -> None:
        self.stretch(index, SOLIDS[self.objects[index].solid].draw_size(rng))

    def paint(self, index: int, rgb: tuple[float, ...] | np.ndarray, finish: Finish) -> None:
        model, material = self.model, self.model.material(paint_of(index)).id
        model.mat_rgba[material] = [*np.clip(rgb, 0, 1), finish.alpha]
        model.mat_specular[material], model.mat_shininess[material] = finish.specular, finish.shininess
        model.mat_texid[material, RGB_ROLE] = model.texture(finish.grain).id if finish.grain in GRAINS else -1

    def paper(self, surface: str, number: int, tint: np.ndarray) -> None:
        """surface: "table", "floor" or "wall"; number: of its material; tint: rgb (3,) that the texture is multiplied by."""
        material = self.model.material(f"{surface}{number}").id
        self.model.mat_rgba[material, :3] = np.clip(tint, 0, 1)
        self.model.geom_matid[self.walls[surface]] = material

    def hang_light(
        self, light: int, position_m: np.ndarray, aim_m: np.ndarray, rgb: np.ndarray, shadow: bool, cutoff_deg: float = WIDE_DEG
    ) -> None:
        """A lamp that shines into a cone; in a narrower one, shadows are finer."""
        self.model.light_cutoff[light] = cutoff_deg
        away = aim_m - position_m
        self.model.light_pos[light], self.model.light_dir[light] = position_m, away / np.linalg.norm(away)
        self.model.light_diffuse[light], self.model.light_castshadow[light] = rgb, shadow

    def tint_light(self, light: int, rgb: np.ndarray) -> None:
        """Multiply what the lamp gives by rgb (3,)."""
        self.model.light_diffuse[light] *= rgb

    def size_table(self, half_m: np.ndarray) -> None:
        """Half of its length and width (2,)."""
        self.model.geom_size[self.walls["table"], :2] = half_m

    def fill_light(self, ambient: float, diffuse: float) -> None:
        """From everywhere, and from where the camera is."""
        self.model.vis.headlight.ambient[:], self.model.vis.headlight.diffuse[:] = ambient, diffuse

    def _bleach(self, texture: mujoco._structs._MjModelTextureViews) -> None:
        """Scale a gray texture to near white, so that what is painted with it has the colour of its paint."""
        texture.data[:] = np.clip(texture.data * (BLEACHED / texture.data.mean()), 0, 255).astype(np.uint8)

    def _known(self, index: int) -> tuple[Surface, np.ndarray]:
        """The surface, and where its origin is in the frame of the upright body."""
        if index not in self._surfaces:
            vertices = self.vertices(index)
            low, high = vertices.min(0), vertices.max(0)
            origin = np.array([*(low + high)[:2] / 2, low[2]])
            self._surfaces[index] = Surface(vertices - origin, self._faces(index)), origin
        return self._surfaces[index]

    def _faces(self, index: int) -> np.ndarray:
        model, faces, start = self.model, [], 0
        for mesh in self.model.geom_dataid[self.geoms[index]]:
            faces.append(model.mesh_face[model.mesh_faceadr[mesh] :][: model.mesh_facenum[mesh]] + start)
            start += model.mesh_vertnum[mesh]
        return np.concatenate(faces)

    def _geom_vertices(self, geom: int) -> np.ndarray:
        turn, place = self.data.geom_xmat[geom].reshape(3, 3), self.data.geom_xpos[geom]
        return self._mesh_rows("vert", self.model.geom_dataid[geom]) @ turn.T + place

    def _straighten(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Unit vertices and normals of a made-up shape, and its model in their axes and order: MuJoCo turns meshes to their
        axes of inertia and numbers the normals of corners anew."""
        (geom,), made = self.geoms[index], SOLIDS[self.objects[index].solid].build()
        mesh, normals = self.model.geom_dataid[geom], made.corner_normals().reshape(-1, 3)
        self.model.geom_pos[geom], self.model.geom_quat[geom] = 0, UPRIGHT
        first, count = self.model.mesh_faceadr[mesh], self.model.mesh_facenum[mesh]
        self.model.mesh_facenormal[first : first + count] = np.arange(3 * count).reshape(-1, 3)
        return made.vertices, normals

    def _mesh_rows(self, what: str, mesh: int) -> np.ndarray:
        """The rows of model.mesh_<what> that belong to a mesh; writing to them changes the model."""
        first, count = (getattr(self.model, f"mesh_{what}{field}")[mesh] for field in ("adr", "num"))
        return getattr(self.model, f"mesh_{what}")[first : first + count]
