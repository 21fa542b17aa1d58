/** The panel of figures. */
import { isGridRole } from './decoder/structures.js';
import { Role } from './decoder/syntax.generated.js';

const NAMES = Object.fromEntries(
  Object.entries(Role).map(([name, role]) => [role, name.toLowerCase().replaceAll('_', ' ')]),
);

/**
 * Bytes by component of frames, summed: Map of name to bytes, the largest first.
 * @param {Iterable<object>} frames  `bytes` of each
 */
export function components(frames, header) {
  const sums = new Map();
  const add = (name, bytes) => {
    if (bytes > 0) sums.set(name, (sums.get(name) ?? 0) + bytes);
  };
  for (const bytes of frames) {
    add('occupancy', bytes.occupancy);
    add('entropy models', bytes.models);
    add('steps', bytes.steps);
    add('framing', bytes.framing);
    for (const [id, n] of bytes.tensors) {
      const { role, index } = header.tensors[id];
      add(isGridRole(role) ? `${NAMES[role]} ${index}` : 'networks', n);
    }
  }
  return new Map([...sums].sort((a, b) => b[1] - a[1]));
}

export function formatBytes(n) {
  return n < 1e4 ? `${n} B` : n < 1e6 ? `${(n / 1e3).toFixed(1)} kB` : `${(n / 1e6).toFixed(2)} MB`;
}

/**
 * Fills the panel.
 * @param {object} figures  rows: [name, text][]; sums: of `components`; frames: how many they are of;
 *   rate: frames a second
 */
export function show(panel, { rows, sums, frames, rate }) {
  panel.replaceChildren(table(rows));
  const total = [...sums.values()].reduce((a, b) => a + b, 0);
  if (frames === 0 || total === 0) return;
  const heading = document.createElement('h2');
  const perSecond = (bytes) =>
    rate > 0 ? `${((8 * bytes * rate) / frames / 1000).toFixed(1)} kbit/s` : formatBytes(Math.round(bytes / frames));
  heading.textContent = `Bit rate by component: ${perSecond(total)}`;
  const parts = table([...sums].map(([name, bytes]) => [name, perSecond(bytes)]));
  const largest = Math.max(...sums.values());
  [...sums.values()].forEach((bytes, i) => {
    const bar = document.createElement('div');
    bar.className = 'bar';
    bar.style.width = `${(100 * bytes) / largest}%`;
    parts.rows[i].cells[0].append(bar);
  });
  panel.append(heading, parts);
}

function table(rows) {
  const out = document.createElement('table');
  for (const [name, text] of rows) {
    const row = out.insertRow();
    const head = document.createElement('th');
    head.scope = 'row';
    head.textContent = name;
    row.append(head);
    row.insertCell().textContent = text;
  }
  return out;
}
