// Draws a real run in a real terminal: `npx tsx scripts/terminal-picture.ts > docs/images/terminal.svg`. Needs root or the group libvirt,
// a build (npm run build), and script (bsdutils). The fleet "demo" is created in a separate store and removed afterwards.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { IBufferLine } from '@xterm/headless';
import xterm from '@xterm/headless';
import { execa } from 'execa';
import { openHost } from '../src/index.js';
import { buildGolden } from './golden.js';

const [columns, rows] = [80, 200];
const bin = fileURLToPath(new URL('../bin/run.js', import.meta.url));
const fleet = 'demo';

const host = await openHost();
const store = `${host.fleets.root}-picture`;
const env = { COWHERD_STORE: store, LIBVIRT_DEFAULT_URI: host.hypervisor.uri, TERM: 'xterm-256color', SHELL: '/bin/sh' };
await host.close();
const scratch = await mkdtemp(join(tmpdir(), 'cowherd-picture-'));
const screen = new xterm.Terminal({ cols: columns, rows, allowProposedApi: true });

/** Runs a command line as if it had been typed in the terminal. */
async function type(line: string, isShown = true): Promise<void> {
  const command = `cd ${scratch}; stty rows 24 cols ${columns}; cowherd() { '${process.execPath}' '${bin}' "$@"; }; ${line}`;
  if (isShown) screen.write(`\u001b[1;36m$\u001b[0m ${line}\r\n`);
  const script = execa('script', ['-qfc', command, '/dev/null'], {
    env,
    stdin: 'ignore',
    encoding: 'buffer',
    buffer: false,
    reject: false,
  });
  for await (const chunk of script.stdout) if (isShown) screen.write(chunk);
  await script;
  if (isShown) screen.write('\r\n');
}

try {
  await buildGolden(join(scratch, 'golden.qcow2'), { filledMiB: 48 });
  // Probe the accelerator before the picture.
  await type('cowherd doctor', false);
  await type(`cowherd spawn ${fleet} --base golden.qcow2 --count 6 --memory 16MiB --network none --wait console=^OK`);
  await type(`cowherd stop ${fleet} 5 --timeout 1s --force`, false);
  await type(`cowherd status ${fleet}`);
  await type(`cowherd reset ${fleet} 1-4 --wait console=login: --timeout 3s`);
} finally {
  await type(`cowherd teardown ${fleet} --with-base --yes`, false);
  await rm(scratch, { recursive: true, force: true });
  await rm(store, { recursive: true, force: true });
}
await new Promise<void>((resolve) => screen.write('', resolve));

// --- The picture ----------------------------------------------------------------------------------------------------------
const plain = '#d8dee9';
const palette = ['#3b4252', '#e06c75', '#98c379', '#e5c07b', '#61afef', '#c678dd', '#56b6c2', plain, '#7f8794'];
const [charWidth, lineHeight, margin] = [8.4, 19, 16];

/** Adjacent cells with the same style. */
interface Run {
  column: number;
  text: string;
  color: string;
  isBold: boolean;
}

function runsOf(line: IBufferLine | undefined): Run[] {
  const runs: Run[] = [];
  for (let column = 0; column < columns; column++) {
    const cell = line?.getCell(column);
    if (cell === undefined) continue;
    const text = cell.getChars() || ' ';
    const color = cell.isFgDefault() ? plain : (palette[Math.min(cell.getFgColor(), 8)] ?? plain);
    const isBold = cell.isBold() !== 0;
    const last = runs.at(-1);
    if (last !== undefined && last.color === color && last.isBold === isBold && /[█░]/.test(text) === /[█░]/.test(last.text))
      last.text += text;
    else runs.push({ column, text, color, isBold });
  }
  return runs.filter(({ text }) => text.trim() !== '');
}

const buffer = screen.buffer.active;
let height = buffer.length;
while (height > 0 && buffer.getLine(height - 1)?.translateToString(true) === '') height--;
const escaped = (text: string): string => text.replace(/[&<>]/g, (character) => `&#${character.charCodeAt(0)};`);
const shapes = [];
for (let row = 0; row < height; row++) {
  const y = margin + row * lineHeight;
  for (const { column, text, color, isBold } of runsOf(buffer.getLine(row))) {
    const x = margin + column * charWidth;
    if (/[█░]/.test(text)) {
      // Bars are drawn as shapes: the width of block characters differs between fonts.
      const full = text.replaceAll('░', '').length;
      const bar = (cells: number, fill: string): string =>
        `<rect x="${x.toFixed(1)}" y="${y + 3}" width="${(cells * charWidth).toFixed(1)}" height="13" fill="${fill}"/>`;
      shapes.push(bar(text.length, '#2e3440'), bar(full, '#5e81ac'));
    } else {
      const content = text.trimEnd();
      const look = `fill="${color}"${isBold ? ' font-weight="bold"' : ''}`;
      shapes.push(
        `<text x="${x.toFixed(1)}" y="${y + 14}" xml:space="preserve" ${look} textLength="${(content.length * charWidth).toFixed(1)}">${escaped(content)}</text>`,
      );
    }
  }
}
const size = [Math.ceil(columns * charWidth) + 2 * margin, height * lineHeight + 2 * margin];
console.log(`<svg xmlns="http://www.w3.org/2000/svg" width="${size[0]}" height="${size[1]}" viewBox="0 0 ${size.join(' ')}" role="img">
<title>cowherd in a terminal: spawn, status, and a reset whose guests are not ready in time</title>
<rect width="100%" height="100%" rx="8" fill="#16181d"/>
<g font-family="ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace" font-size="14">
${shapes.join('\n')}
</g>
</svg>`);
