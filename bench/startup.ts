import { median } from 'simple-statistics';
import { at, type Bench, round, type Usage } from './bench.js';

/** Compares `cowherd list` in an empty store with the programs that it needs, in turn. */
export async function benchStartup({ measure, row, say, uri, sizes: { startup } }: Bench, bin: string) {
  const commands = {
    cowherd: () => measure(bin, 'list'),
    virsh: () => measure('virsh', '-c', uri, 'list'),
    node: () => measure(process.execPath, '-e', '0'),
  };
  const taken = { cowherd: [] as Usage[], virsh: [] as Usage[], node: [] as Usage[] };
  // The first run reads files from the disk and is not counted.
  await commands.cowherd();
  for (let turn = 0; turn < startup; turn++)
    for (const name of ['cowherd', 'virsh', 'node'] as const) taken[name].push(await commands[name]());
  const wall = (name: keyof typeof taken): number => median(taken[name].map((used) => used.wall_s));
  say(`  cowherd list ${wall('cowherd')} s, virsh list ${wall('virsh')} s, node -e 0 ${wall('node')} s`);
  const pairs = (key: 'wall_s' | 'cpu_s'): number =>
    median(taken.cowherd.map((used, turn) => used[key] / (at(taken.node, turn)[key] + at(taken.virsh, turn)[key])));
  row('cowherd list against node -e 0 and virsh list together', pairs('wall_s'), '×', 2.7, 'less', {
    cowherd_s: round(wall('cowherd'), 3),
    other_s: round(wall('node') + wall('virsh'), 3),
  });
  row('the same in CPU time', pairs('cpu_s'), '×', 5.5, 'less');
  return taken;
}
