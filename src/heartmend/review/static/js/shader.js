// How a slice is coloured. The label maps before and after are blended here, while drawing, so that moving the slider
// costs one draw and no new textures. maps: ids before and after; palette: the colour of each id; greyRange: of the CT's
// bytes, 0 to 1; blend: 0 before, 1 after; labels: 0 hides them; selected: an id, or 0 for the whole map.

export const SLICE_SHADER = `#version 300 es
precision highp int;
precision highp float;
precision highp sampler3D;
precision highp usampler3D;
// NiiVue finds one uniform in a statement, no more.
uniform sampler3D volume;
uniform usampler3D maps;
uniform sampler2D palette;
uniform vec3 added;
uniform vec3 removed;
uniform vec3 renamed;
uniform vec2 greyRange;
uniform float blend;
uniform float fill;
uniform float labels;
uniform bool showChanges;
uniform uint selected;
in vec3 texPos;
out vec4 color;

uvec2 idsAt(vec3 at) {
  ivec3 size = textureSize(maps, 0);
  return texelFetch(maps, clamp(ivec3(floor(at * vec3(size))), ivec3(0), size - 1), 0).rg;
}

// Colour and opacity (premultiplied) of one map here.
vec4 layer(uint id, bool edge) {
  if (id == 0u) return vec4(0.0);
  float own = selected == 0u || id == selected ? 1.0 : 0.45;
  float opacity = edge ? own : fill * own * own;
  return vec4(texelFetch(palette, ivec2(int(id), 0), 0).rgb * opacity, opacity);
}

void main() {
  float value = texture(volume, texPos).r;
  vec3 shade = vec3(clamp((value - greyRange.x) / (greyRange.y - greyRange.x), 0.0, 1.0));
  uvec2 here = idsAt(texPos);
  vec3 right = dFdx(texPos), up = dFdy(texPos);
  bvec2 edge = bvec2(false);
  for (int i = 0; i < 4; i++) {
    vec3 beside = texPos + (i < 2 ? right : up) * (i % 2 == 0 ? 1.2 : -1.2);
    uvec2 other = idsAt(beside);
    edge = bvec2(edge.x || other.x != here.x, edge.y || other.y != here.y);
  }
  vec4 drawn = layer(here.x, edge.x) * (1.0 - blend) + layer(here.y, edge.y) * blend;
  shade = mix(shade, shade * (1.0 - drawn.a) + drawn.rgb, labels);
  if (showChanges && here.x != here.y) {
    bool own = selected == 0u || here.x == selected || here.y == selected;
    vec3 tone = renamed;
    if (selected != 0u && own) tone = here.y == selected ? added : removed;
    else if (here.x == 0u) tone = added;
    else if (here.y == 0u) tone = removed;
    shade = mix(shade, tone, own ? 0.82 : 0.18);
  }
  color = vec4(shade, 1.0);
}`;
