import { describe, expect, it } from 'vitest';
import { memberIdentity } from '../../../src/core/fleet/identity.js';
import type { FleetRecord } from '../../../src/core/fleet/record.js';
import { guestText } from '../../../src/core/guest/text.js';
import { defaultDomainSpec } from '../../../src/core/spec/spec.js';
import type { Ports } from '../../../src/ports/index.js';
import { Endpoints } from '../../../src/services/guest/endpoints.js';
import { runInGuest } from '../../../src/services/guest/run.js';
import { agentOf, fastClock } from '../../fakes/hostile-agent/ports.js';

/** An error's message also contains text of the guest, so control flow depends only on its code and reason. */
describe('a command that an agent refuses', () => {
  const id = '8b0c3a52-3a0f-4c5e-9f5e-0d6f0c1b2a33';

  /** Runs `true` in the first member of a fleet. @returns the transport, or the code of the error */
  const run = async (fleet: string, reply: string): Promise<string> => {
    const member = { ...memberIdentity(fleet, id, 1), sshPort: 2222 };
    const record = { id, name: fleet, spec: { ...defaultDomainSpec, network: 'user' }, members: [member] } as unknown as FleetRecord;
    const ports = {
      agent: agentOf((_, command) => (command === 'guest-ping' ? '{"return":{}}' : reply)),
      clock: fastClock(),
      networks: { hostAddresses: () => new Set<string>() },
      seeds: { sshFiles: async () => () => ({ identityFile: '/store/key', knownHostsFile: '/store/known_hosts', isPinned: true }) },
      remote: { run: async () => ({ exitCode: 0, stdout: guestText(''), stderr: guestText(''), truncated: false }) },
    } as unknown as Ports;
    return runInGuest(ports, new Endpoints(ports, record), member, ['true'], { via: 'auto', timeoutMs: 60_000, keepBytes: 1_000 }).then(
      ({ via, exitCode }) => `${via} ${exitCode}`,
      (error: { code: string }) => error.code,
    );
  };
  const refused = (desc: string): string => JSON.stringify({ error: { class: 'GenericError', desc } });

  it.each([
    'The command guest-exec has been disabled for this instance',
    'Command guest-exec has been disabled',
    'Command guest-exec has been disabled: the command is not allowed',
  ])('is run by ssh if the agent may not run programs: %s', async (text) => {
    expect(await run('lab', refused(text))).toBe('ssh 0');
  });

  it('ends with exit code 127 if the program could not be started', async () => {
    const words = 'Failed to execute child process \u201ctrue\u201d (No such file or directory)';
    for (const text of [words, `Guest agent command failed, error was '${words}'`, `Guest command failed: ${words}`])
      expect(await run('lab', refused(text))).toBe('agent 127');
  });

  it('is not run again by ssh if only a name contains "blocked" or "disabled"', async () => {
    expect(await run('blocked', '{"return":{"pid":"none"}}')).toBe('GUEST_REFUSED');
    expect(await run('disabled', refused('out of memory'))).toBe('GUEST_REFUSED');
    expect(await run('lab', refused('the disk is blocked: Failed to execute child process'))).toBe('GUEST_REFUSED');
  });
});
