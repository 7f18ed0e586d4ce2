// Fragment shader of a slice. The label maps before and after are blended while drawing, so that moving the slider
// needs one draw and no new textures. maps: ids before and after; palette: colour of each id; greyRange: range of the
// CT's bytes, 0 to 1; blend: 0 before, 1 after; labels: 0 hides them; selected: an id, or 0 for all structures.

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

void main() {
  float value = texture(volume, texPos).r;
  vec3 grey = vec3(clamp((value - greyRange.x) / (greyRange.y - greyRange.x), 0.0, 1.0));
  uvec2 ids = idsAt(texPos);
  vec3 right = dFdx(texPos), up = dFdy(texPos);
  bvec2 edge = bvec2(false);
  for (int i = 0; i < 4; i++) {
    vec3 neighbour = texPos + (i < 2 ? right : up) * (i % 2 == 0 ? 1.2 : -1.2);
    uvec2 other = idsAt(neighbour);
    edge = bvec2(edge.x || other.x != ids.x, edge.y || other.y != ids.y);
  }
  vec4 drawn = layer(ids.x, edge.x) * (1.0 - blend) + layer(ids.y, edge.y) * blend;
  grey = mix(grey, grey * (1.0 - drawn.a) + drawn.rgb, labels);
  if (showChanges && ids.x != ids.y) {
    bool isSelected = selected == 0u || ids.x == selected || ids.y == selected;
    vec3 tone = relabelled;
    if (selected != 0u && isSelected) tone = ids.y == selected ? added : removed;
    else if (ids.x == 0u) tone = added;
    else if (ids.y == 0u) tone = removed;
    grey = mix(grey, tone, isSelected ? 0.82 : 0.18);
  }
  color = vec4(grey, 1.0);
}`;
