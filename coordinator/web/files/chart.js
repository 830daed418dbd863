// A line chart over steps as SVG: drag to zoom, Escape or a double click for all.
const ns = "http://www.w3.org/2000/svg";
const H = 170, L = 52, R = 8, T = 10, B = 20;

export function svg(name, attributes = {}, text) {
  const e = document.createElementNS(ns, name);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  if (text !== undefined) e.textContent = text;
  return e;
}

export const short = v => v === 0 ? "0" : Math.abs(v) >= 1e4 || Math.abs(v) < 1e-3 ? v.toExponential(1) : String(+v.toPrecision(3));

// zoom is shared by all charts, so that they show the same steps.
export const zoom = new EventTarget();
zoom.range = null;
zoom.set = range => { zoom.range = range; zoom.dispatchEvent(new Event("change")); };

// thin keeps at most two points a column, its lowest and its highest, in order.
function thin(points, key, from, to, columns) {
  const seen = points.filter(p => p.step >= from && p.step <= to && Number.isFinite(p[key]));
  if (seen.length <= 2 * columns) return seen;
  const kept = [];
  for (let c = 0; c < columns; c++) {
    const some = seen.slice(Math.floor(c * seen.length / columns), Math.floor((c + 1) * seen.length / columns));
    let low = some[0], high = some[0];
    for (const p of some) { if (p[key] < low[key]) low = p; if (p[key] > high[key]) high = p; }
    kept.push(...(low.step <= high.step ? [low, high] : [high, low]));
  }
  return kept;
}

export class Chart {
  // keys: the fields of a point that are drawn, with the words that name them.
  constructor(name, keys) {
    this.name = name; this.keys = keys; this.points = [];
    this.root = document.createElement("figure");
    this.root.className = "chart";
    this.caption = document.createElement("figcaption");
    this.out = document.createElement("output");
    this.svg = svg("svg", { role: "img", tabindex: "0" });
    this.root.append(this.caption, this.svg);
    this.width = 400;
    new ResizeObserver(() => { if (this.words) this.draw(this.words); }).observe(this.svg);
    this.listen();
  }

  x(step) { return L + (step - this.from) / Math.max(1, this.to - this.from) * (this.width - L - R); }
  y(v) { return T + (1 - (v - this.low) / (this.high - this.low || 1)) * (H - T - B); }
  stepAt(event) {
    const box = this.svg.getBoundingClientRect();
    const at = (event.clientX - box.left - L) / (box.width - L - R);
    return Math.round(this.from + Math.min(1, Math.max(0, at)) * (this.to - this.from));
  }

  listen() {
    let began = null;
    this.svg.addEventListener("pointerdown", e => { began = this.stepAt(e); });
    this.svg.addEventListener("pointermove", e => {
      const at = this.stepAt(e);
      this.say(at);
      this.pick?.remove();
      if (began === null || at === began) return;
      const [a, b] = [this.x(Math.min(began, at)), this.x(Math.max(began, at))];
      this.pick = svg("rect", { class: "pick", x: a, y: T, width: b - a, height: H - T - B });
      this.svg.append(this.pick);
    });
    this.svg.addEventListener("pointerup", e => {
      const at = this.stepAt(e);
      if (began !== null && Math.abs(at - began) > 1) zoom.set([Math.min(began, at), Math.max(began, at)]);
      began = null;
    });
    this.svg.addEventListener("pointerleave", () => { began = null; this.pick?.remove(); this.say(null); });
    this.svg.addEventListener("dblclick", () => zoom.set(null));
    this.svg.addEventListener("keydown", e => { if (e.key === "Escape") zoom.set(null); });
    zoom.addEventListener("change", () => this.draw(this.words));
  }

  // say shows the figures of a step, or of the last one.
  say(step) {
    const p = step === null ? this.points.at(-1) : this.points.find(p => p.step >= step);
    this.out.textContent = p ? this.keys.map(k => short(p[k.key])).join(" / ") : "";
  }

  draw(words) {
    this.words = words;
    const W = this.width = this.svg.clientWidth || this.width;
    this.svg.setAttribute("viewBox", `0 0 ${W} ${H}`);
    const points = this.points;
    const all = [points[0]?.step ?? 0, points.at(-1)?.step ?? 1];
    [this.from, this.to] = zoom.range ?? all;
    const lines = this.keys.map(k => thin(points, k.key, this.from, this.to, W));
    const values = lines.flatMap((line, i) => line.map(p => p[this.keys[i].key]));
    this.low = values.length ? Math.min(...values) : 0;
    this.high = values.length ? Math.max(...values) : 1;
    this.caption.replaceChildren(document.createTextNode(words[this.name]), ...this.keys.filter(k => k.word).map((k, i) => {
      const s = document.createElement("span");
      s.className = "k" + i; s.textContent = "— " + words[k.word];
      return s;
    }), this.out);
    this.svg.setAttribute("aria-label", words.chart(words[this.name], this.from, this.to));
    const parts = [];
    for (const v of [this.low, (this.low + this.high) / 2, this.high]) {
      parts.push(svg("line", { class: "grid", x1: L, x2: W - R, y1: this.y(v), y2: this.y(v) }), svg("text", { x: L - 6, y: this.y(v) + 4, "text-anchor": "end" }, short(v)));
    }
    parts.push(svg("text", { x: L, y: H - 4 }, this.from), svg("text", { x: W - R, y: H - 4, "text-anchor": "end" }, this.to));
    lines.forEach((line, i) => parts.push(svg("path", { class: "s" + i, d: line.map((p, n) => (n ? "L" : "M") + this.x(p.step).toFixed(1) + " " + this.y(p[this.keys[i].key]).toFixed(1)).join("") })));
    this.svg.replaceChildren(...parts);
    this.say(null);
  }
}
