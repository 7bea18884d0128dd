// Linear algebra of small symmetric systems, P x P in one array by rows, that bears what fits bring: singular systems,
// and curvatures that are no numbers.

// Solve a symmetric system; a singular one gets its least-squares solution of least length.
function solve(matrix, right) {
  const p = right.length;
  const a = Float64Array.from(matrix);
  const x = Float64Array.from(right);
  let scale = 0;
  for (const each of a) {
    if (!Number.isFinite(each)) return new Float64Array(p).fill(NaN);
    scale = Math.max(scale, Math.abs(each));
  }
  for (let k = 0; k < p; k++) {
    let best = k;
    for (let i = k + 1; i < p; i++) if (Math.abs(a[i * p + k]) > Math.abs(a[best * p + k])) best = i;
    if (Math.abs(a[best * p + k]) <= 1e-300 * scale || a[best * p + k] === 0) return leastSolution(matrix, right);
    if (best !== k) {
      for (let j = 0; j < p; j++) [a[k * p + j], a[best * p + j]] = [a[best * p + j], a[k * p + j]];
      [x[k], x[best]] = [x[best], x[k]];
    }
    for (let i = k + 1; i < p; i++) {
      const factor = a[i * p + k] / a[k * p + k];
      if (factor === 0) continue;
      for (let j = k; j < p; j++) a[i * p + j] -= factor * a[k * p + j];
      x[i] -= factor * x[k];
    }
  }
  for (let k = p - 1; k >= 0; k--) {
    for (let j = k + 1; j < p; j++) x[k] -= a[k * p + j] * x[j];
    x[k] /= a[k * p + k];
  }
  return x;
}

function leastSolution(matrix, right) {
  const p = right.length;
  const { values, vectors } = eigen(matrix, p);
  const largest = Math.max(...values.map(Math.abs), 0);
  const x = new Float64Array(p);
  values.forEach((value, k) => {
    if (!(Math.abs(value) > 2.3e-16 * p * largest)) return;
    let along = 0;
    for (let i = 0; i < p; i++) along += vectors[k][i] * right[i];
    for (let i = 0; i < p; i++) x[i] += (along / value) * vectors[k][i];
  });
  return x;
}

// Eigenvalues in rising order and their vectors (Jacobi's rotations); what is no finite number counts as nothing.
function eigen(matrix, p) {
  const a = Float64Array.from(matrix, (each) => (Number.isFinite(each) ? each : 0));
  const v = Array.from({ length: p }, (_, i) => Float64Array.from({ length: p }, (__, j) => (i === j ? 1 : 0)));
  for (let sweep = 0; sweep < 60; sweep++) {
    let off = 0;
    let on = 0;
    for (let i = 0; i < p; i++) for (let j = 0; j < p; j++) (i === j ? (on += a[i * p + j] ** 2) : (off += a[i * p + j] ** 2));
    if (off <= 1e-34 * on || off === 0) break;
    for (let i = 0; i < p; i++) for (let j = i + 1; j < p; j++) rotate(a, v, p, i, j);
  }
  const order = Array.from({ length: p }, (_, i) => i).sort((i, j) => a[i * p + i] - a[j * p + j]);
  return { values: order.map((i) => a[i * p + i]), vectors: order.map((i) => v[i]) };
}

function rotate(a, v, p, i, j) {
  const off = a[i * p + j];
  if (off === 0) return;
  const theta = (a[j * p + j] - a[i * p + i]) / (2 * off);
  const t = (theta >= 0 ? 1 : -1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1));
  const c = 1 / Math.sqrt(t * t + 1);
  const s = t * c;
  for (let k = 0; k < p; k++) {
    const x = a[k * p + i];
    const y = a[k * p + j];
    a[k * p + i] = c * x - s * y;
    a[k * p + j] = s * x + c * y;
  }
  for (let k = 0; k < p; k++) {
    const x = a[i * p + k];
    const y = a[j * p + k];
    a[i * p + k] = c * x - s * y;
    a[j * p + k] = s * x + c * y;
    [v[i][k], v[j][k]] = [c * v[i][k] - s * v[j][k], s * v[i][k] + c * v[j][k]];
  }
}

// Product of two P x P matrices.
function matrixProduct(a, b, p) {
  const made = new Float64Array(p * p);
  for (let i = 0; i < p; i++) {
    for (let k = 0; k < p; k++) {
      const factor = a[i * p + k];
      for (let j = 0; j < p; j++) made[i * p + j] += factor * b[k * p + j];
    }
  }
  return made;
}

function diagonal(matrix, p) {
  return Float64Array.from({ length: p }, (_, i) => matrix[i * p + i]);
}

// 1 / sqrt of the diagonal: units in which every parameter's own curvature is one.
function unitsOf(matrix, p) {
  return diagonal(matrix, p).map((each) => 1 / Math.sqrt(Math.max(each, 1e-300)));
}

function inUnits(matrix, unit) {
  const p = unit.length;
  return Float64Array.from(matrix, (each, k) => each * unit[Math.floor(k / p)] * unit[k % p]);
}

// Inverse in the directions that are held, and which coordinates an open direction moves.
const OPEN = 1e-13;

function heldInverse(curvature, p) {
  const unit = unitsOf(curvature, p);
  const { values, vectors } = eigen(inUnits(curvature, unit), p);
  const most = values[p - 1];
  const inverse = new Float64Array(p * p);
  const loose = Array.from(diagonal(curvature, p), (each) => each <= 0);
  values.forEach((value, k) => {
    const along = vectors[k];
    if (value > OPEN * most) {
      for (let i = 0; i < p; i++) {
        for (let j = 0; j < p; j++) inverse[i * p + j] += (unit[i] * along[i] * unit[j] * along[j]) / value;
      }
    } else along.forEach((each, i) => { loose[i] = loose[i] || Math.abs(each) > 1e-3; });
  });
  return { inverse, loose };
}

function median(values) {
  const sorted = Float64Array.from(values).sort();
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : 0.5 * (sorted[half - 1] + sorted[half]);
}

// The quantile that numpy gives by default: linear between neighbours.
function quantile(values, share) {
  const sorted = Float64Array.from(values).sort();
  const at = share * (sorted.length - 1);
  const low = Math.floor(at);
  return low + 1 < sorted.length ? sorted[low] + (at - low) * (sorted[low + 1] - sorted[low]) : sorted[low];
}
