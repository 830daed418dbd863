// The desk: pages of a run, live by server-sent events.
import { words } from "./words.js";
import { Chart, short, svg, zoom } from "./chart.js";

const $ = id => document.getElementById(id);
const state = { lang: localStorage.getItem("lang") ?? (navigator.language.startsWith("ja") ? "ja" : "en"), status: null, points: [], events: [], operator: false, signed: true, live: false, ended: false };
const w = () => words[state.lang];

const charts = [
  new Chart("loss", [{ key: "loss" }]), new Chart("margin", [{ key: "log_odds" }]), new Chart("errors", [{ key: "winner_mse", word: "winner" }, { key: "loser_mse", word: "loser" }]),
  new Chart("gradient", [{ key: "grad_norm" }]), new Chart("rate", [{ key: "learning_rate" }]), new Chart("throughput", [{ key: "items_per_second" }]),
];
$("charts").append(...charts.map(c => c.root));

async function get(path, options) {
  const r = await fetch("/api/v1/" + path, options);
  if (r.status === 401) { state.signed = false; render(); throw new Error("not signed in"); }
  if (!r.ok) throw new Error((await r.json()).detail);
  return r.json();
}

// load takes all there is; afterwards the stream brings what is new.
async function load() {
  state.operator = (await get("me")).operator;
  state.status = await get("status");
  state.points = [];
  for (let some = [null]; some.length;) {
    some = await get("steps?after=" + (state.points.at(-1)?.step ?? 0));
    state.points.push(...some);
  }
  state.events = await get("events?since=0");
  if (state.operator) $("join").textContent = (await get("token")).join;
  state.signed = true;
  render();
}

function follow() {
  const stream = new EventSource("/api/v1/stream");
  const on = (name, take) => stream.addEventListener(name, e => { take(JSON.parse(e.data)); soon(); });
  on("status", s => { state.status = s; });
  on("step", p => { while (state.points.length && state.points.at(-1).step >= p.step) state.points.pop(); state.points.push(p); });
  on("cluster", e => { state.events.push(e); });
  stream.addEventListener("reload", () => load().catch(console.warn));
  stream.addEventListener("end", () => { stream.close(); state.live = false; state.ended = true; soon(); });
  stream.addEventListener("open", () => { state.live = true; soon(); });
  stream.addEventListener("error", () => {
    state.live = false;
    if (stream.readyState === EventSource.CLOSED) setTimeout(start, 2000);
    soon();
  });
}

async function start() {
  try { await load(); follow(); } catch (e) { state.live = false; render(); if (state.signed) setTimeout(start, 2000); }
}

let waiting = false;
function soon() { // Draws at most once a frame.
  if (!waiting) { waiting = true; requestAnimationFrame(() => { waiting = false; render(); }); }
}

function page() { return location.hash === "#cluster" ? "cluster" : "run"; }

function render() {
  const t = w(), here = page();
  document.documentElement.lang = state.lang;
  for (const e of document.querySelectorAll("[data-t]")) if (e.id !== "stop" && e.id !== "copy" || !e.dataset.busy) e.textContent = t[e.dataset.t];
  for (const e of document.querySelectorAll("[data-label]")) e.setAttribute("aria-label", t[e.dataset.label]);
  for (const a of document.querySelectorAll("nav a")) a.hash === "#" + here ? a.setAttribute("aria-current", "page") : a.removeAttribute("aria-current");
  $("lang").textContent = t.other;
  $("lang").lang = state.lang === "en" ? "ja" : "en";
  $("live").className = state.live ? "live on" : "live";
  const word = state.live ? t.live : state.ended ? t.ended : t.away;
  if ($("live").textContent !== word) $("live").textContent = word;
  $("signin").hidden = state.signed;
  $("page-run").hidden = !state.signed || here !== "run" || !state.status;
  $("page-cluster").hidden = !state.signed || here !== "cluster" || !state.status;
  if (!state.status) return;
  here === "run" ? renderRun(t) : renderCluster(t);
}

function left(s) {
  const last = state.points.slice(-20);
  if (!last.length || s.step >= s.steps) return null;
  return last.reduce((a, p) => a + p.duration_ms, 0) / last.length / 1000 * (s.steps - s.step);
}

function clock(seconds, lang) {
  if (seconds === null) return w().none;
  const unit = seconds < 90 ? ["second", seconds] : seconds < 5400 ? ["minute", seconds / 60] : ["hour", seconds / 3600];
  return new Intl.NumberFormat(lang, { style: "unit", unit: unit[0], unitDisplay: "long", maximumFractionDigits: unit[0] === "hour" ? 1 : 0 }).format(unit[1]);
}

