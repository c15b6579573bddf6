// Time charts: panels of Plotly traces with one cursor, live samples appended as they come, zoom reported to Python.

import { h, keeper, offset, show, stream } from "./live.js";

const MOST_POINTS = 1500;
const DRAW_EVERY_MS = 150;
const SLIDE_EVERY_MS = 2000;
const GAP_STEPS = 2.5;
const MARK_REACH = 14;
const SEVERITY = { critical: "#D55E00", high: "#D55E00", warning: "#C98A00", info: "#0072B2" };

let loading = null;
function plotly(assets) {
  if (window.Plotly) return Promise.resolve(window.Plotly);
  loading ??= new Promise((resolve, reject) => {
    const script = h("script", { src: assets + "plotly.min.js" });
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => { loading = null; reject(new Error("the chart library did not load")); };
    document.head.append(script);
  });
  return loading;
}

export const mount = keeper((element) => new Charts(element));

class Charts {
  constructor(element) {
    this.root = h("div", { class: "fw-charts" });
    element.append(this.root);
    this.panels = new Map();
    this.stops = [];
    this.dirty = new Set();
    this.zoomed = false;
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.root);
    this.onTheme = () => this.redraw();
    this.themes = new MutationObserver(() => this.checkTheme());
    this.themes.observe(document.head, { childList: true });
    this.onVisible = () => { if (!document.hidden) this.redraw(); };
    document.addEventListener("visibilitychange", this.onVisible);
    this.timer = setInterval(() => this.slide(), SLIDE_EVERY_MS);
  }

  async update(component) {
    const data = component.data;
    this.component = component;
    if (this.revision === data.revision && this.data) return;
    this.revision = data.revision;
    this.data = data;
    this.zoomed = false;
    this.skew = null;
    try {
      this.plotly = await plotly(data.assets);
    } catch (error) {
      this.root.replaceChildren(h("p", { class: "fw-empty" }, `No charts: ${error.message}. Reload the page to try again.`));
      return;
    }
    if (this.data !== data || this.gone) return;
    this.build();
    this.listen();
  }

  build() {
    const seen = new Set();
    const nodes = [];
    for (const spec of this.data.panels) {
      seen.add(spec.id);
      let panel = this.panels.get(spec.id);
      if (!panel) { panel = new Panel(this); this.panels.set(spec.id, panel); }
      panel.set(spec);
      nodes.push(panel.node);
    }
    for (const [id, panel] of this.panels) {
      if (!seen.has(id)) { panel.destroy(); this.panels.delete(id); }
    }
    const same = nodes.length === this.root.children.length && nodes.every((n, i) => this.root.children[i] === n);
    if (!same) this.root.replaceChildren(...nodes);
    this.root.dataset.columns = String(this.data.columns || 2);
    this.redraw();
    this.root.dataset.ready = "true";
  }

  listen() {
    for (const stop of this.stops) stop();
    this.stops = [];
    if (!this.data.stream || !this.data.follow) return;
    const live = stream(this.data);
    this.stops.push(live.follow(this.data.topics, this.data.after, (message) => this.take(message)));
  }

  /** Append the samples of one push to the traces that show them. */
  take(message) {
    if (message.type !== "samples") return;
    const { host_id: host, times, series } = message.data;
    if (!Array.isArray(times) || !Array.isArray(series)) return;
    const newest = times[times.length - 1];
    this.skew = Math.min(this.skew ?? Infinity, Date.now() - newest);
    for (const panel of this.panels.values()) {
      for (const one of series) {
        if (panel.append(host, one.metric, labelKey(one.labels), times, one.values)) this.dirty.add(panel);
      }
    }
    this.root.dataset.newest = String(newest);
    if (!this.zoomed) this.schedule();
  }

  schedule() {
    if (this.pending || document.hidden) return;
    const wait = Math.max(0, DRAW_EVERY_MS - (performance.now() - (this.drawn || 0)));
    this.pending = setTimeout(() => {
      this.pending = null;
      this.drawn = performance.now();
      for (const panel of this.dirty) panel.draw();
      this.dirty.clear();
      this.root.dataset.drawn = this.root.dataset.newest || "";
      this.root.dataset.drawnAt = String(Date.now());
    }, wait);
  }

  /** The visible time span in epoch ms; it moves with the clock while following. */
  span() {
    const { from, to } = this.data.window;
    if (!this.data.follow) return [from, to];
    const now = Date.now() - Math.max(0, Math.min(this.skew ?? 0, 5000));
    return [now - (to - from), now];
  }

  slide() {
    if (!this.data || !this.data.follow || this.zoomed || document.hidden || !this.plotly) return;
    for (const panel of this.panels.values()) panel.slide();
  }

  redraw() {
    if (!this.plotly || !this.data) return;
    for (const panel of this.panels.values()) panel.draw();
  }

  checkTheme() {
    const now = getComputedStyle(this.root).color;
    if (this.color && this.color !== now) this.redraw();
    this.color = now;
  }

  resize() {
    if (!this.plotly) return;
    const width = this.root.clientWidth;
    if (width && width !== this.width) { this.width = width; for (const p of this.panels.values()) p.resize(); }
  }

  cursor(at, fraction) {
    for (const panel of this.panels.values()) panel.cursor(at, fraction);
  }

  zoom(range) {
    this.zoomed = true;
    this.component.setTriggerValue("range", range);
  }

  destroy() {
    this.gone = true;
    clearInterval(this.timer);
    clearTimeout(this.pending);
    this.observer.disconnect();
    this.themes.disconnect();
    document.removeEventListener("visibilitychange", this.onVisible);
    for (const stop of this.stops) stop();
    for (const panel of this.panels.values()) panel.destroy();
    this.root.remove();
  }
}

