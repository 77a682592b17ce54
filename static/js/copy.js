// <button data-copy="#id"> copies the text of that element and says so for two seconds.
const SHOWN_MS = 2000;

async function copy(text) {
  if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
  // Plain-HTTP installations have no clipboard API.
  const area = document.createElement("textarea");
  area.value = text;
  area.setAttribute("readonly", "");
  area.className = "visually-hidden";
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  if (!copied) throw new Error("copying was refused");
}

function select(element) {
  const range = document.createRange();
  range.selectNodeContents(element);
  getSelection().removeAllRanges();
  getSelection().addRange(range);
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const source = document.querySelector(button.dataset.copy);
  try {
    await copy(source.textContent.trim());
  } catch {
    select(source);
    return;
  }
  button.classList.add("copied");
  document.querySelector("[data-announcer]")?.replaceChildren(button.dataset.copied ?? "");
  setTimeout(() => button.classList.remove("copied"), SHOWN_MS);
});
