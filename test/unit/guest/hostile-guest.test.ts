import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { OpenSsh } from '../../../src/adapters/host/ssh.js';
import { renderError } from '../../../src/cli/render/errors.js';
import { CowherdError, reportOf } from '../../../src/core/errors.js';
import { memberIdentity } from '../../../src/core/fleet/identity.js';
import { formatInventory, type Inventory } from '../../../src/core/fleet/inventory.js';
import type { FleetRecord } from '../../../src/core/fleet/record.js';
import { parseIdentityReport } from '../../../src/core/guest/identity-report.js';
import { guestText } from '../../../src/core/guest/text.js';
import { defaultDomainSpec } from '../../../src/core/spec/spec.js';
import type { Ports } from '../../../src/ports/index.js';
import { execByAgent } from '../../../src/services/guest/agent-exec.js';
import { copyByAgent } from '../../../src/services/guest/agent-files.js';
import { Endpoints } from '../../../src/services/guest/endpoints.js';
import type { MemberExec } from '../../../src/services/guest/exec.js';
import { inventory } from '../../../src/services/guest/inventory.js';
import { readIdentityReport } from '../../../src/services/guest/reidentify.js';
import { cloudInitState } from '../../../src/services/guest/run.js';
import { agentOf, fastClock, given, patientClock } from '../../fakes/hostile-agent/ports.js';
import { brokenReplies, replyTo } from '../../fakes/hostile-agent/replies.js';
import { shownOutputs } from '../../fixtures/exec.js';
import '../../fakes/hostile-agent/seed.js';
import { hostileIdentity } from '../../fakes/hostile-agent/text.js';
import { checkEnv, checkFormats, checkKnownHosts, checkSshConfig, checkTerminal } from '../../support/formats.js';
import { isLong, runsOf } from '../../support/long.js';

/** Generated replies of guests, through cowherd's code to its output. See also test/e2e/guest/hostile-guest.test.ts. */
const id = '8b0c3a52-3a0f-4c5e-9f5e-0d6f0c1b2a33';
const record: FleetRecord = {
  version: 1,
  id,
  name: 'lab',
  base: { name: 'golden', digest: 'ab'.repeat(32) },
  spec: { ...defaultDomainSpec, network: 'bridge=br0' },
  createdAt: '2026-01-01T00:00:00.000Z',
  freshOverlayBytes: 0,
  members: [1, 2, 3, 4, 5, 6, 7, 8].map((index) => memberIdentity('lab', id, index, 1)),
};
const [first] = record.members;
if (first === undefined) throw new Error('no member');

/** Errors that a guest may cause. None may look like an error of libvirt, the store, or cowherd. */
const guestFaults = ['GUEST_REFUSED', 'GUEST_UNREACHABLE', 'TOOL_TIMEOUT', 'NOT_READY'];

function judge(error: unknown): CowherdError {
  if (!(error instanceof CowherdError)) throw error;
  expect(guestFaults, error.message).toContain(error.code);
  expect(error.message.length + error.details.join().length).toBeLessThan(4_000);
  expect(checkTerminal(renderError(reportOf(error)))).toEqual([]);
  return error;
}

const replies = (command: string) =>
  fc
    .oneof({ weight: 12, arbitrary: replyTo(command) }, { weight: 1, arbitrary: fc.constantFrom(...Object.values(brokenReplies)) })
    .map((line) => line.replaceAll('@MAC@', first.macs[0] ?? ''));

