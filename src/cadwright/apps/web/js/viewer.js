// The 3-D view: target and result in one turning picture, overlaid or side by side.
//
// In: packed geometries, USER frame, z up. Out: a picture on the canvas, drawn only when something
// changed. One camera serves both halves, so they turn together. Parallel projection, as on a
// drawing. Not covered: the buttons around it (viewer_controls.js).

import { OrbitControls } from "../vendor/three/OrbitControls.js";
import * as THREE from "../vendor/three/three.module.min.js";

import { Part } from "./part_mesh.js";

const TURN = Math.PI / 24; // one press of an arrow key
const NUDGE = 0.05; // one press with Shift, as a share of the picture
const MARGIN = 1.12;
const MOVE_MS = 220;
const REST_MS = 400; // until a picture that was drawn quickly is drawn sharply
const LOOKS = {
  iso: [1, -1, 0.85],
  top: [0, -1e-4, 1],
  front: [0, -1, 0],
  right: [1, 0, 0],
};
const still = matchMedia("(prefers-reduced-motion: reduce)");

/** Whether the processor draws, so that every pixel counts while something moves. */
function drawnBySoftware() {
  const gl = document.createElement("canvas").getContext("webgl2");
  const names = gl?.getExtension("WEBGL_debug_renderer_info");
  const name = names ? gl.getParameter(names.UNMASKED_RENDERER_WEBGL) : "";
  gl?.getExtension("WEBGL_lose_context")?.loseContext();
  return /swiftshader|llvmpipe|softpipe|software|basic render/i.test(name);
}

export class View {
  /** @throws where the browser has no WebGL. */
  constructor(canvas, { onDraw }) {
    this.canvas = canvas;
    this.onDraw = onDraw;
    const soft = drawnBySoftware();
    this.sharp = soft ? 1.5 : Math.min(devicePixelRatio, 2);
    this.quick = soft ? 0.5 : this.sharp;
    this.renderer = new THREE.WebGLRenderer({ canvas, antialias: !soft, alpha: true });
    this.renderer.autoClear = false;
    this.scene = new THREE.Scene();
    this.target = new Part(1, THREE.DoubleSide);
    this.result = new Part(2, THREE.FrontSide);
    this.scene.add(this.target.group, this.result.group);
    this.layout = "overlaid";
    this.coloured = false;
    this.colours = {};
    this.centre = new THREE.Vector3();
    this.radius = 1;
    this.waiting = [];
    this.moving = false;
    this.#makeCamera();
    new ResizeObserver(() => this.draw()).observe(canvas);
    canvas.addEventListener("keydown", (event) => this.#onKey(event));
  }

  #makeCamera() {
    this.camera = new THREE.OrthographicCamera(-1, 1, 1, -1, -10, 10);
    this.camera.up.set(0, 0, 1);
    // Lights hang on the camera: the shape stays readable from every side.
    const key = new THREE.DirectionalLight("#ffffff", 2.1);
    key.position.set(-0.5, 0.9, 1.2);
    const fill = new THREE.DirectionalLight("#ffffff", 0.5);
    fill.position.set(1, -0.4, 0.6);
    this.ambient = new THREE.AmbientLight("#ffffff", 1);
    this.camera.add(key, key.target, fill, fill.target);
    this.key = key;
    this.scene.add(this.camera, this.ambient);
    this.controls = new OrbitControls(this.camera, this.canvas);
    this.controls.zoomToCursor = true;
    this.controls.minZoom = 0.2;
    this.controls.maxZoom = 60;
    this.controls.addEventListener("change", () => this.draw());
    this.look("iso");
  }

  /** Show a shape as the target or the result; null takes it away. */
  set(which, packed) {
    const first = this.target.empty && this.result.empty;
    this[which].set(packed);
    if (first && packed) this.fit();
    this.draw();
  }

  /** Let all parts fill the picture. */
  fit() {
    const box = new THREE.Box3();
    for (const part of [this.target, this.result]) if (!part.empty) box.union(part.box);
    if (box.isEmpty()) return;
    const sphere = box.getBoundingSphere(new THREE.Sphere());
    this.radius = sphere.radius || 1;
    const away = this.camera.position.clone().sub(this.controls.target).normalize();
    this.centre.copy(sphere.center);
    this.#place(away);
  }

