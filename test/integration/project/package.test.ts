import { readdir, readFile } from 'node:fs/promises';
import { posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../..', import.meta.url));

it('every link in a page of the npm package points into the package', async () => {
  const { stdout } = await execa('npm', ['pack', '--dry-run', '--ignore-scripts', '--json'], { cwd: root });
  const files: string[] = JSON.parse(stdout)[0].files.map(({ path }: { path: string }) => path);
  expect(files).toEqual(expect.arrayContaining(['docs/install.md', 'docs/guide.md', 'docs/commands.md', 'examples/lab/lab.yaml']));
  const known = new Set(files.flatMap((file) => [file, ...directoriesOf(file)]));
  const broken: string[] = [];
  for (const page of files.filter((file) => file.endsWith('.md'))) {
    const text = await readFile(posix.join(root, page), 'utf8');
    for (const [, target = ''] of text.matchAll(/\]\(([^)#\s]+)[^)]*\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      const path = posix.normalize(posix.join(posix.dirname(page), target)).replace(/\/$/, '');
      if (!known.has(path)) broken.push(`${page}: ${target}`);
    }
  }
  expect(broken).toEqual([]);
});

it('the package has a man page for every command, with each of its flags', async () => {
  const { commands } = JSON.parse(await readFile(posix.join(root, 'oclif.manifest.json'), 'utf8'));
  // npm installs only listed man pages, not those of a directory.
  const { man } = JSON.parse(await readFile(posix.join(root, 'package.json'), 'utf8'));
  expect(man).toEqual((await readdir(posix.join(root, 'man'))).sort().map((file) => `man/${file}`));
  const { stdout } = await execa('npm', ['pack', '--dry-run', '--ignore-scripts', '--json'], { cwd: root });
  const packed = new Set(JSON.parse(stdout)[0].files.map(({ path }: { path: string }) => path));
  for (const id of Object.keys(commands)) {
    const path = `man/cowherd-${id.replaceAll(':', '-')}.1`;
    expect([path, packed.has(path)]).toEqual([path, true]);
    const page = (await readFile(posix.join(root, path), 'utf8')).replaceAll('\\-', '-');
    for (const flag of Object.keys(commands[id].flags)) expect(page).toMatch(new RegExp(`--(\\[no-\\])?${flag}\\b`));
  }
});

it('docs/commands.md is up to date', async () => {
  const page = await readFile(posix.join(root, 'docs/commands.md'), 'utf8');
  const { stdout } = await execa('npm', ['run', '--silent', 'docs', '--', '--dry-run'], { cwd: root });
  expect(stdout.slice(stdout.indexOf('# Commands')).trim(), 'docs/commands.md is outdated: npm run docs').toBe(page.trim());
});

function directoriesOf(file: string): string[] {
  const directory = posix.dirname(file);
  return directory === '.' ? [] : [directory, ...directoriesOf(directory)];
}
