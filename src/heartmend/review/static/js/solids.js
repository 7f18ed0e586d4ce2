// Surfaces before and after in one 3D view, rotated with the mouse, with the crosshair of the planes and a cut plane.

import { SURFACE_SHADER } from "./shader.js";
import { dot, subtract } from "./vectors.js";

const GROUND = [0.9, 0.92, 0.94, 1];
const WALL_OPACITY = 0.22; // the chambers are visible through the myocardium
const OTHER_OPACITY = 0.1; // structures that are not selected
export const CUTS = { off: null, axial: [0, 0, 1], coronal: [0, 1, 0], sagittal: [1, 0, 0] };

export class Solids {
  constructor(canvas, run, onPick) {
    this.canvas = canvas;
    this.structures = new Map(run.structures.map((s) => [s.id, s]));
    this.onPick = onPick;
  }

  async start() {
    const { Niivue } = window.niivue;
    this.nv = new Niivue({
      logLevel: "error", backColor: GROUND, show3Dcrosshair: true, crosshairColor: [0.1, 0.15, 0.2, 0.9],
      crosshairWidthUnit: "mm", crosshairWidth: 0.5, dragAndDropEnabled: false, loadingText: "", clipPlaneHotKey: "", viewModeHotKey: "",
      cycleClipPlaneHotKey: "", isOrientCube: false, isDepthPickMesh: true, meshXRay: 0,
    });
    await this.nv.attachToCanvas(this.canvas);
    const { gl } = this.nv;
    // NiiVue draws only the faces towards the viewer; a cut surface shows its inside too.
    const enable = gl.enable.bind(gl);
    gl.enable = (what) => what !== gl.CULL_FACE && enable(what);
    this.shader = this.nv.setCustomMeshShader(SURFACE_SHADER, "surface");
    this.nv.setSliceType(this.nv.sliceTypeRender);
    this.nv.setRenderAzimuthElevation(150, 8);
    this.canvas.addEventListener("dblclick", () => this.#picked());
    // The side that is cut away depends on the direction of view.
    for (const name of ["pointermove", "wheel"]) this.canvas.addEventListener(name, () => this.cut && this.#placeCut());
  }

  // Convert the packed surfaces of a case into meshes around its centre (mm); the format is in page_data.py.
  build(buffer, centre) {
    const { NVMesh } = window.niivue;
    const length = new DataView(buffer).getUint32(0, true);
    const table = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
    let offset = 4 + length;
    return table.map((t) => {
      const points = new Float32Array(buffer, offset, t.vertices * 3);
      const triangles = new Uint32Array(buffer, offset + points.byteLength, t.faces * 3);
      offset += points.byteLength + triangles.byteLength;
      for (let i = 0; i < points.length; i += 1) points[i] -= centre[i % 3];
      const { colour, kind } = this.structures.get(t.structure);
      const mesh = new NVMesh(points, triangles, `${t.structure} ${t.state}`, new Uint8Array([...colour, 255]), 1, true, this.nv.gl);
      mesh.updateMesh(this.nv.gl);
      mesh.meshShaderIndex = this.shader;
      return { mesh, structure: t.structure, state: t.state, isWall: kind === "wall" };
    });
  }

  drop(solids) {
    for (const { mesh } of solids) mesh.unloadMesh(this.nv.gl);
  }

  show(solids, display, mm, centre) {
    const { nv } = this;
    this.centre = centre;
    this.mm = mm;
    this.cut = CUTS[display.cut];
    for (const { mesh, structure, state, isWall } of solids) {
      const weight = state === "after" ? display.blend : 1 - display.blend;
      const isOther = display.selected && display.selected !== structure;
      const visibility = isOther ? OTHER_OPACITY : isWall && !display.selected && !this.cut ? WALL_OPACITY : 1;
      mesh.opacity = weight * visibility;
    }
    // Opaque surfaces are drawn first, so that they are visible through transparent ones.
    nv.meshes = solids.filter((s) => s.mesh.opacity > 0.02).map((s) => s.mesh).sort((a, b) => b.opacity - a.opacity);
    nv.opts.show3Dcrosshair = display.crosshair;
    nv.scene.crosshairPos = nv.mm2frac([0, 1, 2].map((i) => mm[i] - centre[i]));
    this.#placeCut();
    nv.drawScene();
  }

  // Cut at the crosshair; the half towards the viewer is removed.
  #placeCut() {
    const { nv } = this;
    const { shader } = nv.meshShaders[this.shader];
    shader.use(nv.gl);
    if (!this.cut) return nv.gl.uniform4f(shader.uniforms.cut, 0, 0, 0, 0);
    const { renderAzimuth, renderElevation } = nv.scene;
    const model = nv.calculateMvpMatrix(null, [0, 0, 0, 0], renderAzimuth, renderElevation)[1];
    const towardsViewer = [-model[2], -model[6], -model[10]];
    const normal = dot(this.cut, towardsViewer) < 0 ? this.cut.map((v) => -v) : this.cut;
    return nv.gl.uniform4f(shader.uniforms.cut, ...normal, dot(subtract(this.mm, this.centre), normal));
  }

  #picked() {
    const mm = this.nv.frac2mm(this.nv.scene.crosshairPos);
    this.onPick([0, 1, 2].map((i) => mm[i] + this.centre[i]));
  }
}
