// A plain table for lists that people manage: cells are text, times, marks or bars; rows may have buttons.

import { duration, h, keeper } from "./live.js";

export const mount = keeper((element) => new Table(element));

class Table {
  constructor(element) {
    this.root = h("div", { class: "fw-fleet-box" });
    element.append(this.root);
    this.timer = setInterval(() => this.ages(), 15000);
  }

  update(component) {
    this.component = component;
    const data = component.data;
    this.skew = Date.now() - data.now;
    this.times = [];
    if (!data.rows.length) {
      this.root.replaceChildren(h("p", { class: "fw-no-rows" }, data.empty));
      return;
    }
    const acts = data.rows.some((row) => row.actions && row.actions.length);
    const head = h("tr", {}, ...data.columns.map((c) => h("th", { scope: "col" }, c.label)), acts ? h("th", {}, h("span", { class: "fw-sr" }, "Actions")) : null);
    const body = data.rows.map((row) => h("tr", { class: row.dim ? "fw-dim" : null },
      ...data.columns.map((column, i) => h("td", { "data-label": column.label, class: `fw-k-${column.kind || "text"}${i === 0 ? " fw-first" : ""}${long(row.cells[i]) ? " fw-long" : ""}` }, this.cell(column, row.cells[i]))),
      acts ? h("td", { class: "fw-acts" }, ...(row.actions || []).map((action) => this.button(row, action))) : null));
    this.root.replaceChildren(h("table", { class: "fw-fleet fw-table", "aria-label": data.label }, h("thead", {}, head), h("tbody", {}, ...body)));
    this.ages();
  }

  cell(column, value) {
    if (value === null || value === undefined || value === "") return h("span", { class: "fw-none" }, "–");
    if (column.kind === "time") {
      const node = h("time", { title: new Date(value).toLocaleString() });
      this.times.push([node, value]);
      return node;
    }
    if (column.kind === "mark") return h("span", { class: `fw-mark fw-m-${value[0]}` }, h("i", { "aria-hidden": "true" }, value[1]), value[2]);
    if (column.kind === "code") return h("code", {}, ...parts(value));
    return String(value).length <= 16 ? h("span", { class: "fw-short" }, value) : h("span", {}, ...parts(value));
  }

  button(row, action) {
    return h("button", { type: "button", class: action.danger ? "fw-danger" : null, onclick: () => this.component.setTriggerValue("act", { row: row.id, action: action.id }) }, action.label);
  }

  ages() {
    for (const [node, at] of this.times || []) {
      const seconds = (Date.now() - this.skew - at) / 1000;
      node.textContent = seconds >= 0 ? `${duration(seconds)} ago` : `in ${duration(-seconds)}`;
    }
  }

  destroy() {
    clearInterval(this.timer);
    this.root.remove();
  }
}

/** A text in pieces: a long name breaks between its parts, not in the middle of a word. */
function parts(text) {
  return String(text).split(/(?<=[._,])|(?=\{)/).flatMap((part) => [part, h("wbr", {})]);
}

/** Whether a cell holds so much text that it takes the whole width of a phone. */
function long(value) {
  return typeof value === "string" && value.length > 28;
}