function renderRun(t) {
  const s = state.status, p = state.points.at(-1);
  $("run-title").textContent = s.run_id;
  document.title = `${s.step}/${s.steps} ${s.run_id} · Yohaku`;
  $("bar").setAttribute("aria-valuemax", s.steps);
  $("bar").setAttribute("aria-valuenow", s.step);
  $("bar").firstElementChild.style.width = 100 * s.step / Math.max(1, s.steps) + "%";
  const rows = [[t.state, s.state], [t.step, t.of(s.step, s.steps)], [t.left, clock(left(s), state.lang)], [t.loss, p ? short(p.loss) : t.none], [t.margin, p ? short(p.log_odds) : t.none],
    [t.throughput, p ? short(p.items_per_second) : t.none], [t.ranks, s.nodes.filter(n => n.rank >= 0).length]];
  $("figures").replaceChildren(...rows.map(([name, value]) => {
    const div = document.createElement("div"), dt = document.createElement("dt"), dd = document.createElement("dd");
    dt.textContent = name; dd.textContent = value;
    div.append(dt, dd);
    return div;
  }));
  for (const c of charts) { c.points = state.points; c.draw(t); }
}

function renderCluster(t) {
  const s = state.status, all = s.nodes.reduce((a, n) => a + n.items_per_second, 0);
  const share = n => n.rank >= 0 && all > 0 ? Math.round(100 * n.items_per_second / all) + " %" : t.none;
  $("nodes").tBodies[0].replaceChildren(...s.nodes.map(n => {
    const tr = document.createElement("tr");
    for (const [value, kind] of [[n.rank >= 0 ? n.rank : t.standby], [n.name], [n.host], [n.device], [n.kernel_set], [n.items_per_second.toFixed(1), "n"], [share(n), "n"], [n.state]]) {
      const td = document.createElement("td");
      td.textContent = value;
      if (kind) td.className = kind;
      tr.append(td);
    }
    return tr;
  }));
  drawRing(s.nodes.filter(n => n.rank >= 0), share, s.generation);
  $("operator").hidden = !state.operator;
  const lines = state.events.slice(-100).reverse().map(e => {
    const li = document.createElement("li"), time = document.createElement("time"), what = document.createElement("span"), at = document.createElement("time");
    time.dateTime = e.time; time.textContent = new Date(e.time).toLocaleTimeString(state.lang);
    what.textContent = t[e.kind]?.(e) ?? e.kind;
    at.textContent = t.atStep(e.step);
    li.append(time, what, at);
    return li;
  });
  if (!lines.length) { lines.push(document.createElement("li")); lines[0].textContent = t.nothing; }
  $("timeline").replaceChildren(...lines);
}

function drawRing(ranks, share, generation) {
  const parts = [], n = ranks.length, c = 210, r = n > 1 ? 130 : 0;
  const at = i => [c + r * Math.sin(2 * Math.PI * i / n), c - r * Math.cos(2 * Math.PI * i / n)];
  if (n > 1) parts.push(svg("circle", { class: "link", cx: c, cy: c, r }));
  ranks.forEach((node, i) => {
    const [x, y] = at(i);
    parts.push(svg("circle", { cx: x, cy: y, r: 26 }), svg("text", { class: "rank", x, y: y + 5, "text-anchor": "middle" }, node.rank),
      svg("text", { class: "name", x, y: y + 44, "text-anchor": "middle" }, node.name), svg("text", { x, y: y + 58, "text-anchor": "middle" }, `${node.items_per_second.toFixed(1)}/s · ${share(node)}`));
  });
  if (n > 1) parts.push(svg("text", { class: "rank", x: c, y: c + 5, "text-anchor": "middle" }, `#${generation} ↻`));
  $("ring").querySelector("g").replaceChildren(...parts);
}

// busy shows another word on a button for a while.
function busy(button, word, ms) {
  button.dataset.busy = "1"; button.textContent = word;
  setTimeout(() => { delete button.dataset.busy; soon(); }, ms);
}

$("lang").addEventListener("click", () => { state.lang = state.lang === "en" ? "ja" : "en"; localStorage.setItem("lang", state.lang); render(); });
$("copy").addEventListener("click", async () => { await navigator.clipboard.writeText($("join").textContent); busy($("copy"), w().copied, 2000); });
$("stop").addEventListener("click", () => {
  if ($("stop").dataset.busy) get("stop", { method: "POST" }).then(s => { state.status = s; soon(); }, console.warn);
  else busy($("stop"), w().sure, 4000);
});
addEventListener("hashchange", () => { render(); $("main").focus(); });
zoom.addEventListener("change", soon);
render();
start();
