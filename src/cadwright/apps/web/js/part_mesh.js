// A packed geometry -> what three.js draws: a surface or a cloud, and its sharp edges.
//
// In: arrays in the USER frame and the colours of the page. Out: one Part for the target and one
// for the result, whose look can be changed without sending the geometry again.

import * as THREE from "../vendor/three/three.module.min.js";

import { ramp } from "./color_scale.js";

const GLASS = 0.34; // opacity of the target where it lies over the result
const DOT = 2.5; // size of a cloud's points, CSS pixels

const ramps = new Map();

/** The colours of a scale as a texture, one for each kind. */
function rampTexture(signed) {
  if (!ramps.has(signed)) {
    const texture = new THREE.DataTexture(ramp(signed), 256, 1);
    texture.colorSpace = THREE.SRGBColorSpace;
    texture.magFilter = THREE.LinearFilter;
    texture.needsUpdate = true;
    ramps.set(signed, texture);
  }
  return ramps.get(signed);
}

/** The colour of each point of a cloud, which takes none from a texture. */
function pointColours(places, signed) {
  const bytes = ramp(signed);
  const colours = new Float32Array((3 * places.length) / 2);
  const colour = new THREE.Color();
  for (let i = 0; i < places.length / 2; i++) {
    const at = 4 * Math.round(255 * places[2 * i]);
    colour.setRGB(bytes[at] / 255, bytes[at + 1] / 255, bytes[at + 2] / 255, THREE.SRGBColorSpace);
    colour.toArray(colours, 3 * i);
  }
  return new THREE.BufferAttribute(colours, 3);
}

/** Target or result. */
export class Part {
  /**
   * @param order where edges coincide, those of the higher number are seen
   * @param side of the faces that is drawn: both, where the surface may be open
   */
  constructor(order, side) {
    this.order = order;
    this.group = new THREE.Group();
    this.faces = new THREE.MeshLambertMaterial({ side, polygonOffset: true, forceSinglePass: true });
    this.lines = new THREE.LineBasicMaterial({ transparent: true });
    this.dots = new THREE.PointsMaterial({ sizeAttenuation: false });
    this.geometry = null;
    this.deviation = null;
    this.signed = true;
  }

  /** Take a new shape; null empties it. */
  set(packed) {
    for (const child of this.group.children) child.geometry.dispose();
    this.group.clear();
    this.geometry = null;
    this.deviation = null;
    if (packed) this.#fill(packed.arrays);
  }

  #fill({ positions, normals, indices, edges, deviation }) {
    const geometry = new THREE.BufferGeometry();
    geometry.setAttribute("position", new THREE.BufferAttribute(positions, 3));
    if (normals) geometry.setAttribute("normal", new THREE.BufferAttribute(normals, 3));
    this.geometry = geometry;
    if (indices) {
      geometry.setIndex(new THREE.BufferAttribute(indices, 1));
      if (!normals) geometry.computeVertexNormals();
      this.group.add(new THREE.Mesh(geometry, this.faces));
    } else {
      this.group.add(new THREE.Points(geometry, this.dots));
    }
    if (edges?.length) {
      const outline = new THREE.BufferGeometry();
      outline.setAttribute("position", new THREE.BufferAttribute(edges, 3));
      const drawn = new THREE.LineSegments(outline, this.lines);
      drawn.renderOrder = this.order;
      this.group.add(drawn);
    }
    this.deviation = deviation || null;
  }

  get empty() {
    return this.geometry === null;
  }

  /** Corners of the box around it, or null. */
  get box() {
    if (this.empty) return null;
    this.geometry.computeBoundingBox();
    return this.geometry.boundingBox;
  }

  /** The deviation at each vertex as a place on the scale, -range to range (or 0 to range). */
  scale(values, range, signed) {
    this.deviation = values;
    this.signed = signed;
    if (this.empty || !values) return;
    const places = new Float32Array(2 * values.length);
    for (let i = 0; i < values.length; i++) {
      const place = signed ? 0.5 + values[i] / (2 * range) : values[i] / range;
      places[2 * i] = Math.min(0.998, Math.max(0.002, place));
      places[2 * i + 1] = 0.5;
    }
    this.geometry.setAttribute("uv", new THREE.BufferAttribute(places, 2));
    if (!this.geometry.index) this.geometry.setAttribute("color", pointColours(places, signed));
  }

  /**
   * How it looks from now on.
   * @param {"solid" | "glass" | "deviation"} look
   * @param {{face: string, glass?: string, line: string}} colours
   */
  dress(look, { face, glass: tint, line }) {
    const coloured = look === "deviation" && this.deviation !== null;
    const glass = look === "glass";
    const { faces, lines, dots } = this;
    const map = coloured ? rampTexture(this.signed) : null;
    if (Boolean(faces.map) !== Boolean(map) || faces.transparent !== glass) faces.needsUpdate = true;
    faces.map = map;
    faces.color.set(coloured ? "#ffffff" : glass ? tint : face);
    faces.transparent = glass;
    faces.opacity = glass ? GLASS : 1;
    faces.depthWrite = !glass;
    // Where both surfaces lie in the same place, the result is the one to be seen.
    faces.polygonOffsetFactor = glass ? 2.5 : 1;
    faces.polygonOffsetUnits = glass ? 8 : 1;
    lines.color.set(line);
    lines.opacity = glass ? 0.4 : coloured ? 0.5 : 0.8;
    dots.size = DOT * Math.min(devicePixelRatio, 2);
    if (dots.vertexColors !== coloured) dots.needsUpdate = true;
    dots.vertexColors = coloured;
    dots.color.set(coloured ? "#ffffff" : glass ? tint : face);
  }
}