class Panel {
  constructor(charts) {
    this.charts = charts;
    this.title = h("h3", {});
    this.legend = h("div", { class: "fw-legend" });
    this.time = h("span", { class: "fw-at" });
    this.plot = h("div", { class: "fw-plot" });
    this.line = h("div", { class: "fw-cursor" });
    this.empty = h("p", { class: "fw-empty" });
    this.save = h("button", { class: "fw-save", type: "button", title: "Save as PNG", "aria-label": "Save as PNG" }, "⤓");
    this.save.onclick = () => this.download();
    this.frame = h("div", { class: "fw-frame" }, this.plot, this.line, this.empty);
    this.node = h("figure", { class: "fw-panel" }, h("figcaption", {}, this.title, this.time, this.save), this.legend, this.frame);
    this.frame.addEventListener("pointermove", (event) => this.point(event));
    this.frame.addEventListener("pointerleave", () => this.charts.cursor(null));
  }

  set(spec) {
    this.spec = spec;
    this.traces = spec.traces.map((trace) => ({ ...trace, times: trace.times.slice(), values: trace.values.slice() }));
    this.byKey = new Map();
    for (const trace of this.traces) {
      if (trace.metric) this.byKey.set(`${trace.host_id}|${trace.metric}|${labelKey(trace.labels)}`, trace);
    }
    this.title.textContent = spec.title;
    this.node.setAttribute("aria-label", `${spec.title}, ${this.traces.map((t) => t.name).join(", ")}`);
    this.legendValues = this.traces.map(() => h("b", {}));
    this.legend.replaceChildren(...this.traces.map((trace, i) => (trace.quiet ? null : h(
      "span", { class: "fw-key" },
      trace.glyph
        ? h("i", { style: `color: var(--fw-series-${color(trace, i)})`, class: "fw-glyph", "aria-hidden": "true" }, trace.glyph)
        : h("i", { style: `--c: var(--fw-series-${color(trace, i)})`, class: trace.kind === "dash" ? "fw-dash" : trace.kind === "band" ? "fw-band" : null }),
      h("span", { class: "fw-name", title: trace.name }, trace.name),
      this.legendValues[i],
    ))).filter(Boolean));
  }

