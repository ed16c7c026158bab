'use strict';
// Scenes of points in 3-D on plain canvases: no graphics driver, no library. z is up; angles in radians, lengths in metres.
const TINTS = [[0, 200, 120], [255, 140, 0], [70, 150, 255], [235, 75, 140], [250, 210, 40], [160, 110, 255], [60, 210, 220],
  [255, 100, 80]];
const GRASP = 'rgb(80,255,80)', GROUND = [24, 27, 33];
const MAX_PITCH = 1.55, ZOOM = [0.3, 8];
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const bytes = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
const tint = id => TINTS[(id - 1) % TINTS.length];

class Scene {
  constructor(figure) {
    const data = JSON.parse(figure.querySelector('script').textContent);
    this.points = new Int16Array(bytes(data.points).buffer);
    this.colors = bytes(data.colors);
    this.ids = bytes(data.ids);
    Object.assign(this, { unit: data.unit, grains: data.grains, lines: data.lines, reach: data.reach, eye: data.eye });
    this.canvas = figure.querySelector('canvas');
    this.pen = this.canvas.getContext('2d');
    this.fingers = new Map();
    this.tinted = figure.querySelector('input');
    this.tinted.onchange = () => this.draw();
    figure.querySelector('button').onclick = () => this.reset();
    this.listen();
    new ResizeObserver(() => this.resize()).observe(this.canvas);
    this.reset();
  }

  reset() {  // a little beside the camera, so that depth is seen; #view=yaw,pitch,zoom in degrees in the address sets all scenes
    const [x, y, z] = this.eye, asked = /^#view=(-?[\d.]+),(-?[\d.]+)(?:,([\d.]+))?$/.exec(location.hash);
    const [yaw, pitch] = asked ? [asked[1], asked[2]].map(v => Number(v) * Math.PI / 180)
      : [Math.atan2(y, x) + 0.45, Math.atan2(z, Math.hypot(x, y))];
    this.turn(yaw, pitch, asked && asked[3] ? Number(asked[3]) : 1);
  }

  turn(yaw, pitch, zoom) {
    this.yaw = yaw;
    this.pitch = clamp(pitch, -MAX_PITCH, MAX_PITCH);
    this.zoom = clamp(zoom, ...ZOOM);
    if (!this.waiting) this.waiting = requestAnimationFrame(() => { this.waiting = 0; this.draw(); });
  }

  listen() {
    const canvas = this.canvas, fingers = this.fingers;
    const apart = () => { const [a, b] = fingers.values(); return Math.hypot(a[0] - b[0], a[1] - b[1]); };
    canvas.onpointerdown = event => { canvas.setPointerCapture(event.pointerId); fingers.set(event.pointerId, [event.x, event.y]); };
    canvas.onpointerup = canvas.onpointercancel = event => fingers.delete(event.pointerId);
    canvas.onpointermove = event => {
      if (!fingers.has(event.pointerId)) return;
      const [x, y] = fingers.get(event.pointerId), before = fingers.size === 2 ? apart() : 0;
      fingers.set(event.pointerId, [event.x, event.y]);
      if (before) this.turn(this.yaw, this.pitch, this.zoom * apart() / before);
      else this.turn(this.yaw - (event.x - x) / 120, this.pitch + (event.y - y) / 120, this.zoom); };
    canvas.addEventListener('wheel', event => {  // only after a click: the page must scroll past it
      if (document.activeElement !== canvas) return;
      event.preventDefault();
      this.turn(this.yaw, this.pitch, this.zoom * Math.exp(-event.deltaY / 500)); }, { passive: false });
    const keys = { ArrowLeft: [0.1, 0, 1], ArrowRight: [-0.1, 0, 1], ArrowUp: [0, 0.1, 1], ArrowDown: [0, -0.1, 1],
      '+': [0, 0, 1.15], '-': [0, 0, 1 / 1.15] };
    canvas.onkeydown = event => {
      const step = keys[event.key];
      if (!step) return;
      event.preventDefault();
      this.turn(this.yaw + step[0], this.pitch + step[1], this.zoom * step[2]); };
  }

  resize() {
    const scale = Math.min(devicePixelRatio || 1, 2);
    this.canvas.width = Math.max(1, Math.round(this.canvas.clientWidth * scale));
    this.canvas.height = Math.max(1, Math.round(this.canvas.clientHeight * scale));
    this.draw();
  }

  axes() {  // rows: right, up, towards the viewer
    const [c, s] = [Math.cos(this.yaw), Math.sin(this.yaw)], [cp, sp] = [Math.cos(this.pitch), Math.sin(this.pitch)];
    return [[-s, c, 0], [-c * sp, -s * sp, cp], [c * cp, s * cp, sp]];
  }

  place(x, y, z) {  // column, row, distance
    const [right, up, back] = this.rows, along = axis => axis[0] * x + axis[1] * y + axis[2] * z;
    const distance = this.distance - along(back), scale = this.focal / Math.max(distance, 1e-3);
    return [this.canvas.width / 2 + scale * along(right), this.canvas.height / 2 - scale * along(up), distance];
  }

  draw() {
    const { width, height } = this.canvas;
    this.rows = this.axes();
    this.distance = 3.2 * this.reach;  // zoom is of the lens: nothing comes too near
    this.focal = 1.35 * height * this.zoom;
    const image = this.pen.createImageData(width, height), drawn = this.paint(image.data, width, height);
    this.pen.putImageData(image, 0, 0);
    this.stroke();
    this.canvas.dataset.points = drawn;
  }

  paint(pixels, width, height) {  // near points cover far ones; returns how many points are inside the picture
    const near = new Float32Array(width * height).fill(Infinity), mark = new Uint8ClampedArray(3);
    for (let i = 0; i < pixels.length; i += 4) { pixels.set(GROUND, i); pixels[i + 3] = 255; }
    const sizes = this.grains.map(grain => clamp(Math.round(1.2 * grain * this.focal / this.distance), 1, 24));
    let inside = 0;
    for (let i = 0, k = 0; k < this.ids.length; k++, i += 3) {
      const [x, y, z] = this.place(this.points[i] * this.unit, this.points[i + 1] * this.unit, this.points[i + 2] * this.unit);
      if (z < 1e-3) continue;
      this.shade(mark, k);
      const size = sizes[this.ids[k] ? 1 : 0];
      const left = Math.round(x - size / 2), top = Math.round(y - size / 2);
      if (x >= 0 && y >= 0 && x < width && y < height) inside++;
      const last = Math.min(left + size, width), bottom = Math.min(top + size, height);
      for (let row = Math.max(top, 0); row < bottom; row++)
        for (let column = Math.max(left, 0), at = row * width + column; column < last; column++, at++)
          if (z < near[at]) { near[at] = z; pixels.set(mark, 4 * at); } }
    return inside;
  }

  shade(mark, k) {  // surroundings are dimmed
    const id = this.ids[k], own = this.tinted.checked && id ? tint(id) : null;
    for (let c = 0; c < 3; c++) {
      const color = this.colors[3 * k + c];
      mark[c] = own ? 0.35 * color + 0.65 * own[c] : id ? color : 0.55 * color + 14; }
  }

  stroke() {
    const pen = this.pen, scale = this.canvas.width / 560;
    for (const [id, grasp, ends] of this.lines) {
      pen.strokeStyle = grasp ? GRASP : `rgb(${tint(id)})`;
      pen.lineWidth = (grasp ? 3 : 1.5) * scale;
      pen.lineCap = 'round';
      pen.beginPath();
      for (let i = 0; i < ends.length; i += 2) {
        const [from, to] = [this.place(...ends[i]), this.place(...ends[i + 1])];
        if (from[2] < 1e-3 || to[2] < 1e-3) continue;
        pen.moveTo(from[0], from[1]); pen.lineTo(to[0], to[1]); }
      pen.stroke(); }
  }
}

const scenes = [...document.querySelectorAll('.scene')].map(figure => new Scene(figure));
addEventListener('hashchange', () => { if (location.hash.startsWith('#view=')) scenes.forEach(scene => scene.reset()); });
