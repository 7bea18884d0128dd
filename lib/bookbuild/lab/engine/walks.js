// Walks from a minimum towards the ends of intervals: where each looks next, and what it makes of what it finds.
// Places are coordinates; steps are taken in smooth ones, in which an amplitude that vanishes does so at a finite
// distance. A rise is that of the objective in units of its limit: an interval ends where it is 1.

const CLOSE = 5e-3;
const JUMP = 1e-4;
const LONGEST_STEP = 4;
const FARTHER = 5e-3;
const LOWER = 4;

// The log of an amplitude plus a faint one.
function smooth(place, faint) {
  if (faint === -Infinity) return place;
  const most = Math.max(place, faint);
  return most === -Infinity ? most : most + Math.log1p(Math.exp(-Math.abs(place - faint)));
}

function rough(height, faint) {
  return height > faint ? height + Math.log1p(-Math.exp(Math.min(faint - height, 0))) : -Infinity;
}

function newWalk(valley, i, sign) {
  const { theta, problem } = valley;
  const faint = valley.faint[i];
  const bend = Math.exp(theta[i] - smooth(theta[i], faint));
  return {
    i, sign, faint, edge: sign < 0 ? problem.lower[i] : problem.upper[i], origin: theta[i], inside: theta[i], rise: 0,
    at: theta, outside: NaN, riseOutside: NaN, step: bend < 0.02 ? 0.5 : valley.step[i] * bend, tried: 0, end: NaN,
  };
}

// Further out, or between what is inside and what is outside.
function trialOf(walk) {
  const inside = smooth(walk.inside, walk.faint);
  let height = inside + walk.sign * walk.step;
  if (!Number.isNaN(walk.outside)) {
    // The root of the rise is close to linear: interpolate on it, kept away from the ends, and halve every third time.
    const low = Math.sqrt(walk.rise);
    const high = Math.sqrt(walk.riseOutside);
    let share = Math.min(Math.max((1 - low) / Math.max(high - low, 1e-12), 0.1), 0.9);
    if (walk.tried % 3 === 2) share = 0.5;
    height = inside + share * (smooth(walk.outside, walk.faint) - inside);
  }
  const trial = rough(height, walk.faint);
  return walk.sign < 0 ? Math.max(trial, walk.edge) : Math.min(trial, walk.edge);
}

function noteTrial(walk, trial, rise, at, close) {
  const { faint } = walk;
  const out = rise >= 1;
  const height = smooth(trial, faint);
  const other = out ? walk.inside : walk.outside;
  const far = Math.abs(height - smooth(walk.origin, faint));
  const gap = Number.isNaN(other) ? NaN : Math.abs(height - smooth(other, faint));
  const found = Math.abs(rise - 1) < close || gap < JUMP * far;
  if (found) walk.end = trial;
  else if (!out && trial === walk.edge) walk.end = Infinity * walk.sign;
  if (out || !Number.isNaN(walk.outside)) walk.tried += 1;
  if (out) {
    walk.outside = trial;
    walk.riseOutside = rise;
    return;
  }
  // The next step aims a little past the limit, by the rise so far; no less than half this one.
  const pace = (1 - Math.sqrt(rise)) / Math.max(Math.sqrt(rise) - Math.sqrt(walk.rise), 1e-12);
  const gone = Math.abs(height - smooth(walk.inside, faint));
  walk.step = Math.max(gone * Math.min(Math.max(1.1 * pace, 0.5), LONGEST_STEP), 1e-9);
  walk.inside = trial;
  walk.rise = rise;
  walk.at = at;
}

// Go on from a place, beyond an end or at it, at which the objective turned out to be lower than thought.
function resume(walk, place, rise, at) {
  const away = Math.abs(smooth(place, walk.faint) - smooth(walk.origin, walk.faint));
  Object.assign(walk, { step: Math.max(0.25 * away, 1e-6), inside: place, rise, at, outside: NaN, tried: 0,
    end: place === walk.edge ? Infinity * walk.sign : NaN });
}

// Let every walk go on from the farthest point that lies inside, where one lies beyond its end, or well inside at it: a
// point that another walk came to, or a search from elsewhere, belongs to the interval of every coordinate under whose limit
// it lies.
function onward(valley, walks, points) {
  const rises = points.map(({ value }) => risesOf(valley, value));
  let moved = false;
  for (const walk of walks) {
    const { i, sign, faint, origin } = walk;
    let far = -1;
    points.forEach(({ theta }, k) => {
      if (rises[k][i] >= 1) return;
      const more = far < 0 ? 1 : sign * (theta[i] - points[far].theta[i]);
      if (more > 0 || (more === 0 && rises[k][i] < rises[far][i])) far = k;
    });
    if (far < 0) continue;
    const place = points[far].theta[i];
    const ended = smooth(Number.isNaN(walk.end) ? walk.inside : walk.end, faint);
    const lower = place === walk.end && rises[far][i] < 1 - LOWER * CLOSE;
    if (lower || sign * (smooth(place, faint) - ended) > FARTHER * Math.abs(ended - smooth(origin, faint))) {
      resume(walk, place, rises[far][i], points[far].theta);
      moved = true;
    }
  }
  return moved;
}
