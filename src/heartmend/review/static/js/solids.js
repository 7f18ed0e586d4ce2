// The surfaces before and after in one 3D view, turned with the mouse, its crosshair that of the planes.

export class Solids {
  constructor(canvas, run, onPick) {
    this.canvas = canvas;
    this.colours = new Map(run.structures.map((s) => [s.id, s.colour]));
    this.onPick = onPick;
  }

  async begin() {
    const { Niivue } = window.niivue;
    this.nv = new Niivue({
      logLevel: "error", backColor: [0, 0, 0, 1], show3Dcrosshair: true, crosshairColor: [1, 1, 1, 0.8],
      crosshairWidthUnit: "mm", crosshairWidth: 0.5, dragAndDropEnabled: false, loadingText: "", clipPlaneHotKey: "", viewModeHotKey: "",
      cycleClipPlaneHotKey: "", isOrientCube: false, isDepthPickMesh: true, meshXRay: 0,
    });
    await this.nv.attachToCanvas(this.canvas);
    this.nv.setSliceType(this.nv.sliceTypeRender);
    this.nv.setRenderAzimuthElevation(150, 8);
    this.canvas.addEventListener("dblclick", () => this.#picked());
  }

  // The packed surfaces of a case as meshes about its centre (mm); see view.py for the format.
  build(buffer, centre) {
    const { NVMesh } = window.niivue;
    const length = new DataView(buffer).getUint32(0, true);
    const table = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
    let at = 4 + length;
    return table.map((t) => {
      const points = new Float32Array(buffer, at, t.vertices * 3);
      const triangles = new Uint32Array(buffer, at + points.byteLength, t.faces * 3);
      at += points.byteLength + triangles.byteLength;
      for (let i = 0; i < points.length; i += 1) points[i] -= centre[i % 3];
      const colour = new Uint8Array([...this.colours.get(t.structure), 255]);
      const mesh = new NVMesh(points, triangles, `${t.structure} ${t.state}`, colour, 1, true, this.nv.gl);
      mesh.updateMesh(this.nv.gl);
      return { mesh, structure: t.structure, state: t.state };
    });
  }

  drop(solids) {
    for (const { mesh } of solids) mesh.unloadMesh(this.nv.gl);
  }

  show(solids, look, mm, centre) {
    const { nv } = this;
    this.centre = centre;
    for (const { mesh, structure, state } of solids) {
      const share = state === "after" ? look.blend : 1 - look.blend;
      const own = !look.selected || look.selected === structure ? 1 : 0.12;
      mesh.opacity = share * own;
    }
    // What is opaque is drawn first, so that what is not lets it shine through.
    nv.meshes = solids.filter((s) => s.mesh.opacity > 0.02).map((s) => s.mesh).sort((a, b) => b.opacity - a.opacity);
    nv.scene.crosshairPos = nv.mm2frac([0, 1, 2].map((i) => mm[i] - centre[i]));
    nv.drawScene();
  }

  #picked() {
    const at = this.nv.frac2mm(this.nv.scene.crosshairPos);
    this.onPick([0, 1, 2].map((i) => at[i] + this.centre[i]));
  }
}
