for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const value = (row, column) => row.cells[column].dataset.v ?? row.cells[column].textContent.trim();
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    if (head.dataset.plain !== undefined) return;
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const compare = (a, b) => value(a, column).localeCompare(value(b, column), "en", { numeric: true });
      const number = (row) => (value(row, column) === "" ? -Infinity : Number(value(row, column)));
      const numeric = head.classList.contains("n");
      const rows = [...body.rows].sort((a, b) => (numeric ? number(a) - number(b) : compare(a, b)));
      body.append(...(up ? rows : rows.reverse()));
    });
  });
}
const find = document.getElementById("find");
if (find) {
  find.hidden = false;
  find.querySelector("input").addEventListener("input", (event) => {
    const wanted = event.target.value.trim().toLowerCase();
    for (const part of document.querySelectorAll("[data-find]"))
      part.hidden = !part.dataset.find.toLowerCase().includes(wanted);
  });
}
const open = () => {
  const card = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (card instanceof HTMLDetailsElement) card.open = true;
};
addEventListener("hashchange", open);
addEventListener("beforeprint", () => document.querySelectorAll("details.card").forEach((card) => (card.open = true)));
open();
