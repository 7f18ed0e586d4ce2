// 3D view of a report: the surfaces of a case before and after, side by side, rotated together.
// Reads the scenes of heartmend/report/scene.py. Needs OGL; nothing is loaded from the network.
"use strict";

(() => {
  const { Camera, Geometry, Mesh, Orbit, Program, Renderer, Transform, Vec3 } = OGL;

  const VERTEX = `
    attribute vec3 position, normal;
    uniform mat4 modelViewMatrix, projectionMatrix;
    uniform mat3 normalMatrix;
    varying vec3 vNormal, vPosition, vModel;
    void main() {
      vModel = position;
      vec4 position4 = modelViewMatrix * vec4(position, 1.0);
      vPosition = position4.xyz;
      vNormal = normalMatrix * normal;
      gl_Position = projectionMatrix * position4;
    }`;

  // One light from the upper left of the viewer, and ambient light.
  const FRAGMENT = `
    precision highp float;
    uniform vec3 colour;
    uniform vec4 cut;
    varying vec3 vNormal, vPosition, vModel;
    void main() {
      if (dot(cut.xyz, vModel) > cut.w) discard;
      vec3 eye = normalize(-vPosition), n = normalize(vNormal);
      n = dot(n, eye) < 0.0 ? -n : n;
      vec3 light = normalize(vec3(-0.45, 0.6, 1.0));
      float shade = 0.42 + 0.58 * max(dot(n, light), 0.0);
      float gloss = 0.14 * pow(max(dot(n, normalize(light + eye)), 0.0), 24.0);
      // Darker at the rim, so that a white structure has an outline on a light ground.
      float rim = mix(0.5, 1.0, smoothstep(0.0, 0.45, abs(dot(n, eye))));
      gl_FragColor = vec4((colour * shade + gloss) * rim, 1.0);
    }`;

  // The cut face of a structure: its colour without light.
  const CAP_VERTEX = `
    attribute vec3 position;
    uniform mat4 modelViewMatrix, projectionMatrix;
    void main() { gl_Position = projectionMatrix * modelViewMatrix * vec4(position, 1.0); }`;
  const CAP_FRAGMENT = `
    precision highp float;
    uniform vec3 colour;
    void main() { gl_FragColor = vec4(mix(colour, vec3(1.0), 0.18), 1.0); }`;

  // Axes of the view: patient's left to the right, head up, front towards the viewer.
  const DIRECTIONS = { L: [1, 0, 0], R: [-1, 0, 0], S: [0, 1, 0], I: [0, -1, 0], A: [0, 0, 1], P: [0, 0, -1] };

  async function unpack(text) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint16Array(await new Response(stream).arrayBuffer());
  }

  // Restore rows of three from differences to the previous row, modulo 2^16.
  function restoreRows(numbers, start, count) {
    const values = numbers.slice(start, start + 3 * count);
    for (let i = 3; i < values.length; i += 1) values[i] += values[i - 3];
    return values;
  }

  // Convert steps in RAS into the axes of the view: patient's left to the right, head up, front towards the viewer.
  function toViewAxes(steps, scene) {
    const { origin_mm: origin, centre_mm: centre, step_mm: step } = scene;
    const out = new Float32Array(steps.length);
    for (let i = 0; i < steps.length; i += 3) {
      out[i] = centre[0] - origin[0] - steps[i] * step;
      out[i + 1] = origin[2] - centre[2] + steps[i + 2] * step;
      out[i + 2] = origin[1] - centre[1] + steps[i + 1] * step;
    }
    return out;
  }

  // Sum the normals of the triangles at each vertex, weighted by their areas.
  function normalsOf(positions, triangles) {
    const normals = new Float32Array(positions.length);
    for (let t = 0; t < triangles.length; t += 3) {
      const a = 3 * triangles[t], b = 3 * triangles[t + 1], c = 3 * triangles[t + 2];
      const ux = positions[b] - positions[a], uy = positions[b + 1] - positions[a + 1], uz = positions[b + 2] - positions[a + 2];
      const vx = positions[c] - positions[a], vy = positions[c + 1] - positions[a + 1], vz = positions[c + 2] - positions[a + 2];
      const nx = uy * vz - uz * vy, ny = uz * vx - ux * vz, nz = ux * vy - uy * vx;
      normals[a] += nx; normals[a + 1] += ny; normals[a + 2] += nz;
      normals[b] += nx; normals[b + 1] += ny; normals[b + 2] += nz;
      normals[c] += nx; normals[c + 1] += ny; normals[c + 2] += nz;
    }
    return normals;
  }

  function pane(canvas) {
    const dpr = Math.min(Math.max(devicePixelRatio, 1.5), 2);
    const renderer = new Renderer({ canvas, dpr, antialias: true, stencil: true, preserveDrawingBuffer: true });
    renderer.gl.clearColor(238 / 255, 241 / 255, 244 / 255, 1);
    return { canvas, renderer, root: new Transform(), shown: new Map() };
  }

  function addPart(side, part, positions, triangles, cut) {
    const { gl } = side.renderer;
    const colour = [1, 3, 5].map((i) => parseInt(part.colour.slice(i, i + 2), 16) / 255);
    const program = new Program(gl, { vertex: VERTEX, fragment: FRAGMENT, cullFace: null, uniforms: { colour: { value: colour }, cut: { value: cut } } });
    const geometry = new Geometry(gl, {
      position: { size: 3, data: positions },
      normal: { size: 3, data: normalsOf(positions, triangles) },
      index: { data: triangles },
    });
    const mesh = new Mesh(gl, { geometry, program });
    mesh.setParent(side.root);
    if (!side.shown.has(part.name)) side.shown.set(part.name, []);
    side.shown.get(part.name).push(mesh);
  }

  // Close the surfaces where a plane cuts them. A point of the plane is inside a closed surface if the ray from the
  // eye through it meets an odd number of the faces that are left: one bit of the stencil buffer counts them.
  function capper(side, cut, size) {
    const { renderer } = side, { gl } = renderer;
    const program = new Program(gl, { vertex: CAP_VERTEX, fragment: CAP_FRAGMENT, cullFace: null, uniforms: { colour: { value: [1, 1, 1] } } });
    const corners = new Float32Array(12);
    const geometry = new Geometry(gl, {
      position: { size: 3, data: corners, usage: gl.DYNAMIC_DRAW },
      index: { data: new Uint16Array([0, 1, 2, 0, 2, 3]) },
    });
    const plane = new Mesh(gl, { geometry, program });
    program.setStencilFunc(gl.EQUAL, 1, 1);
    program.setStencilOp(gl.KEEP, gl.KEEP, gl.KEEP);
    const place = () => {
      const [nx, ny, nz, distance] = cut;
      const u = ny ? [1, 0, 0] : [0, 1, 0];
      const v = [ny * u[2] - nz * u[1], nz * u[0] - nx * u[2], nx * u[1] - ny * u[0]];
      [[-1, -1], [1, -1], [1, 1], [-1, 1]].forEach(([a, b], corner) => {
        for (let i = 0; i < 3; i += 1) corners[3 * corner + i] = cut[i] * distance + size * (a * u[i] + b * v[i]);
      });
      geometry.attributes.position.needsUpdate = true;
    };
    return (camera) => {
      place();
      for (const meshes of side.shown.values()) {
        const visible = meshes.filter((mesh) => mesh.visible);
        if (!visible.length) continue;
        gl.clear(gl.STENCIL_BUFFER_BIT);
        gl.colorMask(false, false, false, false);
        for (const mesh of visible) {
          const own = mesh.program;
          own.depthTest = own.depthWrite = false;
          own.setStencilFunc(gl.ALWAYS, 0, 1);
          own.setStencilOp(gl.KEEP, gl.KEEP, gl.INVERT);
          mesh.draw({ camera });
          own.depthTest = own.depthWrite = true;
          own.stencilFunc = {};
          own.stencilOp = {};
        }
        gl.colorMask(true, true, true, true);
        // The parts of a coloured surface are open; their cut face has no colour of its own.
        program.uniforms.colour.value = meshes.length > 1 ? [0.72, 0.74, 0.77] : meshes[0].program.uniforms.colour.value;
        plane.draw({ camera });
      }
    };
  }

  // A cube that turns with the surfaces, its faces marked with the directions of the patient.
  function addCube(figure) {
    const cube = figure.querySelector(".cube");
    const turns = { A: "", P: "rotateY(180deg)", L: "rotateY(90deg)", R: "rotateY(-90deg)", S: "rotateX(90deg)", I: "rotateX(-90deg)" };
    for (const [letter, turn] of Object.entries(turns)) {
      const face = Object.assign(document.createElement("b"), { className: letter, textContent: letter });
      face.style.transform = `${turn} translateZ(17px)`;
      cube.append(face);
    }
    return (camera) => {
      // The rotation from the axes of the view to the screen; in CSS y is downwards.
      const m = camera.viewMatrix;
      cube.style.transform = `matrix3d(${m[0]},${-m[1]},${m[2]},0,${-m[4]},${m[5]},${-m[6]},0,${m[8]},${-m[9]},${m[10]},0,0,0,0,1)`;
    };
  }

  // Choose the direction and the depth of a cut; `cut` is its normal and its distance from the centre.
  function addCut(figure, cut, extent, draw) {
    const choice = figure.querySelector(".cut"), depth = figure.querySelector(".depth"), slider = depth.querySelector("input");
    const change = () => {
      const normal = DIRECTIONS[choice.value];
      depth.hidden = !normal;
      const reach = normal ? extent[normal.findIndex((v) => v !== 0)] / 2 : 1;
      cut.set(normal ? [...normal, reach * (1 - slider.value / 50)] : [0, 0, 0, 1]);
      draw();
    };
    choice.addEventListener("change", change);
    slider.addEventListener("input", change);
  }

  function addCheckboxes(figure, scene, panes, draw) {
    const list = figure.querySelector(".parts");
    const names = new Set();
    for (const part of scene.parts) {
      if (names.has(part.name)) continue;
      names.add(part.name);
      const label = document.createElement("label");
      const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: true });
      const swatch = document.createElement("i");
      swatch.style.background = part.colour;
      // With several colours in a part the legend of the page explains them.
      label.append(box, ...(figure.classList.contains("scale") ? [] : [swatch]), part.name);
      box.addEventListener("change", () => {
        for (const side of panes) for (const mesh of side.shown.get(part.name) ?? []) mesh.visible = box.checked;
        draw();
      });
      list.append(label);
    }
  }

  async function showScene(figure) {
    const scene = JSON.parse(document.getElementById(figure.dataset.scene).textContent);
    const numbers = await unpack(scene.data);
    const size = scene.size_mm;
    const stage = figure.querySelector(".stage");
    const panes = [...stage.querySelectorAll("canvas")].map(pane);
    const cut = new Float32Array([0, 0, 0, 1]);
    let start = 0;
    for (const part of scene.parts) {
      [part.before, part.after].forEach(([vertices, triangles], which) => {
        const positions = toViewAxes(restoreRows(numbers, start, vertices), scene);
        const corners = restoreRows(numbers, start + 3 * vertices, triangles);
        if (triangles) addPart(panes[which], part, positions, corners, cut);
        start += 3 * (vertices + triangles);
      });
    }
    const camera = new Camera(panes[0].renderer.gl, { fov: 24, near: size / 50, far: size * 10 });
    const home = new Vec3(-0.55, 0.25, 1).normalize().multiply(1.85 * size);
    camera.position.copy(home);
    const orbit = new Orbit(camera, { element: stage, minDistance: size / 4, maxDistance: 5 * size, inertia: 0.6 });

    for (const side of panes) side.drawCaps = capper(side, cut, size);
    const turnCube = addCube(figure);
    const draw = () => {
      orbit.update();
      for (const { canvas, renderer, root, drawCaps } of panes) {
        const { width, height } = canvas.parentElement.getBoundingClientRect();
        if (Math.abs(renderer.width - width) > 0.5 || Math.abs(renderer.height - height) > 0.5) renderer.setSize(width, height);
        camera.perspective({ aspect: width / height });
        renderer.render({ scene: root, camera });
        if (cut[0] || cut[1] || cut[2]) drawCaps(camera);
      }
      turnCube(camera);
    };
    addCheckboxes(figure, scene, panes, draw);
    addCut(figure, cut, scene.extent_mm, draw);
    figure.querySelector(".home").addEventListener("click", () => {
      camera.position.copy(home);
      orbit.target.set(0, 0, 0);
      orbit.forcePosition();
      draw();
    });
    // The wheel scrolls the page until the view is clicked.
    stage.addEventListener("wheel", (event) => {
      if (document.activeElement !== stage) event.stopImmediatePropagation();
    }, { capture: true });
    stage.addEventListener("mousedown", () => stage.focus({ preventScroll: true }));
    stage.addEventListener("keydown", (event) => {
      const turn = { ArrowLeft: -0.12, ArrowRight: 0.12 }[event.key];
      if (turn === undefined) return;
      event.preventDefault();
      const { x, z } = camera.position;
      camera.position.set(x * Math.cos(turn) - z * Math.sin(turn), camera.position.y, x * Math.sin(turn) + z * Math.cos(turn));
      orbit.forcePosition();
      draw();
    });
    // Drawn during an interaction and shortly after it, not all the time.
    let until = 0;
    const animate = () => {
      draw();
      if (performance.now() < until) requestAnimationFrame(animate);
      else until = 0;
    };
    const wake = () => {
      const asleep = until === 0;
      until = performance.now() + 1200;
      if (asleep) requestAnimationFrame(animate);
    };
    for (const kind of ["mousedown", "wheel", "touchstart", "touchmove"]) stage.addEventListener(kind, wake, { passive: true });
    addEventListener("mousemove", (event) => { if (event.buttons) wake(); });
    new ResizeObserver(draw).observe(stage);
    draw();
    // Drawn twice: the first time aligns the smoothing of the orbit with the camera.
    draw();
    figure.classList.add("live");
    figure.dataset.triangles = scene.parts.reduce((n, p) => n + p.before[1] + p.after[1], 0);
  }

  const watcher = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      watcher.unobserve(target);
      showScene(target).catch((error) => {
        target.querySelector(".note").textContent = `The 3D view cannot be displayed in this browser (${error.message}).`;
      });
    }
  }, { rootMargin: "300px" });
  document.querySelectorAll("figure[data-scene]").forEach((figure) => watcher.observe(figure));
})();
