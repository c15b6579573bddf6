// The fleet table: one row per host, kept up to date by pushes, sorted in the browser. On a phone the rows are cards.

import { duration, h, keeper, show, stream } from "./live.js";

const STATUS = {
  live: ["✓", "Live"], late: ["◆", "Late"], silent: ["▲", "Silent"], never_seen: ["?", "Never seen"], retired: ["–", "Retired"],
};
const ORDER = { silent: 0, late: 1, live: 2, never_seen: 3, retired: 4 };
const COLUMNS = [
  ["status", "Status", (row) => ORDER[row.status] ?? 9],
  ["name", "Host", (row) => row.name.toLowerCase()],
  ["cpu", "CPU", (row) => -(row.latest["cpu.percent"] ?? -1)],
  ["memory", "Memory", (row) => -(row.latest["memory.used_percent"] ?? -1)],
  ["disk", "Fullest disk", (row) => -(row.latest["disk.used_percent"] ?? -1)],
  ["load", "Load", (row) => -(row.latest["load.1m"] ?? -1)],
  ["spark", "CPU, last hour", null],
  ["seen", "Last seen", (row) => -(row.seen ?? 0)],
  ["incidents", "Incidents", (row) => -row.open_incidents],
];
const LEVELS = { "cpu.percent": [80, 93], "memory.used_percent": [85, 94], "disk.used_percent": [80, 90] };

export const mount = keeper((element) => new Fleet(element));

class Fleet {
  constructor(element) {
    this.sort = "status";
    this.down = false;
    this.rows = new Map();
    this.body = h("tbody", {});
    this.heads = COLUMNS.map(([id, label, by]) => h(
      "th", { scope: "col", class: `fw-c-${id}` },
      by ? h("button", { type: "button", onclick: () => this.order(id) }, label, h("span", { "aria-hidden": "true" })) : label,
    ));
    this.table = h("table", { class: "fw-fleet" }, h("thead", {}, h("tr", {}, ...this.heads)), this.body);
    this.root = h("div", { class: "fw-fleet-box" }, this.table);
    element.append(this.root);
    this.timer = setInterval(() => { if (!document.hidden) this.ages(); }, 1000);
  }

  update(component) {
    this.component = component;
    const data = component.data;
    if (this.revision === data.revision) return;
    this.revision = data.revision;
    this.data = data;
    this.skew = Date.now() - data.now;
    const kept = new Set();
    for (const host of data.hosts) {
      kept.add(host.id);
      const row = this.rows.get(host.id) || { node: h("tr", {}) };
      const newer = row.seen && row.seen > (host.last_seen_at || 0);
      Object.assign(row, host, { seen: newer ? row.seen : host.last_seen_at, latest: { ...host.latest, ...(newer ? row.latest : {}) } });
      this.rows.set(host.id, row);
      this.fill(row);
    }
    for (const [id, row] of this.rows) if (!kept.has(id)) { row.node.remove(); this.rows.delete(id); }
    this.place();
    if (this.stop) this.stop();
    if (data.stream) this.stop = stream(data).follow(["fleet"], data.after, (message) => this.take(message));
    this.root.dataset.ready = "true";
  }

  take(message) {
    const { host_id: id, times, series, status } = message.data;
    const row = this.rows.get(id);
    if (!row || message.type !== "samples" || !Array.isArray(times) || !Array.isArray(series)) return;
    row.seen = Math.max(row.seen || 0, times[times.length - 1]);
    row.status = typeof status === "string" ? status : "live";
    const seen = {};
    for (const one of series) {
      const value = one.values[one.values.length - 1];
      if (value !== null && value !== undefined) seen[one.metric] = Math.max(value, seen[one.metric] ?? -Infinity);
    }
    Object.assign(row.latest, seen);
    this.root.dataset.newest = String(times[times.length - 1]);
    if (!document.hidden) this.fill(row);
  }