describe('a reply of a guest agent', () => {
  it('gives an inventory that every format can represent', async () => {
    const looked: Inventory[] = [];
    const each = record.members.map(({ macs }) =>
      replyTo('guest-network-get-interfaces').map((line) => line.replaceAll('@MAC@', macs[0] ?? '')),
    );
    const property = fc.asyncProperty(fc.tuple(...each), async (lines) => {
      const ports = {
        fleets: { read: async () => record },
        memory: { readFreeze: async () => undefined },
        hypervisor: {
          listDomains: async () => record.members.map(({ name, uuid }) => ({ name, uuid, state: 'running', reason: 'booted' })),
        },
        networks: { hostAddresses: () => new Set<string>() },
        agent: agentOf((domain) => lines[Number(domain.slice(-1)) - 1] ?? ''),
        seeds: { sshFiles: async () => () => ({ identityFile: '/store/key', knownHostsFile: '/store/known_hosts', isPinned: true }) },
        remote: new OpenSsh(),
        clock: patientClock,
      } as unknown as Ports;
      const found = await inventory(ports, 'lab');
      expect(checkFormats(found)).toEqual([]);
      for (const format of ['ssh-config', 'env', 'hosts', 'ansible', 'json'] as const)
        expect(checkTerminal(formatInventory(found, format))).toEqual([]);
      looked.push(found);
    });
    await fc.assert(property, { numRuns: 400 });
    // Only the replies with the most addresses, since processes are slow.
    const told = ({ members }: Inventory): number => members.filter(({ host }) => host !== null).length;
    expect(looked.some((one) => told(one) > 0)).toBe(true);
    for (const found of looked.sort((a, b) => told(b) - told(a)).slice(0, isLong ? 10 : 3)) {
      expect(await checkSshConfig(formatInventory(found, 'ssh-config'), found)).toEqual([]);
      expect(await checkEnv(formatInventory(found, 'env'), found)).toEqual([]);
    }
  });

  it('ends a command with an exit code or an error, and is labelled with its member', async () => {
    const property = fc.asyncProperty(
      replies('guest-exec'),
      fc.array(replies('guest-exec-status'), { minLength: 1, maxLength: 3 }),
      async (begun, statuses) => {
        let looks = 0;
        const agent = agentOf((_, command) =>
          command === 'guest-exec' ? begun : (statuses[Math.min(looks++, statuses.length - 1)] ?? ''),
        );
        const row: MemberExec = {
          index: 1,
          name: 'lab-001',
          via: null,
          exitCode: null,
          stdout: guestText(''),
          stderr: guestText(''),
          truncated: false,
        };
        try {
          const { exitCode, stdout, stderr, truncated } = await execByAgent({ agent, clock: fastClock() }, 'lab-001', ['true'], {
            timeoutMs: 20_000,
            keepBytes: 65_536,
          });
          expect(exitCode).toSatisfy(Number.isInteger);
          Object.assign(row, { via: 'agent', exitCode, stdout, stderr, truncated });
        } catch (error) {
          row.error = reportOf(judge(error));
        }
        const shown = shownOutputs(
          { fleet: 'lab', command: ['true'], counts: { ok: 0, failed: 1 }, interrupted: false, members: [row] },
          false,
        );
        expect(checkTerminal(shown)).toEqual([]);
        for (const line of shown.split('\n').filter((one) => one !== '')) expect(line).toMatch(/^lab-001 [|!] /);
      },
    );
    await fc.assert(property, { numRuns: runsOf(3_000) });
  });

  it('cannot exceed the limits of a copied file', async () => {
    const property = fc.asyncProperty(
      fc.constantFrom('to' as const, 'from' as const),
      fc.record({
        'guest-file-open': replies('guest-file-open'),
        'guest-file-read': replies('guest-file-read'),
        'guest-file-write': replies('guest-file-write'),
        'guest-file-flush': replies('guest-file-flush'),
        'guest-file-close': replies('guest-file-close'),
      }),
      async (direction, lines) => {
        let written: Buffer | undefined;
        const files = {
          read: async () => Buffer.from('payload'),
          kind: async () => 'missing' as const,
          write: async (_: string, bytes: Buffer) => {
            written = bytes;
          },
          makeDirectory: async () => undefined,
        };
        const agent = agentOf((_, command) => lines[command as keyof typeof lines] ?? '{"return":{}}');
        const copied = copyByAgent(
          { agent, files, clock: fastClock() },
          first,
          { direction, local: './x', remote: '/x' },
          { timeoutMs: 30_000 },
        );
        await copied.catch(judge);
        expect(written === undefined || Buffer.isBuffer(written)).toBe(true);
      },
    );
    await fc.assert(property, { numRuns: runsOf(1_000) });
  });

  it('reports the state of cloud-init, or fails the wait for that member', async () => {
    const property = fc.asyncProperty(
      replies('guest-ping'),
      replies('guest-exec'),
      replies('guest-exec-status'),
      async (ping, begun, status) => {
        const lines: Record<string, string> = { 'guest-ping': ping, 'guest-exec': begun, 'guest-exec-status': status };
        const ports = {
          agent: agentOf((_, command) => lines[command] ?? '{"return":[]}'),
          clock: fastClock(),
          networks: { hostAddresses: () => new Set() },
          seeds: {},
          remote: new OpenSsh(),
        };
        const endpoints = new Endpoints(ports as unknown as Ports, record);
        const state = await cloudInitState(ports as unknown as Ports, endpoints, first, { withinMs: 20_000 }).catch((error) => ({
          why: judge(error).message,
        }));
        expect(checkTerminal(state.why)).toEqual([]);
        expect(state.why).not.toContain('\n');
      },
    );
    await fc.assert(property, { numRuns: runsOf(1_000) });
  });

  it('gives an identity of plain values, or none', async () => {
    const keys: string[] = [];
    const property = fc.asyncProperty(replies('guest-exec'), hostileIdentity, async (begun, report) => {
      const status = JSON.stringify({ return: { exited: true, exitcode: 0, 'out-data': Buffer.from(report).toString('base64') } });
      const agent = agentOf((_, command) => (command === 'guest-exec' ? begun : status));
      const ports = { agent, clock: fastClock(), builtInTemplate: async () => 'true\n' };
      const self = await readIdentityReport(ports, 'lab-001', { timeoutMs: 20_000 }).catch((error) => void judge(error));
      const account =
        self ??
        (() => {
          try {
            return parseIdentityReport('lab-001', report).self;
          } catch (error) {
            judge(error);
            return undefined;
          }
        })();
      if (account === undefined) return;
      expect(account.hostname).toMatch(/^[\w.-]{1,64}$/);
      expect(account.clockMs).toSatisfy(Number.isSafeInteger);
      for (const text of [...account.macs, ...account.addresses, ...account.hostKeys, ...account.dhcpClients, ...account.notes]) {
        expect(checkTerminal(text)).toEqual([]);
        expect(text).not.toContain('\n');
      }
      keys.push(...account.hostKeys);
    });
    await fc.assert(property, { numRuns: runsOf(1_000) });
    expect(
      await checkKnownHosts(
        keys
          .slice(0, 200)
          .map((key) => `lab-001 ${key}\n`)
          .join(''),
      ),
    ).toEqual([]);
  });

  it('was generated thousands of times in total', () => {
    expect(given).toBeGreaterThan(runsOf(10_000));
  });
});
