// Small kindnesses of forms: no double submission, filters that apply themselves, tables that filter, notices that go.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post") return;
  if (form.dataset.sent !== undefined) return event.preventDefault();
  form.dataset.sent = "";
});

// A page that comes back from the browser's cache may be sent again.
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});

document.addEventListener("change", (event) => {
  event.target.closest("form[data-autosubmit]")?.requestSubmit();
});

document.addEventListener("click", (event) => {
  event.target.closest("[data-dismiss]")?.closest(".notice").remove();
});

document.addEventListener("input", (event) => {
  const search = event.target.closest("[data-filter]");
  if (!search) return;
  const wanted = search.value.trim().toLowerCase();
  for (const row of document.querySelectorAll(`${search.dataset.filter} [data-words]`)) {
    row.hidden = !row.dataset.words.toLowerCase().includes(wanted);
  }
  for (const group of document.querySelectorAll(`${search.dataset.filter} .group`)) {
    group.hidden = !group.parentElement.querySelector("[data-words]:not([hidden])");
  }
});

// What was shown once must not be made again by reloading the page that answered the form.
const address = document.querySelector("[data-address]")?.dataset.address;
if (address) history.replaceState(null, "", address);
