// Numbers as people read them, and the colours of a deviation.
//
// In: lengths in the user's unit. Out: short decimals, round ranges, and colour ramps mixed in
// OKLab, so that equal steps look equally large; blue to orange stays apart for colour-blind eyes.

const SIGNED = ["#0d3b82", "#3f7fcf", "#9dc0e6", "#e9e9e6", "#f2b98a", "#d9722c", "#8a2f08"];
const UNSIGNED = ["#e9e9e6", "#f2b98a", "#d9722c", "#8a2f08"];
const STEPS = 256;

/** (256, RGBA) bytes from the lowest to the highest value. */
export function ramp(signed) {
  const stops = (signed ? SIGNED : UNSIGNED).map((hex) => toLab(parseHex(hex)));
  const bytes = new Uint8Array(4 * STEPS);
  for (let i = 0; i < STEPS; i++) {
    const at = (i / (STEPS - 1)) * (stops.length - 1);
    const low = Math.min(Math.floor(at), stops.length - 2);
    const lab = stops[low].map((value, k) => value + (at - low) * (stops[low + 1][k] - value));
    bytes.set([...toBytes(lab), 255], 4 * i);
  }
  return bytes;
}

/** The same as a CSS background. */
export function rampToCss(signed) {
  const bytes = ramp(signed);
  const stops = [];
  for (let i = 0; i < STEPS; i += 15) stops.push(`rgb(${bytes.slice(4 * i, 4 * i + 3).join(" ")})`);
  return `linear-gradient(to right, ${stops.join(", ")})`;
}

/** 1, 2 or 5 times a power of ten: the `index`-th from `first` on. */
export function roundSteps(largest, count) {
  const steps = [];
  let power = Math.floor(Math.log10(largest)) + 1;
  while (steps.length < count + 3) {
    for (const digit of [5, 2, 1]) steps.push(digit * 10 ** power);
    power -= 1;
  }
  const first = steps.findLastIndex((step) => step >= largest * (1 - 1e-9));
  return steps.slice(first, first + count).reverse();
}

/** Three significant digits, without an exponent where it can be avoided. */
export function short(value, digits = 3) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return value.toExponential(1).replace("-", "−");
  return String(Number(value.toPrecision(digits))).replace("-", "−");
}

/** A fit: of volumes up to 1, which is said only where it is reached; else a distance. */
export function fitted(value) {
  return value >= 0 ? short(Math.floor(1e4 * value) / 1e4, 4) : short(value);
}

export const seconds = (s) => (s < 10 ? `${s.toFixed(1)} s` : `${Math.round(s)} s`);
export const count = (n) => Number(n).toLocaleString("en");

export function bytes(n) {
  if (n < 1024) return `${n} B`;
  return n < 1024 ** 2 ? `${Math.round(n / 1024)} kB` : `${short(n / 1024 ** 2, 2)} MB`;
}

function parseHex(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255);
}

// OKLab (Ottosson 2020): linear light, cone responses, cube roots, opponent axes.
function toLab(rgb) {
  const [r, g, b] = rgb.map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  ];
}

function toBytes([light, a, b]) {
  const l = (light + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (light - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (light - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ].map((c) => {
    const curved = c <= 0.0031308 ? 12.92 * c : 1.055 * Math.max(c, 0) ** (1 / 2.4) - 0.055;
    return Math.round(255 * Math.min(1, Math.max(0, curved)));
  });
}
