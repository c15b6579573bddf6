// The page's end of the live stream (/farwatch/live): one WebSocket for all components of a page.
// Components say which topics they follow; messages carry a sequence number per topic, and after a break the stream
// asks for what it missed.

const streams = new Map();

/** Return the page's stream for the given mount data, opening it on first use. */
export function stream(data) {
  const id = data.stream.path + " " + data.stream.key;
  if (!streams.has(id)) {
    for (const [other, old] of streams) { old.close(); streams.delete(other); }
    streams.set(id, new Stream(data.stream.path, data.stream.key));
  }
  return streams.get(id);
}

class Stream {
  constructor(path, key) {
    this.url = location.origin.replace(/^http/, "ws") + path;
    this.key = key;
    this.followers = new Set();
    this.statusListeners = new Set();
    this.last = new Map();
    this.state = "connecting";
    this.reason = "";
    this.newest = null;
    this.failures = 0;
    this.closed = false;
    this.open();
  }

  /** Call `listener(message)` for messages on `topics`; `after` replays what the server still holds. */
  follow(topics, after, listener) {
    const follower = { topics: new Set(topics), listener };
    this.followers.add(follower);
    for (const topic of topics) {
      if (after && Number.isInteger(after[topic]) && !this.last.has(topic)) this.last.set(topic, after[topic]);
    }
    this.hello(after);
    return () => { this.followers.delete(follower); this.hello(); };
  }

  /** Call `listener()` whenever the state of the connection changes. */
  watch(listener) {
    this.statusListeners.add(listener);
    listener();
    return () => this.statusListeners.delete(listener);
  }

  open() {
    if (this.closed) return;
    const socket = new WebSocket(this.url);
    this.socket = socket;
    socket.onopen = () => { this.sent = null; this.hello(Object.fromEntries(this.last)); };
    socket.onmessage = (event) => this.take(JSON.parse(event.data));
    socket.onclose = (event) => {
      if (this.socket !== socket || this.closed) return;
      this.socket = null;
      if (event.code === 4401) { this.set("signed_out", "sign in again"); return; }
      this.failures += 1;
      this.set(this.failures > 2 ? "offline" : "reconnecting", "the dashboard's server does not answer");
      const wait = Math.random() * Math.min(15000, 500 * 2 ** this.failures) + 200;
      setTimeout(() => this.open(), wait);
    };
  }

  hello(after) {
    const topics = new Set();
    for (const follower of this.followers) for (const topic of follower.topics) topics.add(topic);
    const wanted = [...topics].sort();
    if (!this.socket || this.socket.readyState !== WebSocket.OPEN) return;
    if (this.sent === wanted.join(" ") && !after) return;
    this.sent = wanted.join(" ");
    this.socket.send(JSON.stringify({ key: this.key, topics: wanted, after: after || {} }));
  }

  take(message) {
    this.failures = 0;
    if (message.status) {
      this.set(message.status.state, message.status.reason);
      if (message.status.age_s !== null && this.newest === null) {
        this.newest = performance.now() - message.status.age_s * 1000;
      }
      return;
    }
    this.last.set(message.topic, message.seq);
    this.newest = performance.now();
    for (const follower of this.followers) {
      if (follower.topics.has(message.topic)) follower.listener(message);
    }
  }

  set(state, reason) {
    this.state = state;
    this.reason = reason || "";
    for (const listener of this.statusListeners) listener();
  }

  close() {
    this.closed = true;
    if (this.socket) this.socket.close();
  }
}

/** Keep one instance per mounted element: `make(element)` on the first render, `instance.update(component)` on each. */
export function keeper(make) {
  const instances = new WeakMap();
  return (component) => {
    const element = component.parentElement;
    let instance = instances.get(element);
    if (!instance) {
      instance = make(element);
      instances.set(element, instance);
    }
    instance.update(component);
    return () => { instances.delete(element); instance.destroy(); };
  };
}

/** Create an element with attributes and children; strings become text, never markup. */
export function h(tag, attributes = {}, ...children) {
  const svg = ["svg", "polyline", "path", "line", "rect"].includes(tag);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.filter((child) => child !== null && child !== undefined).map((c) => (c.nodeType ? c : String(c))));
  return node;
}

const BINARY = ["", "Ki", "Mi", "Gi", "Ti", "Pi"];
const DECIMAL = ["", "k", "M", "G", "T"];

/** Format a value with its unit (as the API names units), short enough for a legend. */
export function show(value, unit) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (unit === "s") return duration(value);
  if (unit === "%" || unit === "°C" || unit === "ms") return `${round(value)} ${unit}`;
  const [base, names] = unit.startsWith("B") ? [1024, BINARY] : [1000, DECIMAL];
  let size = Math.abs(value);
  let step = 0;
  while (size >= base && step < names.length - 1) { size /= base; step += 1; }
  const gap = unit === "/s" && !names[step] ? "" : " ";
  return `${value < 0 ? "-" : ""}${round(size)}${gap}${names[step]}${unit}`.trimEnd();
}

function round(value) {
  const size = Math.abs(value);
  return size >= 100 ? value.toFixed(0) : size >= 10 ? trim(value.toFixed(1)) : size >= 1 || size === 0 ? trim(value.toFixed(2)) : trim(value.toPrecision(2));
}

function trim(text) {
  return text.includes(".") && !text.includes("e") ? text.replace(/\.?0+$/, "") : text;
}

/** Format a number of seconds as "12 s", "3 min", "5 h", "2 d". */
export function duration(seconds) {
  const size = Math.max(0, seconds);
  if (size < 60) return `${Math.round(size)} s`;
  if (size < 3600) return `${Math.round(size / 60)} min`;
  if (size < 48 * 3600) return `${Math.round(size / 3600)} h`;
  return `${Math.round(size / 86400)} d`;
}

/** Return how far `timezone` is ahead of UTC at `at` (epoch ms), in ms. */
export function offset(at, timezone) {
  let format = formats.get(timezone);
  if (!format) {
    const options = { hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric", second: "numeric" };
    try {
      format = new Intl.DateTimeFormat("en-US", { ...options, timeZone: timezone || undefined });
    } catch {
      format = new Intl.DateTimeFormat("en-US", options);
    }
    formats.set(timezone, format);
  }
  const part = Object.fromEntries(format.formatToParts(new Date(at)).map((p) => [p.type, Number(p.value)]));
  return Date.UTC(part.year, part.month - 1, part.day, part.hour, part.minute, part.second) - Math.floor(at / 1000) * 1000;
}
const formats = new Map();