  fill(row) {
    const [icon, word] = STATUS[row.status] || ["?", row.status];
    const stale = row.status !== "live" && row.status !== "late";
    const link = h("a", { href: `${this.data.base}host?id=${encodeURIComponent(row.id)}`, class: "fw-open" }, row.name);
    link.addEventListener("click", (event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
      event.preventDefault();
      this.component.setTriggerValue("open", row.id);
    });
    const chips = Object.entries(row.labels || {}).slice(0, 4).map(([k, v]) => h("span", { class: "fw-chip", title: `${k}: ${v}` }, v));
    row.age = h("time", {});
    const incidents = row.open_incidents
      ? h("a", { href: `${this.data.base}incidents?host=${encodeURIComponent(row.id)}`, class: "fw-count" }, `${row.open_incidents} open`)
      : h("span", { class: "fw-none" }, "none");
    row.node.className = `fw-${row.status}${stale ? " fw-stale" : ""}`;
    row.node.replaceChildren(
      h("td", { class: "fw-c-status" }, h("span", { class: `fw-status fw-s-${row.status}` }, h("i", { "aria-hidden": "true" }, icon), word)),
      h("td", { class: "fw-c-name" }, link, h("span", { class: "fw-chips" }, ...chips)),
      ...["cpu.percent", "memory.used_percent", "disk.used_percent"].map((metric, i) => h("td", { class: `fw-c-${["cpu", "memory", "disk"][i]}`, "data-label": ["CPU", "Memory", "Disk"][i] }, bar(metric, row.latest[metric]))),
      h("td", { class: "fw-c-load", "data-label": "Load" }, show(row.latest["load.1m"], "")),
      h("td", { class: "fw-c-spark" }, spark(row.spark || [])),
      h("td", { class: "fw-c-seen", "data-label": "Seen" }, row.age),
      h("td", { class: "fw-c-incidents" }, incidents),
    );
    this.age(row);
  }

  age(row) {
    if (!row.seen) { row.age.textContent = "never"; return; }
    const seconds = (Date.now() - this.skew - row.seen) / 1000;
    row.age.textContent = seconds < 1 ? "now" : `${duration(seconds)} ago`;
    row.age.title = new Date(row.seen).toLocaleString();
  }

  ages() { for (const row of this.rows.values()) if (row.age) this.age(row); }

  order(id) {
    this.down = this.sort === id ? !this.down : false;
    this.sort = id;
    this.place();
  }

  place() {
    const by = COLUMNS.find(([id]) => id === this.sort)[2];
    const rows = [...this.rows.values()].sort((a, b) => {
      const [x, y] = [by(a), by(b)];
      const first = x < y ? -1 : x > y ? 1 : a.name.localeCompare(b.name);
      return this.down ? -first : first;
    });
    this.body.replaceChildren(...rows.map((row) => row.node));
    this.heads.forEach((head, i) => {
      const active = COLUMNS[i][0] === this.sort;
      head.setAttribute("aria-sort", active ? (this.down ? "descending" : "ascending") : "none");
      const mark = head.querySelector("button span");
      if (mark) mark.textContent = active ? (this.down ? " ▾" : " ▴") : "";
    });
  }

  destroy() {
    clearInterval(this.timer);
    if (this.stop) this.stop();
    this.root.remove();
  }
}

function bar(metric, value) {
  const known = typeof value === "number";
  const [warm, hot] = LEVELS[metric];
  const level = !known ? "none" : value >= hot ? "hot" : value >= warm ? "warm" : "fine";
  const width = known ? Math.max(0, Math.min(100, value)) : 0;
  return h("span", { class: `fw-bar fw-${level}` }, h("b", {}, known ? `${value.toFixed(value >= 10 ? 0 : 1)} %` : "–"), h("i", { "aria-hidden": "true" }, h("u", { style: `width:${width}%` })));
}

function spark(values) {
  const known = values.filter((v) => typeof v === "number");
  if (known.length < 2) return h("span", { class: "fw-none" }, "–");
  const top = Math.max(20, ...known);
  const step = 100 / (values.length - 1);
  const points = values.map((v, i) => (typeof v === "number" ? `${(i * step).toFixed(1)},${(23 - (v / top) * 21).toFixed(1)}` : null)).filter(Boolean);
  return h("svg", { viewBox: "0 0 100 24", preserveAspectRatio: "none", class: "fw-spark", role: "img", "aria-label": `CPU in the last hour, newest ${known[known.length - 1].toFixed(0)} %` },
    h("polyline", { points: points.join(" "), fill: "none", "vector-effect": "non-scaling-stroke" }));
}
