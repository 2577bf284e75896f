import { describe, expect, it } from 'vitest';
import type { BaseImage } from '../../../src/core/image/base.js';
import { machineOf, notReady } from '../../../src/services/base/prepare/machine.js';
import type { PrepareOptions } from '../../../src/services/base/prepare/options.js';

const base = {
  name: 'golden',
  digest: 'a'.repeat(64),
} as BaseImage;
const options: PrepareOptions = { from: 'golden', as: 'web', run: ['true'] };
const stages = (more: Partial<PrepareOptions>, image: Partial<BaseImage> = {}): unknown =>
  machineOf({ ...options, ...more }, { ...base, ...image }).wait?.stages;

describe('the VM of a preparation', () => {
  it('is the only member of a fleet of its own, on exactly that image', () => {
    expect(machineOf(options, base)).toMatchObject({
      fleet: 'web-prepare',
      base: `golden@${base.digest}`,
      count: 1,
      prepares: { image: 'web', kept: false },
    });
  });

  it('waits for what was asked for, then for what the image says, then for the agent', () => {
    expect(stages({ wait: 'ssh' }, { defaults: { wait: 'cloud-init' } })).toEqual(['address', 'ssh']);
    expect(stages({}, { defaults: { wait: 'cloud-init' } })).toEqual(['cloud-init']);
    // Commands cannot run yet.
    expect(stages({}, { defaults: { wait: 'running' } })).toEqual(['agent']);
    expect(stages({})).toEqual(['agent']);
  });

  it('needs a seed if its image has no agent', () => {
    expect(stages({ spec: { seed: 'nocloud' } }, { contents: { agent: false } })).toEqual(['address', 'ssh']);
    expect(stages({ userData: 'user-data' }, { contents: { agent: false } })).toEqual(['address', 'ssh']);
    expect(() => stages({}, { contents: { agent: false } })).toThrow(
      expect.objectContaining({ code: 'BAD_USAGE', hint: expect.stringContaining('--seed nocloud --wait ssh') }),
    );
  });

  it('gets a forwarded port if ssh needs one', () => {
    const spec = (more: Partial<PrepareOptions>) => machineOf({ ...options, ...more }, base).spec;
    expect(spec({ wait: 'ssh' })).toMatchObject({ forwardSsh: true });
    expect(spec({ wait: 'ssh', spec: { network: 'network=default' } })).not.toHaveProperty('forwardSsh');
    expect(spec({ wait: 'ssh', defaults: { network: 'network=default' } })).not.toHaveProperty('forwardSsh');
    expect(spec({})).not.toHaveProperty('forwardSsh');
  });

  it('has the settings of its image, unless others are given', () => {
    const defaults = { memoryMiB: 1024, firmware: 'uefi', seed: 'nocloud', sshUser: 'debian' } as const;
    expect(machineOf(options, { ...base, defaults }).spec).toMatchObject(defaults);
    const spec = { memoryMiB: 2048, sshUser: 'root' };
    expect(machineOf({ ...options, spec }, { ...base, defaults }).spec).toMatchObject({ ...defaults, ...spec });
  });
});

it('says what commands need if the VM did not become ready', () => {
  const late = notReady({ code: 'NOT_READY', message: 'late', hint: 'cowherd logs web-prepare-001', details: ['its console is empty'] });
  expect(late).toMatchObject({ code: 'NOT_READY', details: ['its console is empty'], hint: expect.stringContaining('guest agent') });
  expect(late.hint).not.toContain('cowherd logs');
  expect(notReady({ code: 'TOOL_FAILED', message: 'qemu', hint: 'See dmesg.' })).toMatchObject({ code: 'TOOL_FAILED', hint: 'See dmesg.' });
  expect(notReady({ code: 'BUG', message: 'x' })).toMatchObject({ code: 'NOT_READY' });
});
