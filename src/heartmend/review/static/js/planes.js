// Three linked planes of one case on one canvas. Neighbouring cases are prepared on hidden canvases, so that showing
// them takes one draw.

import { rgb } from "./reformat.js";
import { SLICE_SHADER } from "./shader.js";

const PALETTE_UNIT = 12;
const MAPS_UNIT = 13;
const DOUBT_UNIT = 14;
const AXIAL = 0, CORONAL = 1, SAGITTAL = 2;
const LAYOUTS = {
  all: [
    { sliceType: AXIAL, position: [0, 0, 0.5, 0.5] },
    { sliceType: CORONAL, position: [0.5, 0, 0.5, 0.5] },
    { sliceType: SAGITTAL, position: [0, 0.5, 0.5, 0.5] },
  ],
  axial: [{ sliceType: AXIAL, position: [0, 0, 1, 1] }],
  coronal: [{ sliceType: CORONAL, position: [0, 0, 1, 1] }],
  sagittal: [{ sliceType: SAGITTAL, position: [0, 0, 1, 1] }],
};

// Name, voxel axis, and anatomical letters of the sides of each plane, in radiological convention.
const PLANES = {
  [AXIAL]: { name: "Axial", axis: 2, letters: { left: "R", right: "L", top: "A", bottom: "P" } },
  [CORONAL]: { name: "Coronal", axis: 1, letters: { left: "R", right: "L", top: "S", bottom: "I" } },
  [SAGITTAL]: { name: "Sagittal", axis: 0, letters: { left: "A", right: "P", top: "S", bottom: "I" } },
};
const CROSSHAIR_MM = 0.4;

export class Planes {
  constructor(canvas, run, onMove) {
    this.canvas = canvas;
    this.run = run;
    this.onMove = onMove;
    this.entry = null;
    this.textures = [];
  }

