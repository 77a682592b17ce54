// Elements with data-live and an id are fetched anew while the page is looked at: new calls appear by themselves.
// The page says how often (seconds) on <main data-refresh="…">.
const seconds = Number(document.querySelector("main[data-refresh]")?.dataset.refresh);
const served = new Map();

const isBusy = () =>
  document.visibilityState !== "visible" || document.querySelector("dialog[open]") || getSelection().type === "Range";

function renew(element, replacement) {
  // Compared with what was served before, not with the page: other modules may have touched that.
  if (replacement && served.get(element.id) !== replacement.outerHTML && !element.contains(document.activeElement)) {
    served.set(element.id, replacement.outerHTML);
    element.replaceWith(document.adoptNode(replacement));
  }
}

async function refresh() {
  if (isBusy()) return;
  const response = await fetch(location.href, { headers: { Accept: "text/html" }, redirect: "error" });
  if (!response.ok) return;
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const element of document.querySelectorAll("[data-live]")) renew(element, fresh.getElementById(element.id));
}

if (seconds > 0) {
  for (const element of document.querySelectorAll("[data-live]")) served.set(element.id, element.outerHTML);
  setInterval(() => refresh().catch(() => {}), seconds * 1000);
}
