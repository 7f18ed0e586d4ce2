// Vectors of three numbers.

export const add = (a, b, weight = 1) => a.map((v, i) => v + weight * b[i]);
export const subtract = (a, b) => a.map((v, i) => v - b[i]);
export const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
export const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
export const norm = (a) => Math.hypot(...a);
export const unit = (a) => a.map((v) => v / norm(a));

// Rotate a vector about a unit axis by an angle in radians (Rodrigues).
export function turn(v, axis, angle) {
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  const crossed = cross(axis, v);
  const along = dot(axis, v) * (1 - c);
  return v.map((x, i) => x * c + crossed[i] * s + axis[i] * along);
}

// Inverse of the upper 3 x 4 of an affine, as rows.
export function inverse(affine) {
  const columns = [0, 1, 2].map((j) => [0, 1, 2].map((i) => affine[i][j]));
  const origin = [0, 1, 2].map((i) => affine[i][3]);
  const [x, y, z] = columns;
  const volume = dot(x, cross(y, z));
  const rows = [cross(y, z), cross(z, x), cross(x, y)].map((row) => row.map((v) => v / volume));
  return rows.map((row) => [...row, -dot(row, origin)]);
}

// Anatomical letters of a direction in RAS+, the strongest first: "L", or "LAI" for an oblique one.
export function letters(direction) {
  const pairs = [["R", "L"], ["A", "P"], ["S", "I"]];
  return unit(direction)
    .map((v, i) => [Math.abs(v), pairs[i][v > 0 ? 0 : 1]])
    .filter(([size]) => size > 0.3)
    .sort(([a], [b]) => b - a)
    .map(([, letter]) => letter)
    .join("");
}
