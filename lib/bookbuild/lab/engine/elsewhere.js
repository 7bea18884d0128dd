// Searches from elsewhere: is there another valley at the end of an interval, or beyond it? A walk follows its valley;
// another one, in which the terms of the law change their parts, may pass below it, or come up again beyond.

const BEYOND = [0, 1, 4];
const STARTS_AT_PLACE = 24;
const MORE_STARTS = 48;
const REFITTED = 2;
const ENOUGH_TO_TELL = 100;

// Refits from dispersed starts with a coordinate held at the ends of walks, beyond them, and at their bounds: [{value,
// theta}].
function searchElsewhere(valley, walks, chance, report) {
  const { problem } = valley;
  const few = problem.thinned(ENOUGH_TO_TELL);
  const several = valley.others.length > 0;
  const count = several ? MORE_STARTS : STARTS_AT_PLACE;
  const places = placesOf(walks);
  return places.map(({ i, about, isEnd }, k) => {
    report(k / places.length);
    const leaping = several && isEnd ? Infinity : Math.floor(count / 3);
    const down = heldStarts(few, i, about, count, leaping, chance).map((start) => {
      const { theta } = firstDescent(few, start, 30, i);
      return { theta, value: problem.value(theta) };
    });
    down.sort((a, b) => a.value - b.value);
    return refitHeld(problem, down.slice(0, REFITTED).map((end) => end.theta), i);
  });
}

// Points at which a coordinate is held, each the walk's own, drawn out.
function placesOf(walks) {
  const seen = new Set();
  return walks.flatMap(({ i, sign, faint, edge, end, origin, at }) => {
    const height = smooth(end, faint);
    const away = Math.abs(height - smooth(origin, faint));
    const out = BEYOND.map((times) => (times ? rough(height + sign * away * times, faint) : end));
    if (Math.abs(edge) < BOUNDLESS) out.push(edge);
    return out.map((place) => (sign < 0 ? Math.max(place, edge) : Math.min(place, edge))).filter((place) => {
      const key = `${i} ${place}`;
      return !seen.has(key) && seen.add(key);
    }).map((place) => {
      const about = Float64Array.from(at);
      about[i] = place;
      return { i, about, isEnd: place === end };
    });
  });
}
