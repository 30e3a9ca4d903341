"use strict";

// Heads of sortable tables become buttons: ascending, descending, the first order again.
const NEXT = { none: "ascending", ascending: "descending", descending: "none" };
const words = new Intl.Collator("en", { numeric: true });

function comparison(kind, column) {
  const cell = (row) => row.cells[column];
  if (kind === "number") {
    const value = (row) => Number(cell(row).dataset.value ?? cell(row).textContent);
    return (a, b) => (value(a) > value(b)) - (value(a) < value(b));
  }
  return (a, b) => words.compare(cell(a).textContent, cell(b).textContent);
}

function sorted(rows, head, direction) {
  if (direction === "none") return rows;
  const compare = comparison(head.dataset.sort, head.cellIndex);
  const sign = direction === "ascending" ? 1 : -1;
  return rows.map((row, index) => [row, index])
    .sort((a, b) => sign * compare(a[0], b[0]) || a[1] - b[1])
    .map((pair) => pair[0]);
}

for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const heads = Array.from(table.querySelectorAll("th[data-sort]"));
  for (const head of heads) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const direction = NEXT[head.getAttribute("aria-sort")];
      for (const other of heads) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", direction);
      body.append(...sorted(rows, head, direction));
    });
  }
}

// What is copied by hand gets a button, where the browser lets it.
if (navigator.clipboard) {
  for (const box of document.querySelectorAll(".copy")) {
    const source = box.querySelector("code");
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.setAttribute("aria-label", "Copy " + (source.id.replace("-", " ") || "command"));
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(source.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(source);
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    box.append(button);
  }
}