  async start() {
    const { Niivue, DRAG_MODE } = window.niivue;
    this.nv = new Niivue({
      logLevel: "error", backColor: [0, 0, 0, 1], crosshairColor: [1, 1, 1, 0.65], crosshairWidthUnit: "mm", crosshairWidth: CROSSHAIR_MM,
      crosshairGap: 9,
      dragMode: DRAG_MODE.pan, dragAndDropEnabled: false, isOrientationTextVisible: false, tileMargin: 0, loadingText: "", clipPlaneHotKey: "", viewModeHotKey: "",
      cycleClipPlaneHotKey: "", isRadiologicalConvention: true, sagittalNoseLeft: true, show3Dcrosshair: false,
    });
    await this.nv.attachToCanvas(this.canvas);
    this.nv.setCustomSliceShader(SLICE_SHADER);
    // Planes need no gradients, which cost two passes over the volume: the most expensive part of a new case.
    const passThrough = this.nv.passThroughShader;
    Object.assign(this.nv, {
      blurShader: passThrough, gradientPrePassShader: passThrough, sobelFirstOrderShader: passThrough,
      sobelSecondOrderShader: passThrough,
    });
    this.setLayout("all");
    this.nv.onLocationChange = (location) => this.entry && this.onMove(this, location.mm);
    const { gl } = this.nv;
    const palette = new Uint8Array(256 * 4).fill(255);
    for (const s of this.run.structures) palette.set([...s.colour, 255], s.id * 4);
    gl.activeTexture(gl.TEXTURE0 + PALETTE_UNIT);
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, 256, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, palette);
    nearest(gl, gl.TEXTURE_2D);
    const shader = this.nv.customSliceShader;
    shader.use(gl);
    gl.uniform1i(shader.uniforms.palette, PALETTE_UNIT);
    gl.uniform1i(shader.uniforms.maps, MAPS_UNIT);
    gl.uniform1i(shader.uniforms.doubt, DOUBT_UNIT);
    for (const name of ["added", "removed", "relabelled"]) gl.uniform3fv(shader.uniforms[name], rgb(this.run.colours[name]));
  }

  setLayout(name) {
    if (LAYOUTS[name]) this.nv.setCustomLayout(LAYOUTS[name]);
  }

  // Upload the volumes of a case to the graphics card.
  load(entry) {
    const { nv } = this;
    this.entry = null;
    nv.volumes = [];
    nv.addVolume(entry.image);
    const { gl } = nv;
    gl.deleteTexture(this.maps);
    this.maps = gl.createTexture();
    gl.activeTexture(gl.TEXTURE0 + MAPS_UNIT);
    gl.bindTexture(gl.TEXTURE_3D, this.maps);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.texImage3D(gl.TEXTURE_3D, 0, gl.RG8UI, ...entry.shape, 0, gl.RG_INTEGER, gl.UNSIGNED_BYTE, entry.maps);
    nearest(gl, gl.TEXTURE_3D);
    this.entry = entry;
    nv.setPan2Dxyzmm([0, 0, 0, 1]);
  }

  // Upload the label maps again after they were changed on the page.
  updateMaps() {
    const { gl } = this.nv;
    gl.activeTexture(gl.TEXTURE0 + MAPS_UNIT);
    gl.bindTexture(gl.TEXTURE_3D, this.maps);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.texSubImage3D(gl.TEXTURE_3D, 0, 0, 0, 0, ...this.entry.shape, gl.RG_INTEGER, gl.UNSIGNED_BYTE, this.entry.maps);
  }

  // Upload the probabilities of errors, where they are known.
  #loadDoubt() {
    if (this.doubtOf === this.entry || !this.entry.doubt) return;
    const { gl } = this.nv;
    gl.deleteTexture(this.doubt);
    this.doubt = gl.createTexture();
    gl.activeTexture(gl.TEXTURE0 + DOUBT_UNIT);
    gl.bindTexture(gl.TEXTURE_3D, this.doubt);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.texImage3D(gl.TEXTURE_3D, 0, gl.R8, ...this.entry.shape, 0, gl.RED, gl.UNSIGNED_BYTE, this.entry.doubt);
    nearest(gl, gl.TEXTURE_3D);
    this.doubtOf = this.entry;
  }

  draw(display) {
    const { nv } = this;
    const { gl } = nv;
    if (display.doubt) this.#loadDoubt();
    const shader = nv.customSliceShader;
    shader.use(gl);
    const { uniforms } = shader;
    gl.uniform2fv(uniforms.greyRange, display.greyRange);
    gl.uniform1f(uniforms.blend, display.blend);
    gl.uniform1f(uniforms.fill, display.fill);
    gl.uniform1f(uniforms.labels, display.labels);
    gl.uniform1i(uniforms.showChanges, display.showChanges ? 1 : 0);
    gl.uniform1f(uniforms.showDoubt, display.doubt && this.doubtOf === this.entry ? 1 : 0);
    gl.uniform1ui(uniforms.selected, display.selected);
    nv.opts.crosshairWidth = display.crosshair ? CROSSHAIR_MM : 0;
    nv.drawScene();
  }

  // The displayed planes as tiles of the overlay.
  tiles() {
    const { nv } = this;
    const ratio = this.canvas.width / this.canvas.clientWidth;
    const voxel = nv.frac2vox(nv.scene.crosshairPos).map(Math.round);
    return nv.screenSlices.filter((s) => PLANES[s.axCorSag]).map(({ leftTopWidthHeight, axCorSag, fovMM }) => {
      const { name, axis, letters } = PLANES[axCorSag];
      const rect = leftTopWidthHeight.map((v) => v / ratio);
      return { rect, title: `${name} ${voxel[axis] + 1}/${this.entry.shape[axis]}`, letters, mmPerPx: Math.abs(fovMM[0]) / rect[2], kind: "plane" };
    });
  }

  moveTo(mm) {
    this.nv.scene.crosshairPos = this.nv.mm2frac(mm);
    this.nv.createOnLocationChange();
  }

  step(x, y, z) {
    this.nv.moveCrosshairInVox(x, y, z);
  }

  get mm() {
    return this.nv.frac2mm(this.nv.scene.crosshairPos);
  }
}

function nearest(gl, target) {
  gl.texParameteri(target, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
  gl.texParameteri(target, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
}
