import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import manifest from '../../../oclif.manifest.json' with { type: 'json' };
import { type CommandShape, complete } from '../../../src/cli/completion/engine.js';
import * as world from '../../../src/cli/completion/world.js';

const bin = fileURLToPath(new URL('../../../bin/run.js', import.meta.url));

describe('completion', () => {
  let store: string;
  beforeAll(async () => {
    store = await mkdtemp(join(tmpdir(), 'cwt-complete-'));
    for (const fleet of ['lab', 'lake']) {
      await mkdir(join(store, 'fleets', fleet), { recursive: true });
      const members = [1, 2].map((index) => ({ name: `${fleet}-00${index}` }));
      await writeFile(join(store, 'fleets', fleet, 'fleet.json'), JSON.stringify({ members }));
    }
    for (const base of ['debian-12', 'golden']) await mkdir(join(store, 'bases', base), { recursive: true });
    await writeFile(join(store, 'fleets', 'lab.lock'), '');
    process.env.COWHERD_STORE = store;
  });
  afterAll(() => rm(store, { recursive: true }));

  const candidates = (line: string): string[] => {
    return complete(line.split(' '), Object.values(manifest.commands) as unknown as CommandShape[], world).map(({ text }) => text);
  };

  it.each([
    ['reset la', ['lab', 'lake']],
    ['reset lab ', ['lake', 'lab-001', 'lab-002']],
    ['reset lake-', ['lake-001', 'lake-002']],
    ['ssh lab-', ['lab-001', 'lab-002']],
    ['spawn lab --base ', ['debian-12', 'golden']],
    ['spawn lab --base=g', ['--base=golden']],
    ['spawn lab -b d', ['debian-12']],
    ['base inspect ', ['debian-12', 'golden']],
    ['base catalog fed', ['fedora-44', 'fedora']],
    ['base catalog fedora-44 tum', ['tumbleweed']],
    ['base catalog --arch a', ['aarch64']],
    ['spawn lab --seed n', ['none', 'nocloud']],
    ['spawn lab --wait agent,s', ['agent,ssh']],
    ['spawn lab --no-st', ['--no-start']],
    ['spawn lab --network n', expect.arrayContaining(['none'])],
    ['cp file.txt la', ['lab:', 'lake:']],
    ['completion ', ['bash', 'zsh', 'fish']],
    // The shell completes files.
    ['spawn --file ', []],
    ['exec lab -- ', []],
    ['nonesuch ', []],
  ])('of "%s"', (line, expected) => {
    expect(candidates(line)).toEqual(expected);
  });

  it('of the clouds in clouds.yaml and of the fleets on a cloud', async () => {
    const clouds = join(store, 'clouds.yaml');
    await writeFile(
      clouds,
      '# mine\nclouds:\n  lab:\n    auth:\n      auth_url: https://a/v3\n\n  other-one:\n    region_name: x\nelse:\n  no:\n',
    );
    await mkdir(join(store, 'cowherd/openstack/a-1a2b3c4d5e6f/fleets/far'), { recursive: true });
    vi.stubEnv('OS_CLIENT_CONFIG_FILE', clouds);
    vi.stubEnv('XDG_DATA_HOME', store);
    vi.stubEnv('COWHERD_STORE', '');
    onTestFinished(() => void vi.unstubAllEnvs());
    expect(candidates('list --connect openstack')).toEqual(['openstack://lab', 'openstack://other-one', 'openstack:///']);
    expect(candidates('reset --connect openstack://lab ')).toEqual(['far']);
  });

  it('lists commands, topics and their subcommands, and no flag twice', () => {
    const of = (...words: string[]) =>
      complete(words, Object.values(manifest.commands) as unknown as CommandShape[], world).map(({ text }) => text);
    expect(of('sp')).toEqual(['spawn']);
    expect(of('')).toEqual(expect.arrayContaining(['base', 'reset', 'snapshot', 'help']));
    expect(of('base', 'r')).toEqual(['relocate', 'remove']);
    expect(of('spawn', '--memory', '1GiB', '--mem')).toEqual([]);
    expect(of('spawn', '--disk', '1GiB', '--disk')).toContain('--disk');
  });

  it('works in a real bash, where = and : end words', async () => {
    const cases: Array<[line: string, words: string[]]> = [
      ['cowherd reset la', ['reset', 'la']],
      ['cowherd spawn x --base=gol', ['spawn', 'x', '--base', '=', 'gol']],
      ['cowherd spawn x --network none --seed=', ['spawn', 'x', '--network', 'none', '--seed', '=']],
      ['cowherd cp a lak', ['cp', 'a', 'lak']],
      ['cowherd status ', ['status', '']],
    ];
    const calls = cases.map(
      ([line, words]) =>
        `COMP_LINE='${line}' COMP_POINT=${line.length} COMP_WORDS=(cowherd ${words.map((word) => `'${word}'`).join(' ')}) COMP_CWORD=${words.length}; _cowherd cowherd; echo "\${COMPREPLY[*]}"`,
    );
    const script = `cowherd() { '${process.execPath}' '${bin}' "$@"; }\nsource <(cowherd completion bash)\n${calls.join('\n')}\ncomplete -p cowherd`;
    const { stdout, exitCode } = await execa('bash', ['-c', script], { env: { COWHERD_STORE: store } });
    expect([exitCode, stdout.split('\n')]).toEqual([
      0,
      ['lab lake', 'golden', 'none nocloud smbios', 'lake:', 'lab lake', 'complete -o bashdefault -o default -F _cowherd cowherd'],
    ]);
  });

  it('loads only itself before it answers', async () => {
    const traced = await execa('bash', ['-c', `NODE_DEBUG=esm,module '${process.execPath}' '${bin}' __complete -- spawn --se 2>&1`]);
    expect(traced.stdout).toContain('--seed\t');
    expect(traced.stdout).not.toContain('node_modules/');
  });

  // Each line with a base image, and empty words, as after a trailing space.
  const lines = {
    'cowherd reset la': ['lab', 'lake'],
    'cowherd base rel': ['relocate'],
    'cowherd spawn x --base ': ['debian-12', 'golden'],
    'cowherd status ': ['lab', 'lake'],
  };

  it('works in a real zsh', async () => {
    const calls = Object.keys(lines).map((line) => {
      const words = line.split(' ');
      return `words=(${words.map((word) => `'${word}'`).join(' ')}) CURRENT=${words.length}; _cowherd`;
    });
    const script = [
      `cowherd() { '${process.execPath}' '${bin}' "$@"; }`,
      'compdef() {}',
      '_describe() { echo $candidates "|" $#described; }',
      'source <(cowherd completion zsh)',
      ...calls,
    ];
    const { stdout } = await execa('zsh', ['-fc', script.join('\n')], { env: { COWHERD_STORE: store } });
    expect(stdout.split('\n')).toEqual(Object.values(lines).map((found) => `${found.join(' ')} | ${found.length}`));
  });

  it('works in a real fish', async () => {
    const calls = Object.keys(lines).map((line) => `echo (complete -C '${line}' | string split -f 1 \\t)`);
    const script = [`function cowherd; '${process.execPath}' '${bin}' $argv; end`, 'cowherd completion fish | source', ...calls];
    const { stdout } = await execa('fish', ['-c', script.join('\n')], { env: { COWHERD_STORE: store, HOME: store } });
    expect(stdout.split('\n')).toEqual(Object.values(lines).map((found) => found.join(' ')));
  });
});
