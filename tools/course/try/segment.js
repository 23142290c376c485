/**
 * The model's side of the page, run as a worker: an image goes in, a label map comes out.
 *
 * All is as in `scripts/onnx_segmenter.py`, so that pixels get the classes that the course's
 * commands give them. An image is {data, width, height}, with data of 8 bits, RGB, row by row.
 */
import * as ort from "./ort/ort.wasm.bundle.min.mjs";

ort.env.wasm.wasmPaths = { wasm: new URL("ort/ort-wasm-simd-threaded.wasm", import.meta.url).href };
ort.env.wasm.numThreads = 1; // more need HTTP headers that plain static hosting does not send
ort.env.logLevel = "error";

const LEAST_EXPONENT = -20; // a class so far below the best one adds less than 1e-8 to the softmax
const sessions = new Map();
let queue = Promise.resolve(); // a session runs one image at a time

onmessage = ({ data: asked }) => {
  queue = queue.then(async () => {
    try {
      await answer(asked);
    } catch (error) {
      postMessage({ id: asked.id, error: String(error?.message ?? error) });
    }
  });
};

/** Segment what a message asks for: id, model (of page.json), canvas (RGBA), width and height. */
async function answer({ id, model, longest, ...canvas }) {
  const begin = performance.now();
  const image = shrunk(withoutAlpha(canvas), longest);
  const { width, height } = image;
  if (!sessions.has(model.file)) {
    postMessage({ id, doing: "loading" });
    const file = new URL(model.file, import.meta.url).href;
    sessions.set(model.file, await ort.InferenceSession.create(file));
  }
  postMessage({ id, doing: "segmenting", width, height });
  const seen = resized(image, ...sizeSeen(model.resize, image));
  const { logits } = await sessions.get(model.file).run(
    {
      image: new ort.Tensor("uint8", seen.data, [1, seen.height, seen.width, 3]),
      // Of the graph's own label map, which is slower than `decide` and has no confidence.
      size: new ort.Tensor("int64", BigInt64Array.of(1n, 1n), [2]),
    },
    ["logits"],
  );
  const decided = decide(logits.data, logits.dims.slice(1), width, height);
  const seconds = (performance.now() - begin) / 1000;
  postMessage({ id, image, ...decided, seconds });
}

/** RGB of a canvas's RGBA. */
function withoutAlpha({ data, width, height }) {
  const rgb = new Uint8ClampedArray(width * height * 3);
  for (let from = 0, to = 0; from < data.length; from += 4) {
    rgb[to++] = data[from];
    rgb[to++] = data[from + 1];
    rgb[to++] = data[from + 2];
  }
  return { data: rgb, width, height };
}

/** An image whose longer side has `longest` pixels at most. */
function shrunk(image, longest) {
  if (Math.max(image.width, image.height) <= longest) return image;
  return resized(image, ...sizeSeen({ max_width: longest, max_height: longest }, image));
}

/** [width, height] at which the model sees an image, by the metadata's [height, width] or most. */
function sizeSeen(resize, { width, height }) {
  if (resize === null) return [width, height];
  if (Array.isArray(resize)) return [resize[1], resize[0]];
  const scale = Math.min(resize.max_height / height, resize.max_width / width);
  return [width, height].map((side) => Math.max(1, Math.trunc(side * scale)));
}

/** Resize as image processors do, antialiased and bilinear: equal to PyTorch's to the bit. */
export function resized({ data, width: oldWidth, height: oldHeight }, width, height) {
  const columns = resampled(data, oldHeight, oldWidth, 3, width);
  return { data: resampled(columns, 1, oldHeight, width * 3, height), width, height };
}

/** (outer, length, inner) to (outer, size, inner), in whole numbers. */
function resampled(pixels, outer, length, inner, size) {
  if (length === size) return pixels;
  const { rows, bits } = weightsOf(length, size);
  const result = new Uint8ClampedArray(outer * size * inner);
  const sums = new Int32Array(inner);
  for (let group = 0, to = 0; group < outer; group++) {
    for (const { first, weights } of rows) {
      sums.fill(2 ** (bits - 1)); // a half, to round
      let from = (group * length + first) * inner;
      for (const weight of weights) {
        for (let i = 0; i < inner; i++) sums[i] += weight * pixels[from++];
      }
      for (let i = 0; i < inner; i++) result[to++] = sums[i] >> bits;
    }
  }
  return result;
}

/** For each new position the first old one that counts, and what it and the next ones count for. */
function weightsOf(length, size) {
  const scale = length / size;
  const reach = Math.max(scale, 1);
  let largest = 0;
  const rows = Array.from({ length: size }, (_, position) => {
    const center = scale * (position + 0.5);
    const first = Math.max(Math.trunc(center - reach + 0.5), 0);
    const stop = Math.min(Math.trunc(center + reach + 0.5), length);
    let weights = Array.from({ length: stop - first }, (_, old) =>
      Math.max(1 - Math.abs(first + old + 0.5 - center) / reach, 0),
    );
    const sum = weights.reduce((one, other) => one + other);
    weights = weights.map((weight) => weight / sum);
    largest = Math.max(largest, ...weights);
    return { first, weights };
  });
  const bits = Math.min(22, Math.ceil(Math.log2((2 ** 15 - 0.5) / largest)) - 1);
  for (const row of rows) {
    row.weights = row.weights.map((weight) => Math.trunc(weight * 2 ** bits + 0.5));
  }
  return { rows, bits };
}

/**
 * Upsample logits, (num_labels, h, w), bilinearly; the best class of each pixel and its softmax.
 *
 * Returns {labels, confidences}: of `height` rows of `width` pixels, 8-bit label ids and 0 to 1.
 */
export function decide(logits, [numLabels, h, w], width, height) {
  const grid = new Float32Array(logits.length); // the classes of a position side by side
  for (let label = 0, from = 0; label < numLabels; label++) {
    for (let to = label; to < grid.length; to += numLabels) grid[to] = logits[from++];
  }
  const labels = new Uint8Array(width * height);
  const confidences = new Float32Array(width * height);
  const [down, along] = [neighbours(h, height), neighbours(w, width)];
  const line = new Float32Array(w * numLabels);
  const values = new Float32Array(numLabels);
  let pixel = 0;
  for (const vertical of down) {
    const upper = vertical.first * line.length;
    const lower = vertical.second * line.length;
    for (let i = 0; i < line.length; i++) {
      line[i] = grid[upper + i] * (1 - vertical.share) + grid[lower + i] * vertical.share;
    }
    for (const { first, second, share } of along) {
      let best = 0;
      for (let label = 0; label < numLabels; label++) {
        const left = line[first * numLabels + label];
        values[label] = left * (1 - share) + line[second * numLabels + label] * share;
        if (values[label] > values[best]) best = label;
      }
      let sum = 0;
      for (let label = 0; label < numLabels; label++) {
        const below = values[label] - values[best];
        if (below > LEAST_EXPONENT) sum += Math.exp(below);
      }
      labels[pixel] = best;
      confidences[pixel++] = 1 / sum;
    }
  }
  return { labels, confidences };
}

/** For each upsampled position the two original ones around it, and the share of the second. */
function neighbours(size, upsampled) {
  return Array.from({ length: upsampled }, (_, index) => {
    const position = ((index + 0.5) * size) / upsampled - 0.5;
    const inside = Math.min(Math.max(position, 0), size - 1);
    const first = Math.floor(inside);
    return { first, second: Math.min(first + 1, size - 1), share: inside - first };
  });
}
