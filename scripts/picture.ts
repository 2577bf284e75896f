// Draws terminal output as an SVG: `cowherd report lab | npx tsx scripts/picture.ts "cowherd report lab" > docs/report.svg`.
import { text } from 'node:stream/consumers';

const command = process.argv[2] ?? '';
const lines = [`$ ${command}`, ...(await text(process.stdin)).trimEnd().split('\n')];
const [charWidth, lineHeight, margin] = [8.4, 20, 16];
const width = Math.ceil(Math.max(...lines.map((line) => line.length)) * charWidth) + 2 * margin;
const height = lines.length * lineHeight + 2 * margin;
const escaped = (line: string): string => line.replace(/[&<>]/g, (character) => `&#${character.charCodeAt(0)};`);

console.log(`<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">
<title>${escaped(command)}</title>
<rect width="100%" height="100%" rx="8" fill="#16181d"/>
<g font-family="ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace" font-size="14" fill="#d8dee9">`);
for (const [position, line] of lines.entries()) {
  const y = margin + (position + 0.75) * lineHeight;
  // Bars are drawn as shapes: the width of block characters differs between fonts.
  const bar = /[█░]+/.exec(line);
  const fill = position === 0 ? ' fill="#88c0d0"' : /^Saved/.test(line) ? ' fill="#a3be8c"' : '';
  const put = (x: number, content: string): void => {
    if (content.trim() === '') return;
    console.log(
      `<text x="${(margin + x * charWidth).toFixed(1)}" y="${y}" xml:space="preserve"${fill} textLength="${(content.length * charWidth).toFixed(1)}">${escaped(content)}</text>`,
    );
  };
  if (bar === null) {
    put(0, line);
    continue;
  }
  const full = bar[0].replaceAll('░', '').length;
  const rect = (from: number, cells: number, colour: string): void => {
    if (cells === 0) return;
    console.log(
      `<rect x="${(margin + from * charWidth).toFixed(1)}" y="${y - 12}" width="${(cells * charWidth).toFixed(1)}" height="14" fill="${colour}"/>`,
    );
  };
  rect(bar.index, bar[0].length, '#2e3440');
  rect(bar.index, full, '#5e81ac');
  put(0, line.slice(0, bar.index).trimEnd());
  put(bar.index + bar[0].length, line.slice(bar.index + bar[0].length));
}
console.log('</g>\n</svg>');