  /** Look from a named side, the parts filling the picture. */
  look(name) {
    if (name === "fit") return this.fit();
    this.fit();
    const end = new THREE.Vector3(...LOOKS[name]).normalize();
    const start = this.camera.position.clone().sub(this.controls.target).normalize();
    if (still.matches || start.lengthSq() === 0 || (this.target.empty && this.result.empty)) {
      return this.#place(end);
    }
    const began = performance.now();
    const step = (now) => {
      const share = Math.min(1, Math.max(0, (now - began) / MOVE_MS));
      const eased = share * share * (3 - 2 * share);
      const between = start.clone().lerp(end, eased);
      this.#place(between.lengthSq() > 1e-6 ? between.normalize() : end);
      if (share < 1) requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  #place(away) {
    this.controls.target.copy(this.centre);
    this.camera.position.copy(this.centre).addScaledVector(away, 4 * this.radius);
    this.camera.near = -20 * this.radius;
    this.camera.far = 20 * this.radius;
    this.camera.zoom = 1;
    this.controls.update();
    this.draw();
  }

  /** Turn by angles about the vertical and the horizontal. */
  turn(around, over) {
    const away = this.camera.position.clone().sub(this.controls.target);
    // three.js counts polar angles from y; this scene's vertical is z.
    const upright = new THREE.Vector3(away.x, away.z, -away.y);
    const ball = new THREE.Spherical().setFromVector3(upright);
    ball.theta += around;
    ball.phi = Math.min(Math.PI - 1e-3, Math.max(1e-3, ball.phi + over));
    upright.setFromSpherical(ball);
    this.camera.position.copy(this.controls.target);
    this.camera.position.add(new THREE.Vector3(upright.x, -upright.z, upright.y));
    this.controls.update();
    this.draw();
  }

  zoom(factor) {
    const { minZoom, maxZoom } = this.controls;
    this.camera.zoom = Math.min(maxZoom, Math.max(minZoom, this.camera.zoom * factor));
    this.draw();
  }

  #nudge(x, y) {
    const side = (2 * this.radius) / this.camera.zoom;
    const move = new THREE.Vector3(-x * side, -y * side, 0).applyQuaternion(this.camera.quaternion);
    this.camera.position.add(move);
    this.controls.target.add(move);
    this.controls.update();
    this.draw();
  }

  #onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const looks = { 0: "fit", 1: "iso", 2: "top", 3: "front", 4: "right" };
    if (event.key in arrows) {
      const [x, y] = arrows[event.key];
      if (event.shiftKey) this.#nudge(NUDGE * x, NUDGE * y);
      else this.turn(TURN * x, -TURN * y);
    } else if (event.key === "+" || event.key === "=") this.zoom(1.2);
    else if (event.key === "-") this.zoom(1 / 1.2);
    else if (event.key in looks) this.look(looks[event.key]);
    else return;
    event.preventDefault();
  }

  /** Colours of the page: {target, glass, result, targetLine, resultLine}. */
  paint(colours) {
    this.colours = colours;
    this.draw();
  }

  /** Draw soon; the promise is kept when the picture is there. */
  draw() {
    if (!this.asked) {
      this.canvas.dataset.picture = "asked";
      this.asked = requestAnimationFrame(() => {
        this.asked = 0;
        this.#render(this.quick);
        if (this.quick !== this.sharp) this.#sharpenSoon();
      });
    }
  }

  #sharpenSoon() {
    clearTimeout(this.resting);
    if (!this.moving) this.resting = setTimeout(() => this.#render(this.sharp), REST_MS);
  }

  /** Whether more pictures are on their way: changing the sharpness costs more than a picture. */
  setMoving(moving) {
    this.moving = moving;
    if (!moving && this.canvas.dataset.picture === "quick") this.#sharpenSoon();
  }

  drawn() {
    this.draw();
    return new Promise((done) => this.waiting.push(done));
  }

  #render(ratio) {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height) return;
    const size = this.renderer.getSize(new THREE.Vector2());
    if (size.x !== width || size.y !== height || this.renderer.getPixelRatio() !== ratio) {
      this.renderer.setPixelRatio(ratio);
      this.renderer.setSize(width, height, false);
    }
    this.renderer.setScissorTest(true);
    this.renderer.setScissor(0, 0, width, height);
    this.renderer.clear();
    const split = this.layout === "split" && !this.target.empty && !this.result.empty;
    const tall = split && height > width;
    for (const pane of split ? ["target", "result"] : ["both"]) {
      const second = pane === "result";
      const w = split && !tall ? width / 2 : width;
      const h = tall ? height / 2 : height;
      const x = second && !tall ? width / 2 : 0;
      const y = tall && !second ? height / 2 : 0;
      this.#dress(pane);
      this.#frame(w / h);
      this.renderer.setViewport(x, y, w, h);
      this.renderer.setScissor(x, y, w, h);
      this.renderer.render(this.scene, this.camera);
    }
    this.onDraw({ split, tall, camera: this.camera });
    this.canvas.dataset.picture = ratio === this.sharp ? "sharp" : "quick";
    const waiting = this.waiting.splice(0);
    for (const done of waiting) done();
  }

  #frame(aspect) {
    const half = this.radius * MARGIN / Math.min(1, aspect);
    Object.assign(this.camera, { left: -half * aspect, right: half * aspect, top: half, bottom: -half });
    this.camera.updateProjectionMatrix();
  }

  #dress(pane) {
    const { target, result, colours, coloured } = this;
    const both = pane === "both";
    const alone = result.empty;
    target.group.visible = pane === "target" || (both && (alone || !coloured));
    result.group.visible = pane !== "target";
    const targetLook = both && !alone ? "glass" : coloured ? "deviation" : "solid";
    target.dress(targetLook, { face: colours.target, glass: colours.glass, line: colours.targetLine });
    result.dress(coloured ? "deviation" : "solid", { face: colours.result, line: colours.resultLine });
    this.ambient.intensity = coloured ? 1.9 : 1.45;
    this.key.intensity = coloured ? 1.2 : 1.75;
  }
}
