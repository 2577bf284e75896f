import { describe, expect, it } from 'vitest';
import { nicsOf } from '../../../src/core/domain/nics.js';
import { CowherdError } from '../../../src/core/errors.js';
import { memberIdentity } from '../../../src/core/fleet/identity.js';
import type { DomainState, ObservedMember } from '../../../src/core/fleet/observation.js';
import type { Plan, StepName } from '../../../src/core/fleet/plan/member-plan.js';
import { type FleetRecord, parseFleetRecord } from '../../../src/core/fleet/record.js';
import { defaultDomainSpec } from '../../../src/core/spec/spec.js';
import type { Freeze, Ports } from '../../../src/ports/index.js';
import { refuseDuplicates, withClones } from '../../../src/services/clone/plan.js';
import { assertCloneable } from '../../../src/services/clone/preflight.js';
import { abandonFreeze } from '../../../src/services/clone/source-vm.js';

const mac = (last: string): string => `52:54:00:AA:BB:${last}`;
const xml = (...cards: string[]): string =>
  `<domain><metadata><x:note xmlns:x="urn:x"><mac address='${mac('99')}'/></x:note></metadata><devices><emulator>/usr/bin/q</emulator>${cards.join('')}</devices></domain>`;
const card = (last: string, model: string, more = ''): string =>
  `<interface type='network'><mac address='${mac(last)}'/>${model === '' ? '' : `<model type='${model}'/>`}${more}</interface>`;

describe('the network cards of a source VM', () => {
  it('are those of its devices, in their order, with their link state', () => {
    expect(nicsOf('g', xml(card('01', 'virtio'), card('02', 'e1000', "<link state='down'/>"), card('03', '')))).toEqual([
      { mac: '52:54:00:aa:bb:01', model: 'virtio', isUp: true },
      { mac: '52:54:00:aa:bb:02', model: 'e1000', isUp: false },
      { mac: '52:54:00:aa:bb:03', model: '', isUp: true },
    ]);
  });

  const ports = { fleets: { root: '/srv/l&b/fleets' } } as unknown as Ports;
  const clone = (text: string, template = ''): void => assertCloneable(ports, 'g', text, { template, spec: { tpm: false } });

  it.each(['virtio', 'virtio-transitional', 'virtio-non-transitional'])('may be of model %s', (model) => {
    expect(() => clone(xml(card('01', model)))).not.toThrow();
  });

  it.each(['e1000', 'e1000e', 'rtl8139', ''])('may not be of model "%s", whose memory contains the source VM’s MAC', (model) => {
    expect(() => clone(xml(card('01', 'virtio'), card('02', model)))).toThrow(
      expect.objectContaining({ code: 'NOT_SUPPORTED', message: expect.stringContaining('52:54:00:aa:bb:02') }),
    );
  });

  it('a TPM is copied only if that is allowed', () => {
    const withTpm = (shareTpm?: boolean): void =>
      assertCloneable(ports, 'g', xml(card('01', 'virtio')), { template: '', spec: { tpm: true } }, { shareTpm });
    for (const no of [undefined, false])
      expect(() => withTpm(no)).toThrow(expect.objectContaining({ code: 'NOT_SUPPORTED', hint: expect.stringContaining('--share-tpm') }));
    expect(() => withTpm(true)).not.toThrow();
  });

  it('files of the store are found in XML', () => {
    const seed = "<source file='/srv/l&amp;b/fleets/lab/seeds/lab-001.iso'/>";
    expect(() => clone(xml(), seed)).toThrow(
      expect.objectContaining({ code: 'NOT_SUPPORTED', hint: expect.stringContaining('detach-disk') }),
    );
    expect(() => clone(xml(), seed.replace('fleets', 'images'))).not.toThrow();
  });
});