  /** Append samples to the trace that shows the series; returns whether there is one and something was new.
   *  On a coarse chart (buckets wider than the sampling interval) they move the tip of the line instead of crowding it. */
  append(host, metric, labels, times, values) {
    const trace = this.byKey.get(`${host}|${metric}|${labels}`);
    if (!trace || !Array.isArray(values)) return false;
    const step = this.charts.data.coarse ? this.charts.data.step_ms : 0;
    let last = trace.times.length ? trace.times[trace.times.length - 1] : -Infinity;
    let added = false;
    for (let i = 0; i < times.length; i += 1) {
      if (times[i] <= last || values[i] === null || values[i] === undefined) continue;
      added = true;
      if (times[i] - last < 0.8 * step) { trace.values[trace.values.length - 1] = values[i]; continue; }
      trace.times.push(times[i]);
      trace.values.push(values[i]);
      last = times[i];
    }
    if (trace.min) { trace.min.length = Math.min(trace.min.length, trace.times.length); trace.max.length = trace.min.length; }
    const [from] = this.charts.span();
    let cut = 0;
    while (cut < trace.times.length && trace.times[cut] < from - 60000) cut += 1;
    cut = Math.max(cut, trace.times.length - MOST_POINTS);
    if (cut > 0) {
      for (const name of ["times", "values", "min", "max"]) if (trace[name]) trace[name] = trace[name].slice(cut);
    }
    return added;
  }

  shift() {
    const [from, to] = this.charts.span();
    return offset((from + to) / 2, this.charts.data.timezone);
  }

