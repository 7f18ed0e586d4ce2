// Three linked planes of one case on one canvas. A case is made ready on a hidden canvas before it is asked for, so
// that to show it costs one draw.

import { SLICE_SHADER } from "./shader.js";

const PALETTE_UNIT = 12;
const MAPS_UNIT = 13;
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

const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255);

export class Planes {
  constructor(canvas, run, onMove) {
    this.canvas = canvas;
    this.run = run;
    this.onMove = onMove;
    this.entry = null;
    this.textures = [];
  }

  async begin() {
    const { Niivue, DRAG_MODE } = window.niivue;
    this.nv = new Niivue({
      logLevel: "error", backColor: [0, 0, 0, 1], crosshairColor: [1, 1, 1, 0.65], crosshairWidthUnit: "mm", crosshairWidth: 0.4,
      crosshairGap: 9,
      dragMode: DRAG_MODE.pan, dragAndDropEnabled: false, isOrientationTextVisible: true, fontSizeScaling: 0.3,
      fontColor: [0.8, 0.85, 0.9, 1], tileMargin: 0, loadingText: "", clipPlaneHotKey: "", viewModeHotKey: "",
      cycleClipPlaneHotKey: "", isRadiologicalConvention: true, sagittalNoseLeft: true, show3Dcrosshair: false,
    });
    await this.nv.attachToCanvas(this.canvas);
    this.nv.setCustomSliceShader(SLICE_SHADER);
    // Planes need no gradients: two passes over the whole volume, the dearest part of a new case.
    const cheap = this.nv.passThroughShader;
    Object.assign(this.nv, {
      blurShader: cheap, gradientPrePassShader: cheap, sobelFirstOrderShader: cheap, sobelSecondOrderShader: cheap,
    });
    this.setLayout("all");
    this.nv.onLocationChange = (where) => this.entry && this.onMove(this, where.mm);
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
    for (const name of ["added", "removed", "renamed"]) gl.uniform3fv(shader.uniforms[name], rgb(this.run.colours[name]));
  }

  setLayout(name) {
    if (LAYOUTS[name]) this.nv.setCustomLayout(LAYOUTS[name]);
  }

  // Put a case's volumes onto the graphics card.
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

  draw(look) {
    const { nv } = this;
    const { gl } = nv;
    const shader = nv.customSliceShader;
    shader.use(gl);
    const at = shader.uniforms;
    gl.uniform2fv(at.greyRange, look.greyRange);
    gl.uniform1f(at.blend, look.blend);
    gl.uniform1f(at.fill, look.fill);
    gl.uniform1f(at.labels, look.labels);
    gl.uniform1i(at.showChanges, look.showChanges ? 1 : 0);
    gl.uniform1ui(at.selected, look.selected);
    nv.drawScene();
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
