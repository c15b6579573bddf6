// Notes where somebody wanted to go before the identity provider takes the browser away; pulse.js leads there afterwards.

const KEY = "farwatch.return";
const KEPT_MS = 10 * 60 * 1000;

export function mount(component) {
  const here = location.pathname + location.search;
  if (here !== component.data.base && !location.search.startsWith("?sso=")) {
    sessionStorage.setItem(KEY, JSON.stringify({ at: Date.now(), to: here }));
  }
  return () => {};
}

// Goes where somebody wanted to go, once, when signing in has led to the first page instead.
export function resume(base) {
  const kept = sessionStorage.getItem(KEY);
  sessionStorage.removeItem(KEY);
  if (!kept || location.pathname + location.search !== base) return;
  const { at, to } = JSON.parse(kept);
  if (Date.now() - at < KEPT_MS && to.startsWith(base) && !to.startsWith("//")) location.replace(to);
}
