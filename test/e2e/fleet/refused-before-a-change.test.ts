import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CowherdError } from '../../../src/core/errors.js';
import { type Host, openHost } from '../../../src/host.js';
import { teardown } from '../../../src/services/fleet/teardown/teardown.js';
import { guest, Lab, uri } from '../../support/lab.js';
import { TestNetwork } from '../../support/network.js';

/** A verb that fails before its first change leaves no unfinished operation behind. */
describe('a verb that fails before its first change', () => {
  let lab: Lab;
  let golden: string;
  let network: TestNetwork | undefined;
  beforeAll(async () => {
    lab = await Lab.open();
    golden = await lab.golden('golden.qcow2');
  });
  afterAll(async () => {
    await network?.close();
    await lab.close();
  });

  const unfinished = async (fleet: string): Promise<unknown> => (await lab.ok('status', fleet)).unfinished ?? null;

  it('is not unfinished: reset --warm without its network', async () => {
    const fleet = lab.fleet('warm');
    network = await TestNetwork.open(lab.id, 10, 19);
    const on = ['--memory', '16MiB', '--network', `network=${network.name}`];
    await lab.ok('spawn', fleet, '--base', golden, '--count', '1', '--no-start', ...on);
    await network.close();
    const { exitCode, json } = await lab.answer('reset', fleet, '--warm');
    expect([exitCode, json.error.code]).toEqual([8, 'TOOL_FAILED']);
    expect(await unfinished(fleet)).toBeNull();
  });

  it('names the flag: doctor with an invalid disk size', async () => {
    const { exitCode, json } = await lab.answer('doctor', '--disk', 'much');
    expect([exitCode, json.error.details, json.error.hint]).toEqual([
      2,
      [expect.stringMatching(/^--disk: is not a size/)],
      'See "cowherd doctor --help".',
    ]);
  });

  it('is not unfinished: teardown that cannot read the definitions', async () => {
    const fleet = lab.fleet('down');
    await lab.ok('spawn', fleet, '--base', golden, '--count', '1', '--no-start', ...guest);
    await using host = await openHost({ connect: uri, store: lab.store });
    // A libvirtd that fails at exactly this call is simulated.
    const readXml = async (): Promise<never> => {
      throw new CowherdError('CONNECTION_FAILED', 'The connection to libvirt ended');
    };
    const hypervisor = new Proxy(host.hypervisor, {
      get: (real, name) => {
        const value = name === 'readXml' ? readXml : Reflect.get(real, name, real);
        return typeof value === 'function' ? value.bind(real) : value;
      },
    });
    const failing: Host = { ...host, hypervisor };
    await expect(teardown(failing, { fleet })).rejects.toMatchObject({ code: 'CONNECTION_FAILED' });
    expect(await unfinished(fleet)).toBeNull();
    await lab.ok('teardown', fleet, '--yes');
  });
});