  draw() {
    const data = this.charts.data;
    const filled = this.traces.some((trace) => trace.values.some((v) => v !== null));
    this.empty.textContent = filled ? "" : this.spec.empty || "No samples in this range.";
    this.node.classList.toggle("fw-is-empty", !filled);
    const style = getComputedStyle(this.charts.root);
    const palette = Array.from({ length: 8 }, (_, i) => resolved(this.charts.root, `--fw-series-${i}`));
    const text = resolved(this.charts.root, "--fw-muted");
    const grid = resolved(this.charts.root, "--fw-grid");
    const [from, to] = this.charts.span();
    const shift = this.shift();
    const step = data.step_ms || 5000;
    const traces = [];
    const gaps = [];
    let top = -Infinity;
    let bottom = Infinity;
    this.traces.forEach((trace, i) => {
      const c = palette[color(trace, i)];
      const x = [];
      const y = [];
      const previous = { at: null };
      for (let j = 0; j < trace.times.length; j += 1) {
        const at = trace.times[j];
        if (trace.kind !== "marks" && isGap(trace.times, j, step)) {
          x.push(iso(previous.at + shift + 1));
          y.push(null);
          if (i === 0) gaps.push([previous.at + step / 2, at - step / 2]);
        }
        x.push(iso(at + shift));
        y.push(trace.values[j]);
        previous.at = at;
        if (at >= from && trace.values[j] !== null) {
          const high = trace.max?.[j] ?? trace.values[j];
          const low = trace.min?.[j] ?? trace.values[j];
          if (high > top) top = high;
          if (low < bottom) bottom = low;
        }
      }
      if (i === 0 && previous.at !== null && data.follow && to - previous.at > 4 * step) gaps.push([previous.at + step, to]);
      if (trace.min && trace.max && trace.min.length) {
        const bx = trace.times.slice(0, trace.min.length).map((t) => iso(t + shift));
        traces.push({ x: bx, y: trace.min, mode: "lines", line: { width: 0 }, hoverinfo: "skip", connectgaps: false });
        traces.push({ x: bx, y: trace.max, mode: "lines", line: { width: 0 }, fill: "tonexty", fillcolor: alpha(c, 0.18), hoverinfo: "skip", connectgaps: false });
      }
      if (trace.kind === "band") return;
      if (trace.kind === "marks") {
        const tint = trace.symbol ? c : SEVERITY.critical;
        traces.push({ x, y, mode: "markers", hoverinfo: "none", marker: { size: trace.symbol ? 11 : 9, symbol: trace.symbol || "diamond-open", color: tint, line: { width: 2 } } });
        return;
      }
      // An area would be filled straight across a gap, which must look like one.
      const alone = this.traces.filter((t) => !t.quiet).length === 1 && !trace.min && !y.includes(null);
      traces.push({
        x, y, mode: y.length === 1 ? "markers" : "lines", hoverinfo: "none", connectgaps: false, type: "scatter",
        line: { color: c, width: 1.7, dash: trace.kind === "dash" ? "dash" : "solid", shape: trace.kind === "step" ? "hv" : "linear" },
        fill: alone ? "tozeroy" : "none", fillcolor: alone ? alpha(c, 0.1) : undefined,
      });
    });
    const axis = this.axis(bottom, top);
    const shapes = gaps.filter(([, b]) => b > from).map(([a, b]) => rect(a + shift, b + shift, text, 0.09));
    for (const span of this.spec.spans || []) {
      const tint = SEVERITY[span.severity] || SEVERITY.info;
      const [a, b] = [Math.max(span.from, from) + shift, Math.min(span.to ?? to, to) + shift];
      shapes.push(rect(a, b, tint, 0.06));
      shapes.push({ type: "line", x0: iso(a), x1: iso(b), yref: "paper", y0: 1, y1: 1, line: { color: tint, width: 4 } });
      if (span.from >= from) shapes.push({ type: "line", x0: iso(a), x1: iso(a), yref: "paper", y0: 0, y1: 1, line: { color: tint, width: 1.2 } });
    }
    if (this.spec.now) shapes.push({ type: "line", x0: iso(this.spec.now + shift), x1: iso(this.spec.now + shift), yref: "paper", y0: 0, y1: 1, line: { color: text, width: 1, dash: "dot" } });
    for (const line of this.spec.lines || []) {
      shapes.push({ type: "line", xref: "paper", x0: 0, x1: 1, y0: line.value, y1: line.value, line: { color: SEVERITY[line.severity] || text, width: 1.4, dash: "dot" } });
    }
    const layout = {
      autosize: true,
      margin: { l: 58, r: 10, t: 6, b: 34 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: style.fontFamily, size: 11, color: text },
      showlegend: false,
      dragmode: this.charts.touch ? false : "zoom",
      hovermode: false,
      uirevision: data.revision,
      xaxis: { type: "date", range: [iso(from + shift), iso(to + shift)], gridcolor: grid, zeroline: false, fixedrange: false, nticks: this.plot.clientWidth < 420 ? 4 : 7, tickangle: 0, linecolor: grid },
      yaxis: { range: axis.range, tickvals: axis.ticks, ticktext: axis.ticks.map((v) => show(v, this.spec.unit).replace(/\.0(?= |$)/, "")), gridcolor: grid, zeroline: false, fixedrange: true },
      shapes,
    };
    this.bottomTop = axis.range;
    const first = !this.plot.classList.contains("js-plotly-plot");
    this.charts.plotly.react(this.plot, traces, layout, { displayModeBar: false, responsive: false, doubleClick: false, showTips: false });
    if (first) this.wire();
    this.values(null);
  }

  wire() {
    // While a button is down Plotly lays a sheet over the page, so the release is heard on the window.
    this.frame.addEventListener("pointerdown", (down) => window.addEventListener("pointerup", (up) => {
      const moved = Math.hypot(up.clientX - down.clientX, up.clientY - down.clientY);
      const mark = moved < 4 && !this.charts.gone ? this.markAt(up) : null;
      if (mark) this.charts.component.setTriggerValue("open", mark);
    }, { once: true }), true);
    this.plot.on("plotly_relayout", (event) => {
      if (event["xaxis.range[0]"] === undefined || this.sliding) return;
      const shift = this.shift();
      const ms = (value) => Math.round(Date.parse(`${String(value).replace(" ", "T")}Z`) - shift);
      this.charts.zoom({ from: ms(event["xaxis.range[0]"]), to: ms(event["xaxis.range[1]"]) });
    });
    this.plot.on("plotly_doubleclick", () => this.charts.zoom(null));
  }

