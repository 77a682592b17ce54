// Shows a bar's <title> at once beside the pointer, instead of the browser's slow tooltip.
const tip = document.createElement("div");
tip.className = "chart-tip";
tip.hidden = true;
tip.setAttribute("aria-hidden", "true");
document.body.append(tip);
let shown = null;

function textOf(bar) {
  const title = bar.querySelector("title");
  if (title) {
    bar.dataset.tip = title.textContent;
    title.remove();
  }
  return bar.dataset.tip;
}

// "name  value" per line becomes two columns.
function row(line) {
  const paragraph = document.createElement("p");
  for (const part of line.split("  ")) {
    const span = document.createElement("span");
    span.textContent = part;
    paragraph.append(span);
  }
  return paragraph;
}

function place(event) {
  const margin = 14;
  const { width, height } = tip.getBoundingClientRect();
  const right = event.clientX + margin + width < innerWidth;
  tip.style.left = `${right ? event.clientX + margin : Math.max(4, event.clientX - margin - width)}px`;
  tip.style.top = `${Math.min(Math.max(4, event.clientY - height / 2), innerHeight - height - 4)}px`;
}

document.addEventListener("pointermove", (event) => {
  const bar = event.target.closest?.(".chart .bar");
  tip.hidden = !bar;
  if (!bar) return;
  if (bar !== shown) tip.replaceChildren(...textOf(bar).split("\n").map(row));
  shown = bar;
  place(event);
});

document.addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });
