'use strict';
// Sorts and filters the table of members. Without it, the table is complete, but in a fixed order.
(() => {
  const table = document.getElementById('member-table');
  if (table === null) return;
  const filter = document.getElementById('filter');
  const count = document.getElementById('count');
  const body = table.tBodies[0];
  const textOf = (row) => [...row.cells].map((cell) => cell.textContent.toLowerCase()).join(' ');
  const rows = [...body.rows].map((row) => ({ row, text: textOf(row) }));
  const { compare } = new Intl.Collator('en', { numeric: true });
  const valueOf = ({ row }, column) => row.cells[column].dataset.v ?? row.cells[column].textContent;

  const sort = (header, column) => {
    // Sizes begin with the largest.
    const current = header.getAttribute('aria-sort') ?? (header.className === 'n' ? 'ascending' : 'descending');
    const isDown = current === 'ascending';
    for (const other of table.tHead.rows[0].cells) other.removeAttribute('aria-sort');
    header.setAttribute('aria-sort', isDown ? 'descending' : 'ascending');
    const sorted = rows.map((entry) => ({ row: entry.row, value: valueOf(entry, column) }));
    sorted.sort((a, b) => {
      // Empty cells are last in both directions.
      if (a.value === '' || b.value === '') return Number(a.value === '') - Number(b.value === '');
      return isDown ? compare(b.value, a.value) : compare(a.value, b.value);
    });
    body.append(...sorted.map(({ row }) => row));
  };

  [...table.tHead.rows[0].cells].forEach((header, column) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = header.textContent;
    header.replaceChildren(button);
    button.addEventListener('click', () => sort(header, column));
  });

  const choose = () => {
    const words = filter.value.toLowerCase().split(/\s+/);
    let shown = 0;
    for (const { row, text } of rows) {
      row.hidden = !words.every((word) => text.includes(word));
      if (!row.hidden) shown += 1;
    }
    count.textContent = shown === rows.length ? `${shown} member${shown === 1 ? '' : 's'}` : `${shown} of ${rows.length} members`;
  };
  document.getElementById('tools').hidden = false;
  filter.addEventListener('input', choose);
  // A browser may restore the text after a reload.
  if (filter.value !== '') choose();
})();
