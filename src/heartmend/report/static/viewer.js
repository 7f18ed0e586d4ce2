// 3D view of a report: the surfaces of a case before and after, side by side, rotated together.
// Reads the scenes of heartmend/report/scene.py. Needs OGL; nothing is loaded from the network.
"use strict";

(() => {
  const { Camera, Geometry, Mesh, Orbit, Program, Renderer, Transform, Vec3 } = OGL;

  const VERTEX = `
    attribute vec3 position, normal;
    uniform mat4 modelViewMatrix, projectionMatrix;
    uniform mat3 normalMatrix;
    varying vec3 vNormal, vPosition;
    void main() {
      vec4 position4 = modelViewMatrix * vec4(position, 1.0);
      vPosition = position4.xyz;
      vNormal = normalMatrix * normal;
      gl_Position = projectionMatrix * position4;
    }`;

  // One light from the upper left of the viewer, and ambient light.
  const FRAGMENT = `
    precision highp float;
    uniform vec3 colour;
    varying vec3 vNormal, vPosition;
    void main() {
      vec3 eye = normalize(-vPosition), n = normalize(vNormal);
      n = dot(n, eye) < 0.0 ? -n : n;
      vec3 light = normalize(vec3(-0.45, 0.6, 1.0));
      float shade = 0.42 + 0.58 * max(dot(n, light), 0.0);
      float gloss = 0.14 * pow(max(dot(n, normalize(light + eye)), 0.0), 24.0);
      gl_FragColor = vec4(colour * shade + gloss, 1.0);
    }`;

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
    const renderer = new Renderer({ canvas, dpr: Math.min(devicePixelRatio, 2), antialias: true, preserveDrawingBuffer: true });
    renderer.gl.clearColor(1, 1, 1, 1);
    return { canvas, renderer, root: new Transform(), shown: new Map() };
  }

  function addPart(side, part, positions, triangles) {
    const { gl } = side.renderer;
    const colour = [1, 3, 5].map((i) => parseInt(part.colour.slice(i, i + 2), 16) / 255);
    const program = new Program(gl, { vertex: VERTEX, fragment: FRAGMENT, cullFace: null, uniforms: { colour: { value: colour } } });
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
    let start = 0;
    for (const part of scene.parts) {
      [part.before, part.after].forEach(([vertices, triangles], which) => {
        const positions = toViewAxes(restoreRows(numbers, start, vertices), scene);
        const corners = restoreRows(numbers, start + 3 * vertices, triangles);
        if (triangles) addPart(panes[which], part, positions, corners);
        start += 3 * (vertices + triangles);
      });
    }
    const camera = new Camera(panes[0].renderer.gl, { fov: 24, near: size / 50, far: size * 10 });
    const home = new Vec3(-0.55, 0.25, 1).normalize().multiply(1.85 * size);
    camera.position.copy(home);
    const orbit = new Orbit(camera, { element: stage, minDistance: size / 4, maxDistance: 5 * size, inertia: 0.6 });

    const draw = () => {
      orbit.update();
      for (const { canvas, renderer, root } of panes) {
        const { width, height } = canvas.parentElement.getBoundingClientRect();
        if (Math.abs(renderer.width - width) > 0.5 || Math.abs(renderer.height - height) > 0.5) renderer.setSize(width, height);
        camera.perspective({ aspect: width / height });
        renderer.render({ scene: root, camera });
      }
    };
    addCheckboxes(figure, scene, panes, draw);
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
