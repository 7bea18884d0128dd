// Likelihood intervals: how far each parameter can go before the objective, all others refitted, rises too much.
// The default method of moelaws fit (moelaws.fitting.intervals.likelihood).

const TRIALS = 60;
const CHECKS = 6;
const NEARER = 1.5;

// Ends of the intervals of some coordinates: [{low, high, kinds}], in their order. An interval spans all values under the
// limit: where the objective has several valleys, walks go on from the farthest point of any that is known, and a small
// search from elsewhere looks at the ends, and beyond them, for those that are not. minima: what the search came to.
function intervalEnds(problem, theta, least, spread, level, which, minima, report) {
  let valley = valleyAround(problem, theta, least, spread, level, minima);
  const walks = [-1, 1].flatMap((sign) => which.map((i) => newWalk(valley, i, sign)));
  const trail = [...minima];
  const chance = new Chance(0);
  let unknown = walkOn(valley, walks, trail, false, report);
  for (let check = 0; check < (problem.runs <= MANY_RUNS ? CHECKS : 0); check++) {
    // By now other walks may have found lower ground: an end from which the objective no longer rises so far is none.
    const still = [];
    let again = false;
    for (const walk of walks.filter((each) => Number.isFinite(each.end))) {
      const { rise, at } = riseAt(valley, walks, walk, walk.end, true);
      if (rise < 1 - (valley.others.length ? NEARER : LOWER) * CLOSE) {
        resume(walk, walk.end, rise, at);
        again = true;
      } else if (walk.end !== walk.checked || valley.others.length) {
        // Where there are several valleys there may be more: every round looks at every end, old or new.
        still.push(walk);
        walk.checked = walk.end;
      }
    }
    const found = searchElsewhere(valley, still, chance, (done) => report(done * walks.length, walks.length));
    trail.push(...found);
    valley = withOthers(valley, found);
    if (!onward(valley, walks, trail) && !again) break;
    unknown = walkOn(valley, walks, trail, true, report);
  }
  return which.map((_, k) => {
    const [low, high] = [walks[k], walks[k + which.length]].map((walk) => {
      const edge = Math.abs(walk.edge) >= BOUNDLESS ? walk.sign * Infinity : walk.edge;
      const found = Number.isFinite(walk.end);
      return { end: found ? walk.end : edge, kind: unknown.has(walk) ? "unknown" : found ? "found"
        : Number.isFinite(edge) ? "bound" : "open" };
    });
    return { low: low.end, high: high.end, kinds: [low.kind, high.kind] };
  });
}

// Walk on until every walk has its end; returns those that have none after all trials. The points that the walks came to
// are added to the trail.
function walkOn(valley, walks, trail, thorough, report) {
  const close = valley.problem.runs <= MANY_RUNS ? CLOSE : 4 * CLOSE;
  for (let trial = 0; trial < TRIALS; trial++) {
    const going = walks.filter((each) => Number.isNaN(each.end));
    if (!going.length) break;
    report(walks.length - going.length, walks.length);
    const looked = going.map((walk) => {
      const place = trialOf(walk);
      return { walk, place, ...riseAt(valley, walks, walk, place, thorough) };
    });
    for (const { walk, place, rise, value, at } of looked) {
      noteTrial(walk, place, rise, at, close);
      trail.push({ value, theta: at });
    }
  }
  return new Set(walks.filter((each) => Number.isNaN(each.end)));
}
