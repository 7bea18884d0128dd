"""What a browser says of where things are: what is cut, what runs out of its frame, what lies on other words."""

MISPLACED = """
() => {
  const found = [];
  const said = e => (e.textContent || '').trim().replace(/\\s+/g, ' ').slice(0, 50);
  const excess = document.documentElement.scrollWidth - innerWidth;
  if (excess > 0) found.push(`${excess} pixels wider than the screen`);
  for (const e of document.querySelectorAll('article *')) {
    // What a reader has not opened yet is not cut, and formulas and charts have boxes of their own.
    if (!e.checkVisibility({visibilityProperty: true}) || !said(e)) continue;
    if (e.closest('.toggle-hidden, math, svg, .sr-only, .visually-hidden')) continue;
    const style = getComputedStyle(e), box = e.getBoundingClientRect();
    if (box.width <= 2 || box.height <= 2) continue;
    const wide = e.scrollWidth > e.clientWidth + 1, high = e.scrollHeight > e.clientHeight + 2;
    const cuts = (wide && /hidden|clip/.test(style.overflowX)) || (high && /hidden|clip/.test(style.overflowY));
    if (cuts && !e.matches('span.math')) found.push(`cut: <${e.localName}> "${said(e)}"`);
    // A wide screen has room for every table, formula and line of code; a phone may scroll them in their own box.
    if (innerWidth > 1000 && wide && /auto|scroll/.test(style.overflowX))
      found.push(`scrolls: <${e.localName}> "${said(e)}", ${e.scrollWidth} in ${e.clientWidth} pixels`);
  }
  for (const svg of document.querySelectorAll('article svg.marks')) {
    const frame = svg.getBoundingClientRect();
    const shown = [...svg.querySelectorAll('text')].filter(t => said(t) && getComputedStyle(t).opacity !== '0');
    const texts = shown.map(t => [said(t), t.getBoundingClientRect()])
      .filter(([_, box]) => frame.width && box.width);
    for (const [words, box] of texts) {
      const across = Math.max(frame.left - box.left, box.right - frame.right);
      const out = Math.max(across, frame.top - box.top, box.bottom - frame.bottom);
      if (out > 1.5) found.push(`out of its chart by ${Math.round(out)} pixels: "${words}"`);
    }
    texts.forEach(([words, a], i) => texts.slice(i + 1).forEach(([others, b]) => {
      const w = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const h = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (w > 2 && h > 4) found.push(`one on the other: "${words}" and "${others}"`);
    }));
  }
  return found;
}
"""
"""Sentences on what a reader of the page at hand cannot read, or would have to scroll for."""

BEYOND = """
() => {
  const edge = document.body.getBoundingClientRect().right + 1.5, found = [];
  for (const e of document.querySelectorAll('article *, nav *, .cover *')) {
    if (!e.checkVisibility() || e.closest('math, svg') && !e.matches('math, svg')) continue;
    const box = e.getBoundingClientRect();
    const style = getComputedStyle(e);
    const words = (e.textContent || e.getAttribute('alt') || '').trim().replace(/\\s+/g, ' ').slice(0, 50);
    if (box.right > edge && box.width) found.push(`off the sheet: <${e.localName}> "${words}"`);
    const cuts = e.scrollWidth > e.clientWidth + 1 || e.scrollHeight > e.clientHeight + 2;
    if (cuts && words && box.width > 2 && style.overflow !== 'visible' && !e.matches('span.math'))
      found.push(`cut: <${e.localName}> "${words}"`);
  }
  return found;
}
"""
"""Sentences on what a sheet of paper as wide as the window would cut."""
