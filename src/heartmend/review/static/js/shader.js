// Shaders. The label maps before and after are blended while drawing, so that moving the slider needs one draw and no
// new textures. maps: ids before and after; palette: colour of each id; greyRange: range of the CT's bytes, 0 to 1;
// blend: 0 before, 1 after; labels: 0 hides them; selected: an id, or 0 for all structures; doubt: probability of an
// error in percent, as bytes; showDoubt: 0 hides it.

// Changes are hatched and outlined: no structure is, and the CT is visible between the lines.
export const SLICE_SHADER = `#version 300 es
precision highp int;
precision highp float;
precision highp sampler3D;
precision highp usampler3D;
// NiiVue finds one uniform per statement only.
uniform sampler3D volume;
uniform usampler3D maps;
uniform sampler2D palette;
uniform vec3 added;
uniform vec3 removed;
uniform vec3 relabelled;
uniform vec2 greyRange;
uniform float blend;
uniform float fill;
uniform float labels;
uniform bool showChanges;
uniform uint selected;
uniform sampler3D doubt;
uniform float showDoubt;
in vec3 texPos;
out vec4 color;

uvec2 idsAt(vec3 at) {
  ivec3 size = textureSize(maps, 0);
  return texelFetch(maps, clamp(ivec3(floor(at * vec3(size))), ivec3(0), size - 1), 0).rg;
}

// Colour and opacity (premultiplied) of one label map at this fragment.
vec4 layer(uint id, bool edge) {
  if (id == 0u) return vec4(0.0);
  float weight = selected == 0u || id == selected ? 1.0 : 0.45;
  float opacity = edge ? weight : fill * weight * weight;
  return vec4(texelFetch(palette, ivec2(int(id), 0), 0).rgb * opacity, opacity);
}

float stripe(float along) {
  return smoothstep(1.3, 2.2, abs(mod(along, 7.0) - 3.5));
}

void main() {
  if (any(lessThan(texPos, vec3(0.0))) || any(greaterThan(texPos, vec3(1.0)))) {
    color = vec4(0.06, 0.08, 0.1, 1.0);
    return;
  }
  float value = texture(volume, texPos).r;
  vec3 grey = vec3(clamp((value - greyRange.x) / (greyRange.y - greyRange.x), 0.0, 1.0));
  uvec2 ids = idsAt(texPos);
  vec3 right = dFdx(texPos), up = dFdy(texPos);
  bvec2 edge = bvec2(false);
  bool changeEdge = false;
  for (int i = 0; i < 4; i++) {
    vec3 neighbour = texPos + (i < 2 ? right : up) * (i % 2 == 0 ? 1.2 : -1.2);
    uvec2 other = idsAt(neighbour);
    edge = bvec2(edge.x || other.x != ids.x, edge.y || other.y != ids.y);
    changeEdge = changeEdge || other.x == other.y;
  }
  vec4 drawn = layer(ids.x, edge.x) * (1.0 - blend) + layer(ids.y, edge.y) * blend;
  grey = mix(grey, grey * (1.0 - drawn.a) + drawn.rgb, labels);
  // From 5 to 50 % violet, orange, light yellow: as bright as it is uncertain.
  float likely = texture(doubt, texPos).r * 2.55;
  float heat = smoothstep(0.03, 0.5, likely);
  vec3 warm = mix(mix(vec3(0.36, 0.1, 0.6), vec3(1.0, 0.45, 0.1), smoothstep(0.0, 0.5, heat)), vec3(1.0, 0.97, 0.6), smoothstep(0.5, 1.0, heat));
  grey = mix(grey, warm, showDoubt * 0.85 * smoothstep(0.03, 0.12, likely));
  if (showChanges && ids.x != ids.y) {
    bool isSelected = selected == 0u || ids.x == selected || ids.y == selected;
    bool isAdded = selected != 0u && isSelected ? ids.y == selected : ids.x == 0u;
    bool isRemoved = selected != 0u && isSelected ? ids.y != selected : ids.y == 0u;
    vec3 tone = isAdded ? added : isRemoved ? removed : relabelled;
    float rising = stripe(gl_FragCoord.x - gl_FragCoord.y), falling = stripe(gl_FragCoord.x + gl_FragCoord.y);
    float line = isAdded ? rising : isRemoved ? falling : max(rising, falling);
    float opacity = changeEdge ? 1.0 : mix(0.18, 0.9, line);
    // Dark between the lines, so that they are visible on bright contrast agent too.
    grey = mix(grey, mix(tone * 0.25, tone, max(line, float(changeEdge))), isSelected ? opacity : 0.25 * opacity);
  }
  color = vec4(grey, 1.0);
}`;

export const STRIP_VERTICES = `#version 300 es
layout(location = 0) in vec2 place;
layout(location = 1) in vec3 position;
out vec3 texPos;
void main() {
  gl_Position = vec4(place, 0.0, 1.0);
  texPos = position;
}`;

// Surfaces: cut (normal and offset of a plane, in mm; zero for none). The inside of a cut surface is drawn in one tone,
// so that the cut looks solid.
export const SURFACE_SHADER = `#version 300 es
precision highp int;
precision highp float;
uniform float opacity;
uniform vec4 cut;
in vec4 vClr;
in vec3 vN;
in vec4 vP;
out vec4 color;
void main() {
  if (cut.xyz != vec3(0.0) && dot(vP.xyz, cut.xyz) > cut.w) discard;
  vec3 n = normalize(vN);
  gl_FragDepth = gl_FragCoord.z;
  if (!gl_FrontFacing && cut.xyz != vec3(0.0)) {
    color = vec4(vClr.rgb * 0.72, opacity);
    // In front of the neighbour that has the same boundary.
    gl_FragDepth -= 0.002;
    return;
  }
  if (!gl_FrontFacing) n = -n;
  float key = max(dot(n, normalize(vec3(0.35, 0.45, -1.0))), 0.0);
  float rest = 0.5 + 0.5 * n.y;
  float shine = pow(max(dot(reflect(normalize(vec3(-0.35, -0.45, 1.0)), n), vec3(0.0, 0.0, -1.0)), 0.0), 24.0);
  float rim = pow(1.0 - abs(n.z), 3.0);
  vec3 lit = vClr.rgb * (0.34 + 0.12 * rest + 0.6 * key) + 0.14 * shine;
  color = vec4(mix(lit, vClr.rgb * 0.4, 0.35 * rim), opacity);
}`;
