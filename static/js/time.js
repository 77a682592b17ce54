// Tells the server the browser's time zone, and rewrites times that were rendered before it knew.
const root = document.documentElement;
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const YEAR_S = 31_536_000;

function rewrite(element) {
  const seconds = element.hasAttribute("data-seconds") ? "2-digit" : undefined;
  const format = new Intl.DateTimeFormat(root.lang, {
    year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: seconds, hour12: false,
  });
  element.textContent = format.format(new Date(element.dateTime));
}

if (zone && root.dataset.zone !== zone) {
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `time_zone=${encodeURIComponent(zone)}; Path=/; Max-Age=${YEAR_S}; SameSite=Lax${secure}`;
  for (const element of document.querySelectorAll("time[data-local]")) rewrite(element);
}
