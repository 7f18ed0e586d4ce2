// Cuts of a case through any surface: oblique planes and straightened vessels. A surface is a strip of pairs of points,
// each with its place on the screen and its position in the volume; between them the graphics card interpolates.

import { SLICE_SHADER, STRIP_VERTICES } from "./shader.js";
import { inverse } from "./vectors.js";

const VOLUME_UNIT = 0, MAPS_UNIT = 1, PALETTE_UNIT = 2, DOUBT_UNIT = 3;
const UNIFORMS = [
  "volume", "maps", "palette", "added", "removed", "relabelled", "greyRange", "blend", "fill", "labels", "showChanges",
  "selected", "doubt", "showDoubt",
];

export const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255);

export class Reformat {
  constructor(canvas, run) {
    this.canvas = canvas;
    this.run = run;
    this.entry = null;
  }

  // Resources are made when the first cut is drawn: most reviews need none.
  #start() {
    const gl = (this.gl = this.canvas.getContext("webgl2", { antialias: false, preserveDrawingBuffer: true }));
    const program = (this.program = gl.createProgram());
    for (const [kind, text] of [[gl.VERTEX_SHADER, STRIP_VERTICES], [gl.FRAGMENT_SHADER, SLICE_SHADER]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
    gl.useProgram(program);
    this.at = Object.fromEntries(UNIFORMS.map((name) => [name, gl.getUniformLocation(program, name)]));
    this.buffer = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffer);
    for (const [place, size, offset] of [[0, 2, 0], [1, 3, 8]]) {
      gl.enableVertexAttribArray(place);
      gl.vertexAttribPointer(place, size, gl.FLOAT, false, 20, offset);
    }
    const palette = new Uint8Array(256 * 4).fill(255);
    for (const s of this.run.structures) palette.set([...s.colour, 255], s.id * 4);
    this.#texture(PALETTE_UNIT, gl.TEXTURE_2D, gl.NEAREST);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, 256, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, palette);
    gl.uniform1i(this.at.volume, VOLUME_UNIT);
    gl.uniform1i(this.at.maps, MAPS_UNIT);
    gl.uniform1i(this.at.palette, PALETTE_UNIT);
    gl.uniform1i(this.at.doubt, DOUBT_UNIT);
    for (const name of ["added", "removed", "relabelled"]) gl.uniform3fv(this.at[name], rgb(this.run.colours[name]));
  }

  #texture(unit, target, filter) {
    const { gl } = this;
    const texture = gl.createTexture();
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(target, texture);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    for (const name of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(target, name, filter);
    for (const name of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T, gl.TEXTURE_WRAP_R]) gl.texParameteri(target, name, gl.CLAMP_TO_EDGE);
    return texture;
  }

  load(entry) {
    if (this.entry === entry) return;
    if (!this.gl) this.#start();
    const { gl } = this;
    for (const texture of [this.volume, this.maps]) gl.deleteTexture(texture);
    this.volume = this.#texture(VOLUME_UNIT, gl.TEXTURE_3D, gl.LINEAR);
    gl.texImage3D(gl.TEXTURE_3D, 0, gl.R8, ...entry.shape, 0, gl.RED, gl.UNSIGNED_BYTE, new Uint8Array(entry.image.img.buffer, entry.image.img.byteOffset, entry.image.img.length));
    this.maps = this.#texture(MAPS_UNIT, gl.TEXTURE_3D, gl.NEAREST);
    gl.texImage3D(gl.TEXTURE_3D, 0, gl.RG8UI, ...entry.shape, 0, gl.RG_INTEGER, gl.UNSIGNED_BYTE, entry.maps);
    this.toVoxel = inverse(entry.affine);
    this.entry = entry;
  }

  #loadDoubt() {
    if (this.doubtOf === this.entry || !this.entry.doubt) return;
    const { gl } = this;
    gl.deleteTexture(this.doubt);
    this.doubt = this.#texture(DOUBT_UNIT, gl.TEXTURE_3D, gl.NEAREST);
    gl.texImage3D(gl.TEXTURE_3D, 0, gl.R8, ...this.entry.shape, 0, gl.RED, gl.UNSIGNED_BYTE, this.entry.doubt);
    this.doubtOf = this.entry;
  }

  // The label maps of a case were changed: they are loaded again when it is drawn.
  forget(entry) {
    if (this.entry === entry) this.entry = null;
  }

  // Clear the canvas and take the display settings of the next cuts.
  begin(display) {
    const { gl, canvas } = this;
    if (display.doubt) this.#loadDoubt();
    const ratio = window.devicePixelRatio;
    canvas.width = Math.round(canvas.clientWidth * ratio);
    canvas.height = Math.round(canvas.clientHeight * ratio);
    gl.disable(gl.SCISSOR_TEST);
    gl.clearColor(0.06, 0.08, 0.1, 1);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.enable(gl.SCISSOR_TEST);
    gl.uniform2fv(this.at.greyRange, display.greyRange);
    gl.uniform1f(this.at.blend, display.blend);
    gl.uniform1f(this.at.fill, display.fill);
    gl.uniform1f(this.at.labels, display.labels);
    gl.uniform1i(this.at.showChanges, display.showChanges ? 1 : 0);
    gl.uniform1f(this.at.showDoubt, display.doubt && this.doubtOf === this.entry ? 1 : 0);
    gl.uniform1ui(this.at.selected, display.selected);
  }

  // Draw a strip into a part of the canvas. rect: [left, top, width, height] in CSS pixels; pairs: [x, y, mm] of each
  // point, x and y from -1 to 1.
  draw([left, top, width, height], pairs) {
    const { gl, toVoxel } = this;
    const ratio = window.devicePixelRatio;
    const box = [left, this.canvas.clientHeight - top - height, width, height].map((v) => Math.round(v * ratio));
    gl.viewport(...box);
    gl.scissor(...box);
    const data = new Float32Array(pairs.length * 5);
    pairs.forEach(([x, y, mm], n) => {
      const position = toVoxel.map((row, i) => (row[0] * mm[0] + row[1] * mm[1] + row[2] * mm[2] + row[3] + 0.5) / this.entry.shape[i]);
      data.set([x, y, ...position], 5 * n);
    });
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.DYNAMIC_DRAW);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, pairs.length);
  }
}
