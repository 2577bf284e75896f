import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse as parseCsv } from 'csv-parse/sync';
import { execa } from 'execa';
import { parse as parseYaml } from 'yaml';
import { formatInventory, type Inventory, type InventoryFormat } from '../../src/core/fleet/inventory.js';

/** Checks cowherd's output with the programs that it is meant for. Each check returns the problems. */

async function inEmptyDirectory<T>(work: (directory: string) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), 'cwt-formats-'));
  try {
    return await work(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

type Reachable = Inventory['members'][number] & { host: string };

function reachable({ members }: Inventory): Reachable[] {
  return members.filter((member): member is Reachable => member.host !== null);
}

/** Settings that an inventory may change in ssh's configuration; all others must keep their values. */
const sshWords = new Set([
  'host',
  'hostname',
  'port',
  'user',
  'identityfile',
  'identitiesonly',
  'hostkeyalias',
  'userknownhostsfile',
  'stricthostkeychecking',
  // Off if there is a separate known_hosts file.
  'updatehostkeys',
]);

async function effectiveConfig(file: string, name: string): Promise<Map<string, string[]>> {
  const { exitCode, stdout, stderr } = await execa('ssh', ['-G', '-F', file, name], { reject: false });
  if (exitCode !== 0) throw new Error(`ssh -G exited ${exitCode}: ${stderr}`);
  const words = new Map<string, string[]>();
  for (const line of stdout.split('\n')) {
    const [key = '', ...rest] = line.split(' ');
    words.set(key, [...(words.get(key) ?? []), rest.join(' ')]);
  }
  return words;
}

/** With ssh itself. */
export async function checkSshConfig(text: string, inventory: Inventory): Promise<string[]> {
  return inEmptyDirectory(async (directory) => {
    const file = join(directory, 'config');
    await writeFile(file, text);
    const found: string[] = [];
    const usual = await effectiveConfig('none', 'a-host-that-is-not-named');
    const stranger = await effectiveConfig(file, 'a-host-that-is-not-named');
    if (JSON.stringify([...stranger]) !== JSON.stringify([...usual])) found.push('it changes how other hosts are reached');
    for (const member of reachable(inventory)) {
      const words = await effectiveConfig(file, member.name);
      if (words.get('hostname')?.join() !== member.host) found.push(`${member.name}: host ${words.get('hostname')} is not ${member.host}`);
      if (words.get('port')?.join() !== String(member.port)) found.push(`${member.name}: port ${words.get('port')}`);
      for (const key of new Set([...usual.keys(), ...words.keys()])) {
        if (!sshWords.has(key) && words.get(key)?.join() !== usual.get(key)?.join())
          found.push(`${member.name}: sets ${key} ${words.get(key)}`);
      }
    }
    return found;
  });
}

/** With bash, in an empty directory. */
export async function checkEnv(text: string, inventory: Inventory): Promise<string[]> {
  return inEmptyDirectory(async (directory) => {
    const file = join(directory, 'env');
    await writeFile(file, text);
    const read = async (command: string): Promise<Map<string, string>> => {
      // NUL ends each entry, as in /proc/self/environ.
      const { stdout } = await execa('bash', ['--norc', '-c', `set -eua; ${command} exec cat /proc/self/environ`], {
        cwd: directory,
        env: { PATH: process.env.PATH ?? '' },
        extendEnv: false,
      });
      const entries = stdout.split('\0').filter((entry) => entry !== '');
      return new Map(entries.map((entry) => [entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)]));
    };
    const [usual, variables] = [await read(''), await read('. ./env;')];
    const expected = new Map([
      ['COWHERD_FLEET', inventory.fleet],
      [
        'COWHERD_MEMBERS',
        reachable(inventory)
          .map(({ name }) => name)
          .join(' '),
      ],
      ...reachable(inventory).flatMap(({ name, host, port, user }): Array<[string, string]> => {
        const prefix = name.toUpperCase().replaceAll('-', '_');
        return [
          [`${prefix}_HOST`, host],
          [`${prefix}_PORT`, String(port)],
          [`${prefix}_USER`, user],
        ];
      }),
    ]);
    const found = [...new Set([...expected.keys(), ...variables.keys()])]
      .filter((name) => name !== '_' && variables.get(name) !== (expected.get(name) ?? usual.get(name)))
      .map((name) => `${name} is ${JSON.stringify(variables.get(name))}`);
    const left = (await readdir(directory)).filter((name) => name !== 'env');
    return [...found, ...left.map((name) => `it made the file ${name}`)];
  });
}

/** Like the resolver of the C library. */
export function checkHosts(text: string, inventory: Inventory): string[] {
  const entries = text
    .split('\n')
    .map((line) =>
      line
        .replace(/#.*/, '')
        .split(/[ \t]+/)
        .filter((word) => word !== ''),
    )
    .filter((words) => words.length > 0);
  const found = entries.filter(([address = '']) => isIP(address) === 0).map((words) => `${JSON.stringify(words)} has no address`);
  const [is, expected] = [entries.map((words) => words.join(' ')), reachable(inventory).map(({ host, name }) => `${host} ${name}`)];
  if (is.join('\n') !== expected.join('\n')) found.push(`${JSON.stringify(is)} is not ${JSON.stringify(expected)}`);
  return found;
}

const ansibleWords = new Set(['ansible_host', 'ansible_port', 'ansible_user', 'ansible_ssh_private_key_file', 'ansible_ssh_common_args']);

function judgeAnsibleHosts(hosts: Record<string, Record<string, unknown>>, inventory: Inventory): string[] {
  const found: string[] = [];
  if (
    Object.keys(hosts).join() !==
    reachable(inventory)
      .map(({ name }) => name)
      .join()
  )
    found.push(`hosts are ${Object.keys(hosts)}`);
  for (const { name, host, port } of reachable(inventory)) {
    const variables = hosts[name] ?? {};
    if (variables.ansible_host !== host || variables.ansible_port !== port) found.push(`${name}: ${JSON.stringify(variables)}`);
    for (const [key, value] of Object.entries(variables)) {
      if (!ansibleWords.has(key)) found.push(`${name}: sets ${key}`);
      // Ansible evaluates templates in all values.
      if (/\{\{|\{%|\{#/.test(String(value))) found.push(`${name}: ${key} is a template`);
    }
  }
  return found;
}

/** With a YAML parser. */
export function checkAnsible(text: string, inventory: Inventory): string[] {
  const document = (parseYaml(text) ?? {}) as Record<string, { hosts?: Record<string, Record<string, unknown>> }>;
  const group = inventory.fleet.replaceAll('-', '_');
  const strangers = Object.keys(document).filter((key) => key !== group);
  return [...strangers.map((key) => `has the group ${key}`), ...judgeAnsibleHosts(document[group]?.hosts ?? {}, inventory)];
}

/** With Ansible itself. */
export async function checkWithAnsible(text: string, inventory: Inventory): Promise<string[]> {
  return inEmptyDirectory(async (directory) => {
    const file = join(directory, 'hosts.yaml');
    await writeFile(file, text);
    const { exitCode, stdout, stderr } = await execa('ansible-inventory', ['-i', file, '--list'], {
      cwd: directory,
      env: { HOME: directory, ANSIBLE_LOCALHOST_WARNING: 'false', ANSIBLE_INVENTORY_UNPARSED_FAILED: 'true' },
      reject: false,
    });
    if (exitCode !== 0) return [`ansible-inventory exited ${exitCode}: ${stderr}`];
    return judgeAnsibleHosts(JSON.parse(stdout)._meta?.hostvars ?? {}, inventory);
  });
}

/** Checks that need no external program. */
export function checkFormats(inventory: Inventory, print = formatInventory): string[] {
  const checks: Array<[InventoryFormat, (text: string, inventory: Inventory) => string[]]> = [
    ['json', (text) => (JSON.stringify(JSON.parse(text)) === JSON.stringify(inventory) ? [] : ['json: not what it was'])],
    ['hosts', checkHosts],
    ['ansible', checkAnsible],
  ];
  return checks.flatMap(([format, check]) => check(print(inventory, format), inventory).map((problem) => `${format}: ${problem}`));
}

export function checkCsv(text: string, columns: readonly string[]): string[] {
  const rows = parseCsv(text, { columns: true }) as Array<Record<string, string>>;
  return rows.flatMap((row) => [
    ...(Object.keys(row).join() === columns.join() ? [] : [`columns ${Object.keys(row)}`]),
    // Text that a spreadsheet would treat as a formula.
    ...Object.values(row)
      .filter((cell) => /^[=+@\t\r-]/.test(cell))
      .map((cell) => `cell ${JSON.stringify(cell)}`),
  ]);
}

/** With ssh-keygen. */
export async function checkKnownHosts(text: string): Promise<string[]> {
  return inEmptyDirectory(async (directory) => {
    const file = join(directory, 'known_hosts');
    await writeFile(file, text);
    const lines = text.split('\n').filter((line) => line !== '');
    const found = lines
      .filter((line) => !/^[\w.-]+ [\w@.-]+ [A-Za-z0-9+/]+={0,2}$/.test(line))
      .map((line) => `line ${JSON.stringify(line)}`);
    if (lines.length === 0) return found;
    const { exitCode, stdout, stderr } = await execa('ssh-keygen', ['-l', '-f', file], { reject: false });
    if (exitCode !== 0 || stdout.split('\n').length !== lines.length) found.push(`ssh-keygen -l exited ${exitCode}: ${stdout}${stderr}`);
    return found;
  });
}

const esc = '\u001b';
/** Sequences of cowherd's own progress bars: cursor position and visibility. */
const progressCodes = new RegExp(`${esc}(7|8|\\[(\\?(25|7)[lh]|[01]?G|\\d?A|[0-2]?K|0?J))`, 'g');

/** The final text on a terminal, without overwritten bars. */
export function withoutProgress(text: string): string {
  return text.replace(progressCodes, '').replaceAll('\r\n', '\n');
}

/** Characters that control a terminal. @param isTerminal lines end in CR LF, and progress may be shown */
export function checkTerminal(text: string, isTerminal = false): string[] {
  const own = isTerminal ? withoutProgress(text) : text;
  // Control characters except line feed and tab, other line breaks, and characters that change the direction of text.
  const match = /(?![\n\t])[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u.exec(own);
  return match === null ? [] : [`${JSON.stringify(own.slice(Math.max(0, match.index - 60), match.index + 40))} at ${match.index}`];
}
