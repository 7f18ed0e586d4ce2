// Surfaces before and after in one 3D view, rotated with the mouse, with the crosshair of the planes.

export class Solids {
  constructor(canvas, run, onPick) {
    this.canvas = canvas;
    this.colours = new Map(run.structures.map((s) => [s.id, s.colour]));
    this.onPick = onPick;
  }

  async start() {
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
      const colour = new Uint8Array([...this.colours.get(t.structure), 255]);
      const mesh = new NVMesh(points, triangles, `${t.structure} ${t.state}`, colour, 1, true, this.nv.gl);
      mesh.updateMesh(this.nv.gl);
      return { mesh, structure: t.structure, state: t.state };
    });
  }

  drop(solids) {
    for (const { mesh } of solids) mesh.unloadMesh(this.nv.gl);
  }

  show(solids, display, mm, centre) {
    const { nv } = this;
    this.centre = centre;
    for (const { mesh, structure, state } of solids) {
      const weight = state === "after" ? display.blend : 1 - display.blend;
      const visibility = !display.selected || display.selected === structure ? 1 : 0.12;
      mesh.opacity = weight * visibility;
    }
    // Opaque surfaces are drawn first, so that they are visible through transparent ones.
    nv.meshes = solids.filter((s) => s.mesh.opacity > 0.02).map((s) => s.mesh).sort((a, b) => b.opacity - a.opacity);
    nv.scene.crosshairPos = nv.mm2frac([0, 1, 2].map((i) => mm[i] - centre[i]));
    nv.drawScene();
  }

  #picked() {
    const mm = this.nv.frac2mm(this.nv.scene.crosshairPos);
    this.onPick([0, 1, 2].map((i) => mm[i] + this.centre[i]));
  }
}