describe('members that resume from saved memory', () => {
  const uuid = (index: number): string => `00000000-0000-4000-8000-00000000000${index}`;
  const record: FleetRecord = parseFleetRecord(
    'lab',
    JSON.stringify({
      version: 1,
      id: uuid(9),
      name: 'lab',
      base: { name: 'gold', digest: 'a'.repeat(64) },
      spec: { ...defaultDomainSpec, warm: 'b'.repeat(64) },
      createdAt: '2026-01-01T00:00:00.000Z',
      freshOverlayBytes: 1000,
      members: [memberIdentity('lab', uuid(9), 1)],
    }),
  );
  const plan = (steps: StepName[]): Plan => ({
    members: steps.length === 0 ? [] : [{ index: 1, name: 'lab-001', steps, why: '', atNextStart: false }],
    unchanged: steps.length === 0 ? ['lab-001'] : [],
    refused: [],
  });
  const member = (
    state: 'running' | 'shutOff' | 'paused',
    overlayBytes: number | undefined,
    isIdentityPending = false,
  ): ObservedMember[] => {
    const [identity] = record.members;
    if (identity === undefined) throw new Error('no member');
    return [
      {
        ...identity,
        domain: { name: 'lab-001', uuid: identity.uuid, state, reason: '' },
        overlayBytes,
        missingDisks: [],
        isIdentityPending,
      },
    ];
  };
  const seen = ({ members, unchanged, refused }: Plan): unknown => [members[0]?.steps ?? [], unchanged.length, refused.length];

  it.each([
    ['one that has no disk yet', ['overlay', 'start'], member('shutOff', undefined), [['overlay', 'restore'], 0, 0]],
    ['one that lacks a further disk alone has moved on', ['overlay', 'start'], member('shutOff', 5000), [['overlay', 'start'], 0, 0]],
    ['one with a fresh disk that waits for its start', ['start'], member('shutOff', 1000, true), [['restore'], 0, 0]],
    ['one whose disk was written to, and that is not itself', ['start'], member('shutOff', 5000, true), [[], 0, 1]],
    ['one whose disk is fresh, and nothing says why', ['start'], member('shutOff', 1000), [[], 0, 1]],
    ['one that runs and is not itself', [], member('running', 5000, true), [[], 0, 1]],
    ['one that runs, is not itself, and would be defined anew', ['define'], member('running', 5000, true), [[], 0, 1]],
    ['one that is itself', [], member('running', 5000), [[], 1, 0]],
    ['one that is itself and off', ['start'], member('shutOff', 5000), [['start'], 0, 0]],
    ['one that is not to be started', ['define'], member('shutOff', 1000, true), [['define'], 0, 0]],
  ] as const)('spawn: %s', (_title, steps, observed, expected) => {
    expect(seen(withClones(plan([...steps]), observed, record))).toEqual(expected);
    const { warm: _warm, ...spec } = record.spec;
    expect(withClones(plan([...steps]), observed, { ...record, spec })).toEqual(plan([...steps]));
  });

  it('reset: all members, with a fresh disk in place of a used one', () => {
    for (const observed of [member('running', 5000), member('running', 5000, true), member('shutOff', 1000, true)])
      expect(seen(withClones(plan(['stop', 'overlay', 'start']), observed, record, { replaces: true }))).toEqual([
        ['stop', 'overlay', 'restore'],
        0,
        0,
      ]);
  });

  it.each([
    ['a fresh disk', 'start', member('shutOff', 1000), 1],
    ['a disk of one that is not itself', 'start', member('shutOff', 5000, true), 1],
    ['a paused one that is not itself', 'resume', member('paused', 5000, true), 1],
    ['a disk of its own', 'start', member('shutOff', 5000), 0],
    ['a paused one', 'resume', member('paused', 5000), 0],
  ] as const)('start: %s', (_title, step, observed, refused) => {
    expect(refuseDuplicates(plan([step]), observed, record).refused).toHaveLength(refused);
  });
});

describe('an undone freeze', () => {
  const freeze: Freeze = {
    ...{ version: 1, domain: 'gold', uuid: '00000000-0000-4000-8000-000000000001', startedAt: '2026-01-01T00:00:00.000Z' },
    ...{ count: 1, keepFrozen: false, start: true, addresses: [], hostKeyTypes: [], memoryMiB: 128 },
  };
  const takeBack = async (listDomains: () => Promise<DomainState[]>): Promise<{ ended: string[]; said: unknown }> => {
    const ended: string[] = [];
    const memory = { endFreeze: async (fleet: string) => ended.push(fleet) };
    const ports = { hypervisor: { uri: 'test:///', listDomains }, memory } as unknown as Ports;
    const said = await abandonFreeze(ports, 'lab', freeze).catch((error: unknown) => error);
    return { ended, said };
  };

  it('is complete if the source VM is gone, but not if its state is unknown', async () => {
    expect(await takeBack(async () => [])).toEqual({ ended: ['lab'], said: [] });
    const lost = new CowherdError('CONNECTION_FAILED', 'libvirtd is gone');
    expect(await takeBack(() => Promise.reject(lost))).toEqual({ ended: [], said: lost });
  });
});
