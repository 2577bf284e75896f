/** A picture as QEMU writes it: binary PPM (P6) with 8 bits per color. */
export interface Picture {
  width: number;
  height: number;
  /** Red, green, blue, opacity. */
  rgba: Uint8ClampedArray<ArrayBuffer>;
}

const maxSide = 8192;
const maxPixels = 16 * 1024 * 1024;
/** Comments included. */
const maxHeader = 1024;

/** @throws Error for anything else than a complete picture of reasonable size */
export function parsePpm(data: Uint8Array): Picture {
  const header = String.fromCharCode(...data.subarray(0, maxHeader));
  const match = /^P6(?:\s|#[^\n]*\n)+(\d{1,5})(?:\s|#[^\n]*\n)+(\d{1,5})(?:\s|#[^\n]*\n)+255\s/.exec(header);
  if (match === null) throw new Error('The screenshot is not a PPM picture');
  const [width, height] = [Number(match[1]), Number(match[2])];
  if (width < 1 || height < 1 || width > maxSide || height > maxSide || width * height > maxPixels)
    throw new Error(`The screenshot has an unexpected size: ${width} × ${height}`);
  const pixels = data.subarray(match[0].length);
  if (pixels.length < width * height * 3) throw new Error('The screenshot is incomplete');
  const rgba = new Uint8ClampedArray(width * height * 4);
  for (let from = 0, to = 0; to < rgba.length; from += 3, to += 4) {
    rgba[to] = pixels[from] ?? 0;
    rgba[to + 1] = pixels[from + 1] ?? 0;
    rgba[to + 2] = pixels[from + 2] ?? 0;
    rgba[to + 3] = 255;
  }
  return { width, height, rgba };
}
