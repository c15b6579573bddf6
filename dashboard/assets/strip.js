// Incidents as a list of links, worst first; used on top of the fleet, on the host page and as the incident list.

import { duration, h, keeper } from "./live.js";

const ICON = { critical: "▲", high: "▲", warning: "◆", info: "●" };
const WORD = { critical: "Critical", high: "High", warning: "Warning", info: "Info" };

export const mount = keeper((element) => new Strip(element));

class Strip {
  constructor(element) {
    this.root = h("div", { class: "fw-strip" });
    element.append(this.root);
    this.timer = setInterval(() => this.ages(), 10000);
  }

  update(component) {
    this.component = component;
    this.data = component.data;
    this.skew = Date.now() - this.data.now;
    this.times = [];
    if (!this.data.items.length) {
      const doubt = this.data.doubt;
      this.root.replaceChildren(h("p", { class: doubt ? "fw-doubt" : null }, h("i", { "aria-hidden": "true" }, doubt ? "▲" : "✓"), this.data.clear));
      return;
    }
    this.root.replaceChildren(...this.data.items.map((item) => this.link(item)));
    this.ages();
  }

  link(item) {
    const over = item.state === "resolved";
    const time = h("time", {});
    this.times.push([time, item]);
    const note = over ? " · resolved" : item.state === "acknowledged" ? ` · acknowledged by ${item.by || "somebody"}` : "";
    const link = h("a", { href: `${this.data.base}incidents?id=${encodeURIComponent(item.id)}`, class: over ? "fw-over" : `fw-${item.severity}`, "data-id": item.id },
      h("i", { "aria-hidden": "true" }, over ? "✓" : ICON[item.severity] || "?"),
      h("b", {}, WORD[item.severity] || item.severity),
      h("span", {}, item.title, h("small", {}, note)), time);
    link.addEventListener("click", (event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
      event.preventDefault();
      this.component.setTriggerValue("open", item.id);
    });
    return link;
  }

  ages() {
    for (const [node, item] of this.times || []) {
      node.textContent = `${duration((Date.now() - this.skew - item.at) / 1000)} ago`;
      node.title = new Date(item.at).toLocaleString();
    }
  }

  destroy() {
    clearInterval(this.timer);
    this.root.remove();
  }
}