  slide() {
    if (!this.plot.classList.contains("js-plotly-plot")) return;
    const [from, to] = this.charts.span();
    const shift = this.shift();
    const newest = Math.max(...this.traces.map((t) => (t.times.length ? t.times[t.times.length - 1] : 0)));
    if (to - newest > 4 * (this.charts.data.step_ms || 5000)) { this.draw(); return; }
    this.sliding = true;
    this.charts.plotly.relayout(this.plot, { "xaxis.range": [iso(from + shift), iso(to + shift)] }).then(() => { this.sliding = false; });
  }

  resize() {
    if (this.plot.classList.contains("js-plotly-plot")) this.charts.plotly.Plots.resize(this.plot);
  }

  /** Return the y range and at most six round ticks for what is shown. */
  axis(bottom, top) {
    const [low, high] = this.spec.range || [null, null];
    let a = low ?? (Number.isFinite(bottom) ? Math.min(0, bottom) : 0);
    let b = high ?? (Number.isFinite(top) ? top : 1);
    for (const line of this.spec.lines || []) if (high === null) b = Math.max(b, line.value);
    if (this.spec.fit) {
      [bottom, top] = this.spec.fit;
      // What is compared is a range: it fills the panel, with air around it, and zero need not be in sight.
      const air = (top - bottom) * 0.1 || Math.abs(top) * 0.05 || 1;
      a = low === null || low === undefined ? bottom - air : Math.max(low, bottom - air);
      b = high === null || high === undefined ? top : Math.min(high, top + air);
    }
    if (b <= a) b = a + 1;
    if (high === null || high === undefined) b = a + (b - a) * 1.12;
    const rough = Math.max((b - a) / 4, 1e-9);
    const decade = 10 ** Math.floor(Math.log10(rough));
    const step = this.spec.unit.startsWith("B")
      ? 2 ** Math.max(0, Math.ceil(Math.log2(rough)))
      : [1, 2, 2.5, 5, 10].map((m) => m * decade).find((s) => s >= rough) || 10 * decade;
    const ticks = [];
    for (let v = Math.ceil(a / step) * step; v <= b + step * 1e-6; v += step) ticks.push(v);
    return { range: [a, high === null || high === undefined ? b : b + (b - a) * 0.02], ticks };
  }

  /** Return the id of the mark under the pointer, or null. */
  markAt(event) {
    const box = this.plot.querySelector(".nsewdrag")?.getBoundingClientRect();
    if (!box || !this.bottomTop) return null;
    const [from, to] = this.charts.span();
    const [low, high] = this.bottomTop;
    let best = null;
    let nearest = MARK_REACH;
    for (const trace of this.traces.filter((t) => t.kind === "marks" && t.ids)) {
      trace.ids.forEach((id, i) => {
        const x = box.left + ((trace.times[i] - from) / (to - from)) * box.width;
        const y = box.bottom - ((trace.values[i] - low) / (high - low)) * box.height;
        const distance = Math.hypot(event.clientX - x, event.clientY - y);
        if (distance < nearest) { nearest = distance; best = id; }
      });
    }
    return best;
  }

  point(event) {
    this.plot.classList.toggle("fw-on-mark", this.markAt(event) !== null);
    const box = this.plot.querySelector(".nsewdrag")?.getBoundingClientRect();
    if (!box || !box.width) return;
    const fraction = (event.clientX - box.left) / box.width;
    if (fraction < 0 || fraction > 1) { this.charts.cursor(null); return; }
    const [from, to] = this.charts.span();
    this.charts.cursor(from + fraction * (to - from), fraction);
  }

  /** Show the cursor at a time (epoch ms) and the values there; null puts the newest values back. */
  cursor(at, fraction) {
    const box = this.plot.querySelector(".nsewdrag")?.getBoundingClientRect();
    if (at === null || !box) { this.line.style.display = "none"; this.time.textContent = ""; this.values(null); return; }
    const left = box.left - this.frame.getBoundingClientRect().left;
    this.line.style.cssText = `display:block;left:${left + fraction * box.width}px`;
    const zone = this.charts.data.timezone;
    this.time.textContent = new Date(at + offset(at, zone)).toISOString().replace("T", " ").slice(5, 19);
    this.values(at);
  }

