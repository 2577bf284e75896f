// Part of the build: writes man/cowherd*.1 from the commands in oclif's manifest, so that man pages and help are the same.
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import type { Command, Interfaces } from '@oclif/core';

const root = new URL('../', import.meta.url);
const { version } = JSON.parse(await readFile(new URL('package.json', root), 'utf8'));
const manifest: Interfaces.Manifest = JSON.parse(await readFile(new URL('oclif.manifest.json', root), 'utf8'));

/** Escapes text for roff: backslashes, and lines that begin like a request. */
const roff = (text = ''): string =>
  text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^([.'])/gm, '\\&$1');
const withoutTemplates = (text: string, id: string): string =>
  text.replaceAll('<%= config.bin %>', 'cowherd').replaceAll('<%= command.id %>', id.replaceAll(':', ' '));

function flagEntry(flag: Command.Flag.Cached): string {
  const { name, char, description } = flag;
  const value = flag.type === 'boolean' ? '' : `=${flag.options?.join('|') ?? flag.helpValue ?? 'VALUE'}`;
  const negatable = flag.type === 'boolean' && flag.allowNo === true ? '[no-]' : '';
  const names = [char === undefined ? undefined : `-${char}`, `--${negatable}${name}${value}`].filter(Boolean).join(', ');
  return `.TP\n.B ${roff(names)}\n${roff(description ?? '')}`;
}

function page({ id, summary = '', description = '', args, flags, examples = [], aliases = [] }: Command.Cached): string {
  const words = id.replaceAll(':', ' ');
  const synopsis = Object.values(args).map(({ name, required }) => (required ? name.toUpperCase() : `[${name.toUpperCase()}]`));
  const shown = examples.map((example) => (typeof example === 'string' ? { description: '', command: example } : example));
  const section = (title: string, lines: readonly string[]): string[] => (lines.length === 0 ? [] : [`.SH ${title}`, ...lines]);
  return [
    `.TH COWHERD\\-${id.replaceAll(':', '\\-').toUpperCase()} 1 "" "cowherd ${version}"`,
    ...section('NAME', [`cowherd\\-${roff(id.replaceAll(':', '-'))} \\- ${roff(summary.replace(/\.$/, ''))}`]),
    ...section('SYNOPSIS', [`.B cowherd ${roff(words)}`, roff([...synopsis, '[FLAGS]'].join(' '))]),
    ...section('DESCRIPTION', description === '' ? [] : [roff(withoutTemplates(description, id)).replaceAll('\n\n', '\n.PP\n')]),
    ...section(
      'ARGUMENTS',
      Object.values(args).map((arg) => `.TP\n.B ${roff(arg.name.toUpperCase())}\n${roff(arg.description)}`),
    ),
    ...section(
      'OPTIONS',
      Object.values(flags)
        .filter(({ hidden }) => !hidden)
        .map(flagEntry),
    ),
    ...section(
      'ALIASES',
      aliases.map((alias) => roff(`cowherd ${alias}`)),
    ),
    ...section(
      'EXAMPLES',
      shown.map((example) => `.TP\n${roff(example.description || summary)}\n.B ${roff(withoutTemplates(example.command, id))}`),
    ),
    '.SH SEE ALSO',
    `.BR cowherd (1)`,
    '',
  ].join('\n');
}

const commands = Object.values(manifest.commands)
  .filter(({ hidden }) => !hidden)
  .sort((a, b) => a.id.localeCompare(b.id));
const overview = [
  `.TH COWHERD 1 "" "cowherd ${version}"`,
  '.SH NAME',
  'cowherd \\- fleets of copy\\-on\\-write virtual machines on libvirt',
  '.SH SYNOPSIS',
  '.B cowherd',
  'COMMAND [ARGUMENTS] [FLAGS]',
  '.SH COMMANDS',
  ...commands.map(({ id, summary }) => `.TP\n.BR cowherd\\-${roff(id.replaceAll(':', '-'))} (1)\n${roff(summary)}`),
  '',
].join('\n');

const directory = new URL('man/', root);
await rm(directory, { recursive: true, force: true });
await mkdir(directory);
await writeFile(new URL('cowherd.1', directory), overview);
for (const command of commands) await writeFile(new URL(`cowherd-${command.id.replaceAll(':', '-')}.1`, directory), page(command));
