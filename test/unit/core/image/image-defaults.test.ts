import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chooseDefaults, formatDefaults, givenDefaults } from '../../../../src/core/image/image-defaults.js';
import { type Contents, imageDefaultsSchema } from '../../../../src/core/image/origin.js';
import { type DomainSpec, defaultDomainSpec } from '../../../../src/core/spec/spec.js';
import { imageNotes, imageSpec } from '../../../../src/services/fleet/spawn/input/image-defaults.js';

const flag = fc.option(fc.boolean(), { nil: undefined });
const anyContents: fc.Arbitrary<Contents> = fc.record(
  { cloudInit: flag, agent: flag, firmware: fc.constantFrom(undefined, 'bios' as const, 'uefi' as const, 'both' as const) },
  { requiredKeys: [] },
);

describe('defaults of an image', () => {
  it.each<[Contents, object]>([
    [{}, {}],
    [{ cloudInit: false, agent: false, firmware: 'bios' }, {}],
    [{ firmware: 'both' }, {}],
    [{ firmware: 'uefi' }, { firmware: 'uefi' }],
    [{ cloudInit: true }, { seed: 'nocloud', wait: 'ssh' }],
    [{ agent: true }, { wait: 'agent' }],
    [
      { cloudInit: true, agent: true },
      { seed: 'nocloud', wait: 'agent' },
    ],
  ])('that contains %j', (contents, defaults) => {
    expect(chooseDefaults(contents)).toEqual(defaults);
  });

  it('of a catalog entry take precedence, each on its own', () => {
    const contents: Contents = { cloudInit: true, agent: true, firmware: 'uefi' };
    expect(chooseDefaults(contents, { firmware: 'bios', memoryMiB: 1024, sshUser: 'debian', wait: undefined })).toEqual({
      ...{ firmware: 'bios', seed: 'nocloud', wait: 'agent', memoryMiB: 1024, sshUser: 'debian' },
    });
  });

  it('that were given survive a change of what is in the image, others follow it', () => {
    const fromCatalog = { contents: { cloudInit: true }, defaults: { seed: 'nocloud' as const, wait: 'ssh' as const, sshUser: 'debian' } };
    expect(givenDefaults(fromCatalog)).toEqual({ sshUser: 'debian' });
    expect(chooseDefaults({ cloudInit: true, agent: true }, givenDefaults(fromCatalog))).toMatchObject({
      wait: 'agent',
      sshUser: 'debian',
    });
    expect(givenDefaults({})).toEqual({});
    fc.assert(
      fc.property(anyContents, anyContents, (contents, later) => {
        const defaults = chooseDefaults(contents, { memoryMiB: 700 });
        expect(imageDefaultsSchema.parse(defaults)).toEqual(defaults);
        expect(chooseDefaults(later, givenDefaults({ contents, defaults }))).toEqual(chooseDefaults(later, { memoryMiB: 700 }));
      }),
    );
  });

  it('are listed in one line', () => {
    expect(formatDefaults({ firmware: 'uefi', seed: 'nocloud', memoryMiB: 1024 })).toBe('seed nocloud, firmware uefi, memory 1024 MiB');
    expect(formatDefaults({})).toBe('');
  });
});

describe('a new fleet', () => {
  const base = { defaults: { firmware: 'uefi', seed: 'nocloud', wait: 'agent', memoryMiB: 1024, sshUser: 'debian' } } as const;
  const specOf = (options: Parameters<typeof imageSpec>[0]): DomainSpec => ({
    ...defaultDomainSpec,
    ...imageSpec(options, base),
    ...options.defaults,
    ...options.spec,
  });

  it('gets what its image needs, and a note says so', () => {
    const spec = specOf({ fleet: 'lab' });
    expect(spec).toMatchObject({ firmware: 'uefi', seed: 'nocloud', memoryMiB: 1024, sshUser: 'debian' });
    expect(imageNotes({ fleet: 'lab' }, base, spec)).toEqual([
      'from the image: seed nocloud, firmware uefi, ssh user debian, memory 1024 MiB',
    ]);
    expect(imageNotes({ fleet: 'lab' }, {}, defaultDomainSpec)).toEqual([]);
    expect(imageSpec({ fleet: 'lab' }, { defaults: { memoryMiB: 256 } })).toEqual({ memoryMiB: defaultDomainSpec.memoryMiB });
    // Nothing to tell: these are the values of every fleet.
    expect(imageNotes({ fleet: 'lab' }, { defaults: { firmware: 'bios', memoryMiB: 64 } }, defaultDomainSpec)).toEqual([]);
  });

  it('gets given values instead, and a note if they are less memory than the image needs', () => {
    const options = { fleet: 'lab', spec: { seed: 'none', memoryMiB: 512 }, defaults: { seed: 'smbios' } } as const;
    const spec = specOf(options);
    expect(spec).toMatchObject({ seed: 'none', memoryMiB: 512, firmware: 'uefi' });
    expect(imageNotes(options, base, spec)).toEqual([
      'from the image: firmware uefi, ssh user debian',
      'the image needs 1024 MiB of memory, but the members have 512 MiB: they may not boot',
    ]);
  });

  it.each([{ fromDomain: 'win11' }, { fromRunning: 'gold' }])('from a domain has the settings of the domain (%j)', (from) => {
    expect(imageSpec({ fleet: 'lab', ...from }, base)).toEqual({});
    expect(imageNotes({ fleet: 'lab', ...from }, base, defaultDomainSpec)).toEqual([]);
  });

  it('of one VM that is cloned gets no seed file', () => {
    expect(imageSpec({ fleet: 'lab-boot', bootsFor: 'lab' }, base)).toMatchObject({ seed: 'smbios', firmware: 'uefi' });
  });
});