  values(at) {
    const step = this.charts.data.step_ms || 5000;
    this.traces.forEach((trace, i) => {
      if (trace.glyph) return;
      if (trace.kind === "band") { this.legendValues[i].textContent = this.range(trace, at, step); return; }
      let value = null;
      if (at === null) {
        for (let j = trace.values.length - 1; j >= 0 && value === null; j -= 1) value = trace.values[j];
      } else {
        const j = nearest(trace.times, at);
        if (j >= 0 && Math.abs(trace.times[j] - at) <= GAP_STEPS * usual(trace.times, j, step)) value = trace.values[j];
      }
      const shown = show(value, this.spec.unit);
      if (this.legendValues[i].textContent !== shown) this.legendValues[i].textContent = shown;
    });
  }

  /** Return the band at a time in words, the newest one for null. */
  range(trace, at, step) {
    const j = at === null ? trace.times.length - 1 : nearest(trace.times, at);
    if (j < 0 || (at !== null && Math.abs(trace.times[j] - at) > GAP_STEPS * usual(trace.times, j, step))) return "–";
    return `${show(trace.min[j], this.spec.unit)} – ${show(trace.max[j], this.spec.unit)}`;
  }

  download() {
    const name = this.spec.title.replace(/[^\w.-]+/g, "-").toLowerCase();
    const style = getComputedStyle(this.node);
    this.charts.plotly.toImage({ data: this.plot.data, layout: { ...this.plot.layout, paper_bgcolor: style.backgroundColor, title: { text: "" } } }, { format: "png", width: 1200, height: 420, scale: 2 })
      .then((url) => { h("a", { href: url, download: `${name}.png` }).click(); });
  }

  destroy() {
    if (this.charts.plotly) this.charts.plotly.purge(this.plot);
    this.node.remove();
  }
}

function labelKey(labels) {
  return JSON.stringify(Object.entries(labels || {}).sort());
}

function color(trace, index) {
  return (trace.color ?? index) % 8;
}

function nearest(times, at) {
  let low = 0;
  let high = times.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] < at) low = middle + 1; else high = middle;
  }
  return low > 0 && at - times[low - 1] < times[low] - at ? low - 1 : low;
}

/** Plotly reads numbers on a date axis in the browser's own timezone, and text as it stands: always give it text. */
function iso(ms) {
  return new Date(ms).toISOString().slice(0, 23);
}

/** Return how far apart the samples around `j` usually are: at least `step`, more where sampling was slower then. */
function usual(times, j, step) {
  const near = [];
  for (const k of [j - 2, j - 1, j + 1, j + 2]) if (k > 0 && k < times.length) near.push(times[k] - times[k - 1]);
  near.sort((a, b) => a - b);
  return Math.max(step, near.length ? near[near.length >> 1] : 0);
}

/** Whether samples are missing between `j - 1` and `j`, and not merely taken at a slower interval. */
function isGap(times, j, step) {
  if (j === 0) return false;
  const apart = times[j] - times[j - 1];
  return apart > GAP_STEPS * step && apart > GAP_STEPS * usual(times, j, step);
}

function rect(x0, x1, fill, opacity) {
  return { type: "rect", x0: iso(x0), x1: iso(x1), yref: "paper", y0: 0, y1: 1, fillcolor: fill, opacity, line: { width: 0 }, layer: "below" };
}

/** Return a style variable as a colour Plotly understands: browsers give mixed colours as color(srgb r g b / a). */
function resolved(element, name) {
  const probe = h("span", { style: `display:none;color:var(${name})` });
  element.append(probe);
  const c = getComputedStyle(probe).color;
  probe.remove();
  const mixed = /^color\(srgb ([\d.e-]+) ([\d.e-]+) ([\d.e-]+)(?: \/ ([\d.e-]+))?\)$/.exec(c);
  if (!mixed) return c;
  return `rgba(${mixed.slice(1, 4).map((p) => Math.round(p * 255)).join(",")},${mixed[4] ?? 1})`;
}

function alpha(c, a) {
  const rgb = /^rgba?\(([^,]+),([^,]+),([^,)]+)/.exec(c);
  return rgb ? `rgba(${rgb.slice(1).join(",")},${a})` : c;
}

