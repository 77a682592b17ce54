// <a|button data-dialog="id"> opens <dialog id="id">; [data-close] inside, Escape or the backdrop closes it.
document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-dialog]");
  if (opener) {
    const dialog = document.getElementById(opener.dataset.dialog);
    if (!dialog) return;
    event.preventDefault();
    dialog.showModal();
    dialog.querySelector("[autofocus]")?.select?.();
    return;
  }
  const dialog = event.target.closest("dialog");
  if (dialog && (event.target === dialog || event.target.closest("[data-close]"))) dialog.close();
});

for (const dialog of document.querySelectorAll("dialog[data-open]")) dialog.showModal();
