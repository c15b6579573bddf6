// The socket indicator in the sidebar: the state of both legs (browser to dashboard, dashboard to back end), the age of
// the newest message, and the nudge that makes Python look again when an incident or a notification changed.

import { duration, h, keeper, stream } from "./live.js";
import { resume } from "./return.js";

const NUDGE_EVERY_MS = 1000;
const POLL_EVERY_MS = 10000;
const STALE_S = 15;
const SHOWN = {
  connected: ["●", "Connected", "good"], connecting: ["◌", "Connecting", "wait"], reconnecting: ["◌", "Reconnecting", "wait"],
  polling: ["◒", "Offline, polling", "poll"], offline: ["○", "Offline", "bad"], idle: ["◌", "Connecting", "wait"], signed_out: ["○", "Signed out", "bad"],
};

export const mount = keeper((element) => new Pulse(element));

class Pulse {
  constructor(element) {
    this.icon = h("i", { "aria-hidden": "true" });
    this.word = h("b", {});
    this.age = h("span", {});
    this.root = h("div", { class: "fw-pulse", role: "status" }, this.icon, this.word, this.age);
    element.append(this.root);
    this.news = new Set();
    this.timer = setInterval(() => this.tick(), 1000);
  }

  update(component) {
    this.component = component;
    const data = component.data;
    if (data.code && data.code !== this.code) {
      this.code = data.code;
      fetch(data.session, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ code: data.code }) })
        .then((answer) => { if (answer.ok) resume(data.base); });
    }
    const id = `${data.stream.key} ${data.topics.join(" ")}`;
    if (this.id === id) return;
    this.id = id;
    for (const stop of this.stops || []) stop();
    this.live = stream(data);
    this.stops = [
      this.live.follow(data.topics, null, (message) => this.take(message)),
      this.live.watch(() => this.draw()),
    ];
  }

  take(message) {
    if (message.type !== "samples") { this.news.add(message.topic); this.nudge(); }
    this.draw();
  }

  nudge() {
    if (this.waiting || !this.news.size || document.hidden) return;
    const wait = Math.max(0, NUDGE_EVERY_MS - (performance.now() - (this.nudged ?? -NUDGE_EVERY_MS)));
    this.waiting = setTimeout(() => {
      this.waiting = null;
      this.nudged = performance.now();
      const topics = [...this.news];
      this.news.clear();
      this.component.setTriggerValue("news", topics);
    }, wait);
  }

  tick() {
    if (document.hidden) return;
    this.draw();
    this.nudge();
    const cut = this.live && !["connected", "connecting"].includes(this.live.state);
    if (cut && performance.now() - (this.polled ?? 0) > POLL_EVERY_MS) {
      this.polled = performance.now();
      this.news.add("poll");
      this.nudge();
    }
  }

  draw() {
    if (!this.live) return;
    const [icon, word, kind] = SHOWN[this.live.state] || SHOWN.offline;
    const seconds = this.live.newest === null ? null : (performance.now() - this.live.newest) / 1000;
    const stale = kind === "good" && seconds !== null && seconds > STALE_S;
    set(this.icon, icon);
    set(this.word, word);
    set(this.age, seconds === null ? "waiting for the first message" : seconds < 1.5 ? "newest now" : `newest ${duration(seconds)} ago`);
    this.root.dataset.state = this.live.state;
    this.root.className = `fw-pulse fw-p-${stale ? "stale" : kind}`;
    this.root.title = this.live.reason || "Live updates over a WebSocket";
  }

  destroy() {
    clearInterval(this.timer);
    clearTimeout(this.waiting);
    for (const stop of this.stops || []) stop();
    this.root.remove();
  }
}

function set(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
